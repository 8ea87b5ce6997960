"""A server that never comes to an end: what it says last drips, so that no read of a client ever waits for long."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

HEADER = b"HTTP/1.1 200 OK\r\nX-Elastic-Product: "
BODY = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"
HANDSHAKE = b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc"  # a record of TLS (RFC 8446 §5.1) of 16 KiB


@contextmanager
def dripping(first: bytes) -> Iterator[str]:
    """Say this to whoever has asked, then a byte every hundredth of a second until he has gone; give the address."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threads = [threading.Thread(target=_serve, args=(listener, first, ended))]
        threads[0].start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            ended.set()
            listener.shutdown(socket.SHUT_RDWR)
            threads[0].join()


def _serve(listener: socket.socket, first: bytes, ended: threading.Event) -> None:
    while not ended.is_set():
        try:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(first)
                while not ended.wait(0.01):
                    connection.sendall(b"x")
        except OSError:
            continue
