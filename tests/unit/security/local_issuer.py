"""A small OpenID provider over real HTTP: its documents, and the ways in which it can fail."""

import asyncio
import json
from collections import Counter
from typing import Any, Self

DISCOVERY = "/.well-known/openid-configuration"
JWKS = "/jwks"


class Clock:
    """Seconds that pass when told."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return the time."""
        return self.now


class LocalIssuer:
    """Listens on a free port of 127.0.0.1.

    Attributes:
        key_set: what the JWKS end point answers.
        discovery: members that replace those of the discovery document.
        raw: bytes of a whole answer by path, instead of the document.
        hits: requests by path.
        gate: while it is not set, answers are held back.
        arrived: set when a request has come.
        down: connections are closed without an answer.
    """

    def __init__(self) -> None:
        self.key_set: dict[str, Any] = {"keys": []}
        self.discovery: dict[str, Any] = {}
        self.raw: dict[str, bytes] = {}
        self.hits: Counter[str] = Counter()
        self.gate = asyncio.Event()
        self.gate.set()
        self.arrived = asyncio.Event()
        self.down = False
        self.url = ""
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        """Start to listen."""
        self._server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_error: object) -> None:
        """End."""
        self.gate.set()
        assert self._server is not None
        self._server.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            path = request.split(b" ")[1].decode()
            self.hits[path] += 1
            self.arrived.set()
            await self.gate.wait()
            if not self.down:
                writer.write(self._answer(path))
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def _answer(self, path: str) -> bytes:
        if path in self.raw:
            return self.raw[path]
        discovery = {"issuer": self.url, "jwks_uri": self.url + JWKS} | self.discovery
        document = {DISCOVERY: discovery, JWKS: self.key_set}.get(path)
        if document is None:
            return response(b"", "404 Not Found")
        return response(json.dumps(document).encode())


def response(body: bytes, status: str = "200 OK", headers: str = "") -> bytes:
    """Return a whole HTTP answer."""
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n{headers}\r\n"
    return head.encode() + body
