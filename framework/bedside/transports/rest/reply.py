"""What an ASGI application is given and answers: the types of one exchange (ASGI HTTP specification 2.3)."""

import re
from collections.abc import Awaitable, Callable, MutableMapping
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

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


class Reply(NamedTuple):
    """One whole answer."""

    status: int
    media_type: str
    body: bytes
    headers: tuple[Header, ...] = ()


class SendsWhole(Protocol):
    """What ``scope[WHOLE]`` holds where the server can write head and body of an answer at once."""

    async def __call__(self, status: int, fields: bytes, body: bytes, *, close: bool) -> None:
        """Send an answer to a request other than HEAD.

        Args:
            status: status code, not 204 or 304.
            fields: header fields as they go over the wire, each ended by CR LF, Content-Length among them.
            body: all of it.
            close: close the connection afterwards.
        """
        ...


WHOLE = "bedside.whole"
"""Key of the ASGI scope. ASGI's two messages are two writes to the socket, the dearest thing in a cheap call."""

_FIXED = b"".join(b"%b: %b\r\n" % field for field in (*SECURITY_HEADERS, (b"content-security-policy", API_CSP)))
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")  # RFC 9110 §5.5: what no field value may hold


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


async def send_whole(scope: Scope, send: Send, reply: Reply, request_id: str, *, close: bool = False) -> None:
    """Send a whole answer, in one write where the server can."""
    whole: SendsWhole | None = scope.pop(WHOLE, None)  # it refers back to the scope; a cycle waits for the collector
    if whole is None or reply.status in (204, 304):
        await send_reply(send, reply, request_id, close=close)
        return
    varying = b"content-type: %b\r\ncontent-length: %d\r\nx-request-id: %b\r\n" % (
        reply.media_type.encode("latin-1"),
        len(reply.body),
        request_id.encode("latin-1"),
    )
    await whole(reply.status, varying + _FIXED + _wire(reply.headers), reply.body, close=close)


@lru_cache(maxsize=256)
def _wire(headers: tuple[Header, ...]) -> bytes:
    for _, value in headers:
        if _CONTROL.search(value):
            raise ValueError("a header field of an answer holds a control character")
    return b"".join(b"%b: %b\r\n" % header for header in headers)
