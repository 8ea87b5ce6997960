"""Takes the copies of requests that a gateway mirrors (nginx ``mirror``, Gateway API ``RequestMirror``).

A gateway throws away what a mirror answers, so it is answered at once; copies live in memory until they are asked.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn

from bedside.delivery.calls import Call
from bedside.errors import ConfigurationError

WAITING = 32
"""Copies kept at one time; what comes meanwhile is not looked at."""

MOST_BYTES = 64 * 1024 * 1024
"""Largest body that is kept; a larger one is not looked at."""

_KEPT = frozenset({b"authorization", b"content-type", b"content-encoding", b"inference-header-content-length"})


class Mirror:
    """An ASGI application that keeps copies of the calls of one model."""

    def __init__(self, model: str) -> None:
        self._paths = f"/v1/models/{model}/", f"/v2/models/{model}/"
        self._calls: asyncio.Queue[Call] = asyncio.Queue(WAITING)

    async def __call__(self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Any) -> None:
        """Answer 202, and keep the call where it is one of the model's."""
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if len(body) <= MOST_BYTES:
                body += message.get("body", b"")
            more = message.get("more_body", False)
        path = scope["path"]
        wanted = path.startswith(self._paths) and path.endswith(("/predict", "/infer"))
        if wanted and len(body) <= MOST_BYTES and not self._calls.full():
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in _kept(scope["headers"])}
            self._calls.put_nowait(Call(path, headers, bytes(body)))
        await send({"type": "http.response.start", "status": 202, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    @property
    def waiting(self) -> int:
        """Return how many copies have not been taken yet."""
        return self._calls.qsize()

    async def calls(self) -> AsyncIterator[Call]:
        """Yield what comes, for ever."""
        while True:
            yield await self._calls.get()


def _kept(headers: list[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    return ((name, value) for name, value in headers if name in _KEPT)


@asynccontextmanager
async def listening(address: str, model: str) -> AsyncIterator[Mirror]:
    """Take copies at ``HOST:PORT`` while the block runs. Raises ConfigurationError."""
    host, _, port = address.rpartition(":")
    if not (host and port.isdecimal()):
        raise ConfigurationError("the mirror's address is HOST:PORT", field="mirror")
    try:
        listener = socket.create_server((host, int(port)))
    except (OSError, OverflowError):
        raise ConfigurationError(f"nothing can listen on {address}", field="mirror") from None
    mirror = Mirror(model)
    config = uvicorn.Config(mirror, log_config=None, access_log=False, lifespan="off")
    server = uvicorn.Server(config)
    # `_serve` and not `serve`: signals stay with whoever called.
    task = asyncio.create_task(server._serve([listener]))  # noqa: SLF001
    try:
        yield mirror
    finally:
        server.should_exit = True
        await asyncio.gather(task, return_exceptions=True)
