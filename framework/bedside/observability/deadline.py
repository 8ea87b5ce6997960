"""A request that ends in time: a client's own time-out is of each read, which a server that drips never passes."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Deadline:
    """Shuts the connection of one thread's client down where a request takes too long; the client then fails."""

    def __init__(self) -> None:
        self._connection: socket.socket | None = None

    def uses(self, connection: socket.socket) -> None:
        """Take note of a connection, as soon as there is one: TLS, which begins then, may drip as well."""
        self.close()
        # The client may wrap and close its own. This one ends what goes over both, and no other that took its number.
        self._connection = connection.dup()

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Have the block end within so many seconds."""
        timer = threading.Timer(seconds, self._cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.close()

    def _cut(self) -> None:
        if self._connection is not None:
            with suppress(OSError):  # it has ended
                self._connection.shutdown(socket.SHUT_RDWR)
