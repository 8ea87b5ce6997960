"""What clients and servers of tests share on this machine."""

import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType

PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Of clients of plain HTTP: each that is made without one reads every certificate of the machine, for 40 ms of CPU."""

_NONE: Mapping[str, str] = MappingProxyType({})


class Handler(BaseHTTPRequestHandler):
    """One request, of whatever method; subclasses say how it is answered."""

    def answer(self) -> None:
        """Answer."""
        raise NotImplementedError

    def do_GET(self) -> None:
        """Answer, as the library calls it."""
        self.answer()

    do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815 - the library's names

    @property
    def fields(self) -> dict[str, str]:
        """Return the header fields by their names in small letters."""
        return {name.lower(): value for name, value in self.headers.items()}

    def content(self) -> bytes:
        """Read the body."""
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def reply(self, status: int, body: bytes = b"", fields: Mapping[str, str] = _NONE) -> None:
        """Send an answer."""
        self.send_response(status)
        for name, value in {**fields, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        with suppress(ConnectionError):  # who asked may have gone meanwhile
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def http_server(handler: type[Handler]) -> Iterator[str]:
    """Serve on a free port; return the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
