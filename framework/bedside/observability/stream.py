"""Lines on their way to standard output: buffered, because a write per request costs more than the line itself."""

import asyncio
import contextlib
import os
import threading


class LineStream:
    """Collects lines and writes them together.

    A line waits at most ``seconds`` (while an event loop runs; without one it is written at once) and at most
    ``lines`` are kept. A reader that has gone away costs lines, never a request.

    Args:
        descriptor: file descriptor, 1 for standard output.
        lines: most lines kept; 0 writes each at once.
        seconds: longest wait.
    """

    def __init__(self, descriptor: int, lines: int, seconds: float) -> None:
        self._descriptor = descriptor
        self._limit = lines
        self._seconds = seconds
        self._lines: list[bytes] = []
        self._lock = threading.Lock()
        self._timer: asyncio.TimerHandle | None = None

    def write(self, line: bytes, *, now: bool = False) -> None:
        """Add one line, without its line feed; ``now`` writes everything out at once."""
        with self._lock:
            self._lines.append(line)
        if now or len(self._lines) > self._limit or not self._wait():
            self.flush()

    def flush(self) -> None:
        """Write out what has been collected."""
        with self._lock:
            lines, self._lines = self._lines, []
            if lines:
                self._write_all(b"\n".join(lines) + b"\n")

    def _wait(self) -> bool:
        if self._timer is not None:
            return True
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return False
        self._timer = loop.call_later(self._seconds, self._due)
        return True

    def _due(self) -> None:
        self._timer = None
        self.flush()

    def _write_all(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            while data:
                data = data[os.write(self._descriptor, data) :]
