"""The edge: the data plane's own paths as plain ASGI, everything else handed on.

The order is the security: header fields, then who calls and whether they may (stage 2), then the model (stage 3),
and only then the body is read. Routers, models and middlewares cost more than the whole rest of a cheap call
(docs/decisions/0030), so the two paths that are called a thousand times a second have none.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote

from bedside.dataplane.abreast import abreast
from bedside.dataplane.call import Call
from bedside.dataplane.inference import DataPlane
from bedside.dataplane.lifecycle import Lifecycle
from bedside.errors import AuditUnavailable, BedsideError, ClientGone, Draining, QueueFull, UnsupportedMediaType
from bedside.observability.request_id import request_id_from
from bedside.observability.traceparent import trace_parent_from
from bedside.observability.unexpected import report_unexpected
from bedside.settings import LimitSettings
from bedside.transports.rest.body import Body
from bedside.transports.rest.exchange import Exchange, Operation
from bedside.transports.rest.head import Head
from bedside.transports.rest.problems import error_reply, http_problem, options_reply
from bedside.transports.rest.reply import (
    ASGIApp,
    Header,
    Receive,
    Reply,
    Scope,
    Send,
    send_head,
    send_reply,
    send_whole,
)
from bedside.transports.rest.watchdog import Kennel

ALLOWED = "OPTIONS, POST"

_ENDS = (("v1", "predict"), ("v1", "jobs"), ("v2", "infer"), ("dicomweb", "studies"))

LINGER_BYTES = 64 * 1024 * 1024
LINGER_SECONDS = 2.0


class Target(NamedTuple):
    """What a path of the data plane names; ``version`` is None for the highest."""

    operation: str
    model: str
    version: str | None


def target_of(path: str) -> Target | None:
    """Return what ``/v1/models/{m}[/versions/{v}]/{predict,jobs}``, ``/v2/…/infer`` or ``/dicomweb/…/studies`` names.

    None for any other path.

    The path is the one on the wire: it is split before it is decoded (RFC 3986 §2.4), so ``%2F`` in a model's name
    stays a letter of the name.
    """
    parts = path.split("/")
    if len(parts) not in (5, 7) or (parts[1], parts[-1]) not in _ENDS:
        return None
    if parts[2] != "models" or not parts[3]:
        return None
    if len(parts) == 5:
        return Target(parts[-1], _decoded(parts[3]), None)
    return Target(parts[-1], _decoded(parts[3]), _decoded(parts[5])) if parts[4] == "versions" and parts[5] else None


@lru_cache(maxsize=256)
def _copy_of(version: str, digest: str) -> tuple[Header, ...]:
    """Tell which copy of the model an answer is from: a newer one may have taken its name since."""
    return (b"bedside-model-version", version.encode()), (b"bedside-model-digest", digest.encode())


def _decoded(part: str) -> str:
    return unquote(part) if "%" in part else part


class Edge:
    """An ASGI application: calls to models here, all else to ``app``.

    Args:
        dataplane: the spine.
        operations: what ``predict`` and ``infer`` do.
        app: answers all other paths.
        lifecycle: whether the server still takes requests.
        limits: bounds on body, time and requests at one time.
    """

    def __init__(
        self,
        dataplane: DataPlane,
        operations: Mapping[str, Operation],
        app: ASGIApp,
        lifecycle: Lifecycle,
        limits: LimitSettings,
    ) -> None:
        self._dataplane = dataplane
        self._operations = operations
        self._app = app
        self._lifecycle = lifecycle
        self._limits = limits
        self._running = 0
        self._watchdogs = Kennel(limits.body_seconds)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI connection scope."""
        if scope["type"] == "http":
            raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
            target = target_of(raw_path.decode("latin-1"))
            if target is not None and target.operation in self._operations:
                await self._respond(target, scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _respond(self, target: Target, scope: Scope, receive: Receive, send: Send) -> None:
        head = Head(scope)
        request_id = request_id_from(head.get(b"x-request-id"))
        if head.method != "POST":
            is_options = head.method == "OPTIONS"
            reply = options_reply(ALLOWED) if is_options else http_problem(405, request_id, scope["path"], ALLOWED)
            await send_reply(send, reply, request_id)
            return
        call = Call(request_id, "rest", target.operation, parent=trace_parent_from(head.only(b"traceparent")))
        body = Body(receive, head)
        exchange = Exchange(head, body, call)
        lingers = False
        self._running += 1
        try:
            reply = await self._guarded(target, exchange, receive, scope["path"])
            if self._dataplane.settles:
                reply = await self._settled(call, reply, scope["path"])
            if not isinstance(call.error, ClientGone):
                call.output_bytes = len(reply.body)
                lingers = await self._send(scope, send, reply, exchange)
                await abreast()
        finally:
            self._running -= 1
            # (9) account, in every case, once
            self._dataplane.account(call)
        if lingers:
            await _linger(send, body)

    async def _guarded(self, target: Target, exchange: Exchange, receive: Receive, path: str) -> Reply:
        call = exchange.call
        watchdog = self._watchdogs.watch(exchange.body, receive)
        try:
            return await self._answer(target, exchange)
        except BedsideError as error:
            call.error = error
        except asyncio.CancelledError:
            # Without a reason of the watchdog's, it is the server's own deadline: the caller is told, not cut off.
            call.error = watchdog.error or Draining("the server ended before the answer was ready")
        except Exception as error:  # noqa: BLE001 - the last line of defence: nothing of it goes out
            call.error = report_unexpected(error, call.request_id)
        finally:
            watchdog.stop()
        return error_reply(call.error, call.request_id, path)

    async def _settled(self, call: Call, reply: Reply, path: str) -> Reply:
        try:
            await self._dataplane.settle(call)
        except AuditUnavailable as error:
            call.error = error
            return error_reply(error, call.request_id, path)
        return reply

    async def _answer(self, target: Target, exchange: Exchange) -> Reply:
        head = exchange.head
        if self._lifecycle.closing:
            raise Draining
        if self._running > self._limits.connections:
            raise QueueFull("more requests run than limits.connections allows")
        head.check_single()
        # (2) authenticate, authorise, (3) resolve
        served = await self._dataplane.admit(exchange.call, head.token, target.model, target.version)
        coding = head.get(b"content-encoding")
        if coding is not None and coding.lower() != b"identity":
            raise UnsupportedMediaType(
                "send the body without Content-Encoding; files may be compressed themselves (.nii.gz)",
                field="Content-Encoding",
            )
        # (4) to (8)
        reply = await self._operations[target.operation](exchange, served)
        await abreast()
        copy = _copy_of(exchange.call.version, exchange.call.digest)
        return Reply(reply.status, reply.media_type, reply.body, (*reply.headers, *copy))

    async def _send(self, scope: Scope, send: Send, reply: Reply, exchange: Exchange) -> bool:
        """Send the answer; return True where the caller may still be sending and the connection must be closed."""
        head, body, request_id = exchange.head, exchange.body, exchange.call.request_id
        if body.complete or head.rest_is_small:
            await send_whole(scope, send, reply, request_id, close=self._lifecycle.draining)
            return False
        if head.get(b"expect") is not None:
            # RFC 9110 §10.1.1: without 100 (Continue) the body may never come, and then the next request would
            # be taken for it.
            await send_reply(send, reply, request_id, close=True)
            return False
        await send_head(send, reply, request_id, close=True)
        await send({"type": "http.response.body", "body": reply.body, "more_body": True})
        return True


async def _linger(send: Send, body: Body) -> None:
    """Close the connection of a caller who is still sending and has been answered (RFC 9112 §9.6).

    What still comes is thrown away for a while first: closing with unread bytes would reset the connection, and the
    caller would never see the answer.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(LINGER_SECONDS):
            await body.discard(LINGER_BYTES)
    await send({"type": "http.response.body", "body": b""})
