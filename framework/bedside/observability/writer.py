"""Lines to standard output, many at a time: one ``write`` a line costs more than making the line."""

import os
import threading
import weakref
from contextlib import suppress
from typing import Protocol


class ByteStream(Protocol):
    """Where lines go. Like ``io.RawIOBase``, it may take less than it is given, or None when it would block."""

    def write(self, data: bytes | memoryview, /) -> int | None:
        """Write; return how many bytes were taken."""
        ...

    def flush(self) -> None:
        """Hand on what is kept."""
        ...


class BufferedWriter:
    """Collects lines and writes them together; thread-safe; never raises.

    Args:
        stream: where to; best unbuffered, so that nothing is left in it when its reader has gone.
        buffer_lines: lines kept before they are written; 0 writes each at once.
        buffer_seconds: longest time that a line waits.

    Attributes:
        lost_lines: lines that could not be written (broken pipe, full disk). A log that cannot be written must not
            stop a hospital's models; the count is a metric.
    """

    def __init__(self, stream: ByteStream, *, buffer_lines: int, buffer_seconds: float) -> None:
        self._stream = stream
        self._buffer_lines = buffer_lines
        self._buffer_seconds = buffer_seconds
        self._lines: list[bytes] = []
        # Re-entrant: the garbage collector may run a finaliser in here that fails, and its failure is logged.
        self._lock = threading.RLock()
        self._writing = False
        self._torn = False
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
        if self._writing:
            return  # re-entered; the outer call takes these lines too
        self._writing = True
        try:
            while self._lines:
                lines, self._lines = self._lines, []
                self._write_lines(lines)
        finally:
            self._writing = False

    def _write_lines(self, lines: list[bytes]) -> None:
        # A line that was cut off must not take the next one with it.
        data = memoryview(b"".join([b"\n", *lines] if self._torn else lines))
        complete = -1 if self._torn else 0
        written = 0
        try:
            while written < len(data):
                count = self._stream.write(data[written:])
                if count is None:
                    raise BlockingIOError  # a pipe that is full and does not wait is like any other failure
                written += count
            self._stream.flush()
            self._torn = False
        except (OSError, ValueError):  # ValueError: the stream is closed
            taken = bytes(data[:written])
            complete += taken.count(b"\n")
            self.lost_lines += len(lines) - max(complete, 0)
            self._torn = not taken.endswith(b"\n") if taken else self._torn

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
        self._lock = threading.RLock()
        self._writing = False
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
