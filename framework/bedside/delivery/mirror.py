"""Takes the copies of requests that a gateway mirrors (nginx ``mirror``, Gateway API ``RequestMirror``).

A gateway throws away what a mirror answers, so it is answered at once; copies live in memory until they are asked. It
copies every request, those of strangers too: theirs take no place, or a flood of them would leave none for anybody. A
caller's take no more than they leave free, in places and in bytes, so that there is always room for another's (dynamic
thresholds: Choudhury and Hahne, IEEE/ACM Transactions on Networking 6 (1998) 2).
"""

import asyncio
import base64
import hashlib
import json
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import uvicorn

from bedside.delivery.calls import Call
from bedside.errors import ConfigurationError

WAITING = 32
"""Copies kept at one time, half of them of one caller; what comes meanwhile is not looked at."""

MOST_BYTES = 64 * 1024 * 1024
"""Largest body that is kept; a larger one is not looked at."""

ASKED_AT_ONCE = 4
"""Tokens that production is asked about at one time; copies with another that nobody knows are not looked at."""

KNOWN = 1024
"""Tokens that are remembered; the oldest go."""

KNOWN_SECONDS = 300.0
"""For how long. One that is taken back meanwhile has its copies refused by production: they say nothing."""

LetsIn = Callable[[str], Awaitable[bool]]
"""Given ``Authorization``, tells whether production lets its bearer call the model."""

_KEPT = frozenset({b"authorization", b"content-type", b"content-encoding", b"inference-header-content-length"})


class Callers:
    """Whose copies are looked at: those whom production lets in.

    Args:
        lets_in: asks production.
        clock: seconds of a clock that is not set.
    """

    def __init__(self, lets_in: LetsIn, clock: Callable[[], float] = time.monotonic) -> None:
        self._lets_in, self._clock = lets_in, clock
        self._known: dict[bytes, float] = {}
        self._asking = 0

    async def knows(self, authorization: str) -> bool:
        """Tell whether production is known to let these credentials in, or does when it is asked."""
        key = hashlib.sha256(authorization.encode()).digest()
        if self._clock() < self._known.get(key, 0.0):
            return True
        if not authorization or self._asking >= ASKED_AT_ONCE:
            return False
        self._asking += 1
        try:
            let_in = await self._lets_in(authorization)
        finally:
            self._asking -= 1
        if let_in:
            self._known.pop(key, None)
            while len(self._known) >= KNOWN:
                del self._known[next(iter(self._known))]
            self._known[key] = self._clock() + KNOWN_SECONDS
        return let_in


class Mirror:
    """An ASGI application that keeps copies of the calls of one model.

    Args:
        model: whose calls are kept.
        held_bytes: most bytes of bodies in memory at one time, together with those that are on their way; what comes
            meanwhile is not looked at. One caller has half of them.
        lets_in: see ``Callers``.
    """

    def __init__(self, model: str, held_bytes: int, lets_in: LetsIn) -> None:
        self._free = held_bytes
        self._callers = Callers(lets_in)
        self._paths = f"/v1/models/{model}/", f"/v2/models/{model}/"
        self._calls: asyncio.Queue[tuple[str, Call]] = asyncio.Queue(WAITING)
        self._places: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()

    async def __call__(self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Any) -> None:
        """Answer 202, and keep the call where it is one of the model's, by somebody who may call it."""
        path, headers = scope["path"], _kept(scope["headers"])
        wanted = path.startswith(self._paths) and path.endswith(("/predict", "/infer"))
        # Before the body: of whom nobody knows, nothing is kept.
        wanted = wanted and await self._callers.knows(headers.get("authorization", ""))
        caller = caller_of(headers["authorization"]) if wanted else ""
        body = await self._body(receive, MOST_BYTES if wanted else -1, caller)
        if body is not None and self._places[caller] >= WAITING - self._calls.qsize():
            self._hold(caller, -len(body))
        elif body is not None:
            _count(self._places, caller, 1)
            self._calls.put_nowait((caller, Call(path, headers, body)))
        await send({"type": "http.response.start", "status": 202, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    async def _body(self, receive: Callable[[], Awaitable[Any]], most: int, caller: str) -> bytes | None:
        """Return a body, which is held from now on; None where it has more bytes than ``most`` or than are free."""
        body, kept, more = bytearray(), most >= 0, True
        try:
            while more:
                message = await receive()
                chunk = message.get("body", b"")
                kept = kept and message["type"] == "http.request" and len(body) + len(chunk) <= most
                kept = kept and self._bytes[caller] + len(chunk) <= self._free - len(chunk)
                if kept:
                    self._hold(caller, len(chunk))
                    body += chunk
                else:
                    self._hold(caller, -len(body))
                    body.clear()
                more = message.get("more_body", False)
        except BaseException:
            self._hold(caller, -len(body))
            raise
        return bytes(body) if kept else None

    def _hold(self, caller: str, size: int) -> None:
        self._free -= size
        _count(self._bytes, caller, size)

    @property
    def waiting(self) -> int:
        """Return how many copies have not been taken yet."""
        return self._calls.qsize()

    async def calls(self) -> AsyncIterator[Call]:
        """Yield what comes, for ever."""
        while True:
            caller, call = await self._calls.get()
            self._hold(caller, -len(call.body))
            _count(self._places, caller, -1)
            yield call


def _count(held: Counter[str], caller: str, more: int) -> None:
    held[caller] += more
    if not held[caller]:
        del held[caller]


def caller_of(authorization: str) -> str:
    """Return who a token is of, which production has verified: one caller may have any number of them."""
    try:
        payload = authorization.rpartition(" ")[2].split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return json.dumps([claims["iss"], claims["sub"]])
    except (IndexError, ValueError, LookupError, TypeError, RecursionError):
        return authorization


def _kept(headers: list[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in headers if name in _KEPT}


@asynccontextmanager
async def listening(address: str, model: str, held_bytes: int, lets_in: LetsIn) -> AsyncIterator[Mirror]:
    """Take copies at ``HOST:PORT`` while the block runs. Raises ConfigurationError."""
    host, _, port = address.rpartition(":")
    if not (host and port.isdecimal()):
        raise ConfigurationError("the mirror's address is HOST:PORT", field="mirror")
    try:
        listener = socket.create_server((host, int(port)))
    except (OSError, OverflowError):
        raise ConfigurationError(f"nothing can listen on {address}", field="mirror") from None
    mirror = Mirror(model, held_bytes, lets_in)
    config = uvicorn.Config(mirror, log_config=None, access_log=False, lifespan="off")
    server = uvicorn.Server(config)
    # `_serve` and not `serve`: signals stay with whoever called.
    task = asyncio.create_task(server._serve([listener]))  # noqa: SLF001
    try:
        yield mirror
    finally:
        server.should_exit = True
        await asyncio.gather(task, return_exceptions=True)
