"""Lines to standard output by a thread of their own: a reader that stops reading must not stop the models."""

import os
import queue
import threading
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

FLUSH_SECONDS = 5.0
"""Longest that a flush, and so the end of the process, waits for the reader."""

_LINES_AT_ONCE = 1024


class ByteStream(Protocol):
    """Where lines go. Like ``io.RawIOBase``, it may take less than it is given, or None when it would block."""

    def write(self, data: bytes | memoryview, /) -> int | None:
        """Write; return how many bytes were taken."""
        ...

    def flush(self) -> None:
        """Hand on what is kept."""
        ...


class BufferedWriter:
    """Collects lines; a thread, the only one that writes, takes many at a time. Never blocks, never raises.

    Args:
        stream: where to; best unbuffered, so that nothing is left in it when its reader has gone.
        buffer_lines: lines after which the thread writes without waiting for more; 0 has it write each.
        buffer_seconds: longest time that a line waits for others.
        backlog_lines: lines kept while the stream takes none; then the oldest are lost.
        on_loss: told, by the thread, how many lines were lost, once one could be written again.

    Attributes:
        lost_lines: lines that could not be written (reader that does not read or has gone, full disk). A log that
            cannot be written must not stop a hospital's models; the count is a metric.
    """

    _called: bool
    _thread: threading.Thread | None

    def __init__(
        self,
        stream: ByteStream,
        *,
        buffer_lines: int,
        buffer_seconds: float,
        backlog_lines: int = 20_000,
        on_loss: Callable[[int], None] = lambda _count: None,
    ) -> None:
        self._stream = stream
        self._buffer_lines = max(buffer_lines, 1)
        self._buffer_seconds = buffer_seconds
        self._backlog_lines = backlog_lines
        self._on_loss = on_loss
        self._torn = False
        self._closed = False
        self.lost_lines = 0
        self._told_lines = 0
        self._forget()
        _reset_after_fork(self)

    def write(self, line: bytes, *, urgent: bool = False) -> None:
        """Add a line, newline included; ``urgent`` has everything written now (warnings, errors)."""
        lines = self._lines
        lines.append(line)
        count = len(lines)
        if not self._called or urgent or count % self._buffer_lines == 0 or self._closed:
            # Once per batch, not per line: waking a thread costs microseconds. The thread takes the flag back before it
            # takes lines, so that whoever finds it set after adding one need not call again.
            self._called = True
            self._wake(hurry=urgent or count >= self._buffer_lines)
        if count > self._backlog_lines:
            self._drop_oldest()

    def flush(self, seconds: float = FLUSH_SECONDS) -> bool:
        """Wait until what is kept has been written or lost, at most so long; tell whether it was."""
        if self._thread is None and not self._lines:
            return True
        done = threading.Event()
        self._wake(hurry=True, done=done)
        return done.wait(seconds)

    def close(self) -> None:
        """Write what is kept, within :data:`FLUSH_SECONDS`; lines that come later are written by who brings them."""
        if self.flush():
            self._closed = True
            if self._thread is not None:
                self._calls.put((True, None))
                self._thread.join(FLUSH_SECONDS)

    def _wake(self, *, hurry: bool, done: threading.Event | None = None) -> None:
        if self._closed:
            self._write_out()
            if done is not None:
                done.set()
            return
        if self._thread is None:
            self._start()
        # Two calls that are not answered yet are enough: after the second, everything that is here by then is written.
        if done is not None or self._calls.qsize() < 2:
            self._calls.put((hurry, done))

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while not self._closed:
            hurry, done = self._calls.get()
            if not hurry:
                with suppress(queue.Empty):
                    _, done = self._calls.get(timeout=self._buffer_seconds)
            self._write_out()
            if done is not None:
                done.set()

    def _drop_oldest(self) -> None:
        with self._lock, suppress(IndexError):  # the thread was faster
            while len(self._lines) > self._backlog_lines:
                self._lines.popleft()
                self.lost_lines += 1

    def _write_out(self) -> None:
        self._called = False
        while self._lines:
            lines: list[bytes] = []
            with suppress(IndexError):  # somebody dropped one meanwhile
                while len(lines) < _LINES_AT_ONCE:
                    lines.append(self._lines.popleft())
            if self._write_lines(lines) and self.lost_lines > self._told_lines:
                lost, self._told_lines = self.lost_lines - self._told_lines, self.lost_lines
                self._on_loss(lost)

    def _write_lines(self, lines: list[bytes]) -> bool:
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
            with self._lock:
                self.lost_lines += len(lines) - max(complete, 0)
            self._torn = not taken.endswith(b"\n") if taken else self._torn
            return False
        return True

    def _forget(self) -> None:
        # Also in a forked child: the lines are the parent's to write, its thread does not exist, its lock may be held.
        self._lines: deque[bytes] = deque()
        # Re-entrant, as SimpleQueue is: the garbage collector may run a finaliser in here that fails, which is logged.
        self._lock = threading.RLock()
        self._calls: queue.SimpleQueue[tuple[bool, threading.Event | None]] = queue.SimpleQueue()
        self._thread = None
        self._called = False


def _reset_after_fork(writer: BufferedWriter) -> None:
    reference = weakref.ref(writer)

    def forget() -> None:
        alive = reference()
        if alive is not None:
            alive._forget()  # noqa: SLF001 - the same module

    with suppress(AttributeError):  # platforms without fork
        os.register_at_fork(after_in_child=forget)
