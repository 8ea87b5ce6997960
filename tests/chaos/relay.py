"""A TCP relay that can be cut: the network between two processes."""

import socket
import threading
from contextlib import suppress
from typing import Literal

Mode = Literal["open", "cut", "deaf"]


class Relay:
    """Carries bytes from a port of its own to another, until it is told not to.

    ``cut`` resets what is open and what comes; ``deaf`` carries what is asked and loses what is answered.

    Args:
        target: port on loopback.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._mode: Mode = "open"
        self._lines: set[socket.socket] = set()
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._door.getsockname()[1]
        threading.Thread(target=self._listen, daemon=True).start()

    def set(self, mode: Mode) -> None:
        """Change what becomes of what is carried; lines that lost something are never mended."""
        spoilt, self._mode = self._mode == "deaf", mode
        if mode == "cut" or spoilt:
            for line in list(self._lines):
                with suppress(OSError):
                    line.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End it."""
        self.set("cut")
        with suppress(OSError):
            self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                self._carry(self._door.accept()[0])

    def _carry(self, caller: socket.socket) -> None:
        try:
            if self._mode == "cut":
                raise ConnectionRefusedError
            callee = socket.create_connection(("127.0.0.1", self._target))
        except OSError:
            caller.close()
            return
        self._lines |= {caller, callee}
        for source, sink, answers in ((caller, callee, False), (callee, caller, True)):
            threading.Thread(target=self._pump, args=(source, sink, answers), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:  # noqa: FBT001
        with suppress(OSError):
            while data := source.recv(65536):
                if not (answers and self._mode == "deaf"):
                    sink.sendall(data)
        for line in (source, sink):
            self._lines.discard(line)
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
            line.close()
