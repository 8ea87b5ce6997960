"""What every answer outside the data plane has in common: request id, security header fields, no surprises."""

import asyncio
from contextlib import suppress

from bedside.dataplane.auditing import CALLER, Auditor
from bedside.dataplane.lifecycle import Lifecycle
from bedside.errors import AuditUnavailable
from bedside.observability.request_id import request_id_from
from bedside.observability.unexpected import report_unexpected
from bedside.transports.rest.auditing import tell
from bedside.transports.rest.head import Head
from bedside.transports.rest.problems import error_reply
from bedside.transports.rest.reply import API_CSP, SECURITY_HEADERS, ASGIApp, Message, Receive, Scope, Send, send_reply


class Front:
    """Wraps the FastAPI application: HEAD as GET, header fields, lifespan, the last line of defence."""

    def __init__(self, app: ASGIApp, lifecycle: Lifecycle, auditor: Auditor) -> None:
        self._app = app
        self._lifecycle = lifecycle
        self._auditor = auditor
        self._starting: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI connection scope."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        else:
            # ASGI "WebSocket": closing before accepting refuses with 403.
            await send({"type": "websocket.close"})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = request_id_from(Head(scope).get(b"x-request-id"))
        begun = unrecorded = False

        async def completed(message: Message) -> None:
            nonlocal begun, unrecorded
            if message["type"] == "http.response.start":
                begun = True
                try:
                    await tell(self._auditor, inner, request_id, inner["state"].get("error"))
                except AuditUnavailable as error:
                    unrecorded = True
                    await send_reply(send, error_reply(error, request_id, scope["path"]), request_id)
                message["headers"] = _completed(message.get("headers", []), request_id, close=self._lifecycle.draining)
            if not unrecorded:
                await send(message)

        # FastAPI's routes know no HEAD; the server that called drops the body of what GET would have answered.
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        inner = {**scope, "method": method, "state": {**scope.get("state", {}), "request_id": request_id}}
        CALLER.set(None)  # a connection's requests share one context
        try:
            await self._app(inner, receive, completed)
        except Exception as error:  # noqa: BLE001 - the last line of defence: nothing of it goes out
            unexpected = report_unexpected(error, request_id)
            if not begun:
                await send_reply(send, error_reply(unexpected, request_id, scope["path"]), request_id)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                # In the background: the server is to listen while models load.
                self._starting = asyncio.get_running_loop().create_task(self._lifecycle.start())
                await send({"type": "lifespan.startup.complete"})
            else:
                await self._stop()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _stop(self) -> None:
        if self._starting is not None and not self._starting.done():
            self._starting.cancel()
            with suppress(asyncio.CancelledError):
                await self._starting
        try:
            await self._lifecycle.stop()
        except Exception as error:  # noqa: BLE001 - the process ends all the same
            report_unexpected(error, "")


def _completed(headers: list[tuple[bytes, bytes]], request_id: str, *, close: bool) -> list[tuple[bytes, bytes]]:
    present = {name for name, _ in headers}
    added = [
        (b"x-request-id", request_id.encode("ascii")),
        *SECURITY_HEADERS,
        (b"content-security-policy", API_CSP),
        *([(b"connection", b"close")] if close else []),
    ]
    return [*headers, *(pair for pair in added if pair[0] not in present)]
