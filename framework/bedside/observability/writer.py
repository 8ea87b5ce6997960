"""Lines to standard output, many at a time: one ``write`` a line costs more than making the line."""

import os
import threading
import weakref
from contextlib import suppress
from typing import BinaryIO


class BufferedWriter:
    """Collects lines and writes them together; thread-safe; never raises.

    Args:
        stream: where to; unbuffered or flushed by us.
        buffer_lines: lines kept before they are written; 0 writes each at once.
        buffer_seconds: longest time that a line waits.

    Attributes:
        lost_lines: lines that could not be written (broken pipe, full disk). A log that cannot be written must not
            stop a hospital's models; the count is a metric.
    """

    def __init__(self, stream: BinaryIO, *, buffer_lines: int, buffer_seconds: float) -> None:
        self._stream = stream
        self._buffer_lines = buffer_lines
        self._buffer_seconds = buffer_seconds
        self._lines: list[bytes] = []
        self._lock = threading.Lock()
        self._waiting = threading.Event()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        self.lost_lines = 0
        _reset_after_fork(self)

    def write(self, line: bytes, *, urgent: bool = False) -> None:
        """Add a line, newline included; ``urgent`` writes everything now (warnings, errors)."""
        with self._lock:
            self._lines.append(line)
            count = len(self._lines)
            if urgent or count >= self._buffer_lines or self._closed.is_set():
                self._write_out()
                return
        if count == 1:
            # Once per batch, not per line: waking a thread costs microseconds.
            self._wake()

    def flush(self) -> None:
        """Write what is kept."""
        with self._lock:
            self._write_out()

    def close(self) -> None:
        """Write what is kept and end the thread; later lines are written at once."""
        self._closed.set()
        self._waiting.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=1.0)
        self.flush()

    def _write_out(self) -> None:
        lines, self._lines = self._lines, []
        if not lines:
            return
        try:
            self._stream.write(b"".join(lines))
            self._stream.flush()
        except (OSError, ValueError):  # ValueError: the stream is closed
            self.lost_lines += len(lines)

    def _wake(self) -> None:
        if self._thread is None:
            with self._lock:
                if self._thread is None and not self._closed.is_set():
                    self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
                    self._thread.start()
        self._waiting.set()

    def _run(self) -> None:
        while not self._closed.is_set():
            self._waiting.wait()
            self._waiting.clear()
            self._closed.wait(self._buffer_seconds)
            self.flush()

    def _forget(self) -> None:
        # In a forked child: the lines are the parent's to write, its thread does not exist, its lock may be held.
        self._lines = []
        self._lock = threading.Lock()
        self._waiting = threading.Event()
        self._thread = None


def _reset_after_fork(writer: BufferedWriter) -> None:
    reference = weakref.ref(writer)

    def forget() -> None:
        alive = reference()
        if alive is not None:
            alive._forget()  # noqa: SLF001 - the same module

    with suppress(AttributeError):  # platforms without fork
        os.register_at_fork(after_in_child=forget)
