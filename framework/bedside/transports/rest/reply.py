"""What an ASGI application is given and answers: the types of one exchange (ASGI HTTP specification 2.3)."""

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

Header = tuple[bytes, bytes]
Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

API_CSP = b"default-src 'none'; frame-ancestors 'none'"

SECURITY_HEADERS: tuple[Header, ...] = (
    # An answer is about a patient: no browser and no proxy keeps it (RFC 9111 §5.2.2.5).
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
)


@dataclass(frozen=True, slots=True)
class Reply:
    """One whole answer."""

    status: int
    media_type: str
    body: bytes
    headers: tuple[Header, ...] = ()


async def send_head(send: Send, reply: Reply, request_id: str, *, close: bool = False) -> None:
    """Send status and header fields; ``close`` announces that no further request is read on this connection."""
    # RFC 9110 §8.6: 204 has no Content-Length.
    described = (
        ()
        if reply.status == 204
        else (
            (b"content-type", reply.media_type.encode("latin-1")),
            (b"content-length", b"%d" % len(reply.body)),
        )
    )
    headers = [
        *described,
        (b"x-request-id", request_id.encode("latin-1")),
        *SECURITY_HEADERS,
        (b"content-security-policy", API_CSP),
        *reply.headers,
    ]
    if close:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})


async def send_reply(send: Send, reply: Reply, request_id: str, *, close: bool = False) -> None:
    """Send a whole answer."""
    await send_head(send, reply, request_id, close=close)
    await send({"type": "http.response.body", "body": reply.body})
