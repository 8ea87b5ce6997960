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
    """An ASGI application that keeps copies of the calls of one model.

    Args:
        model: whose calls are kept.
        held_bytes: most bytes of bodies in memory at one time, together with those that are on their way; what comes
            meanwhile is not looked at.
    """

    def __init__(self, model: str, held_bytes: int) -> None:
        self._free = held_bytes
        self._paths = f"/v1/models/{model}/", f"/v2/models/{model}/"
        self._calls: asyncio.Queue[Call] = asyncio.Queue(WAITING)

    async def __call__(self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Any) -> None:
        """Answer 202, and keep the call where it is one of the model's."""
        path = scope["path"]
        wanted = path.startswith(self._paths) and path.endswith(("/predict", "/infer"))
        body = await self._body(receive, MOST_BYTES if wanted else -1)
        if body is not None and self._calls.full():
            self._free += len(body)
        elif body is not None:
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in _kept(scope["headers"])}
            self._calls.put_nowait(Call(path, headers, body))
        await send({"type": "http.response.start", "status": 202, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    async def _body(self, receive: Callable[[], Awaitable[Any]], most: int) -> bytes | None:
        """Return a body, which is held from now on; None where it has more bytes than ``most`` or than are free."""
        body, kept, more = bytearray(), most >= 0, True
        try:
            while more:
                message = await receive()
                chunk = message.get("body", b"")
                kept = kept and message["type"] == "http.request" and len(chunk) <= min(self._free, most - len(body))
                if kept:
                    self._free -= len(chunk)
                    body += chunk
                else:
                    self._free += len(body)
                    body.clear()
                more = message.get("more_body", False)
        except BaseException:
            self._free += len(body)
            raise
        return bytes(body) if kept else None

    @property
    def waiting(self) -> int:
        """Return how many copies have not been taken yet."""
        return self._calls.qsize()

    async def calls(self) -> AsyncIterator[Call]:
        """Yield what comes, for ever."""
        while True:
            call = await self._calls.get()
            self._free += len(call.body)
            yield call


def _kept(headers: list[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    return ((name, value) for name, value in headers if name in _KEPT)


@asynccontextmanager
async def listening(address: str, model: str, held_bytes: int) -> AsyncIterator[Mirror]:
    """Take copies at ``HOST:PORT`` while the block runs. Raises ConfigurationError."""
    host, _, port = address.rpartition(":")
    if not (host and port.isdecimal()):
        raise ConfigurationError("the mirror's address is HOST:PORT", field="mirror")
    try:
        listener = socket.create_server((host, int(port)))
    except (OSError, OverflowError):
        raise ConfigurationError(f"nothing can listen on {address}", field="mirror") from None
    mirror = Mirror(model, held_bytes)
    config = uvicorn.Config(mirror, log_config=None, access_log=False, lifespan="off")
    server = uvicorn.Server(config)
    # `_serve` and not `serve`: signals stay with whoever called.
    task = asyncio.create_task(server._serve([listener]))  # noqa: SLF001
    try:
        yield mirror
    finally:
        server.should_exit = True
        await asyncio.gather(task, return_exceptions=True)
