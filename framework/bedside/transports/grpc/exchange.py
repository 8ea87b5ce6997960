"""One RPC on its way: metadata, deadline, and the message, which is read only when it is asked for."""

import asyncio
from math import inf
from typing import Any

import grpc

from bedside.errors import MalformedPayload, PayloadTooLarge, RequestTimeout
from bedside.observability.request_id import request_id_from
from bedside.observability.traceparent import trace_parent_from
from bedside.security.bearer import bearer_token
from bedside.types import UnverifiedToken

Context = grpc.aio.ServicerContext[Any, Any]

_SINGLE = ("authorization", "x-request-id")


class Exchange:
    """What an operation is given.

    Attributes:
        request_id: the caller's ``x-request-id`` where it is of a form that names nobody, else ours.
        model: what a message names, once it has been read; for the audit trail.
        parent: the caller's span, where it sent a well-formed one.
        patience: seconds until the caller's deadline, infinite where it set none.
    """

    __slots__ = ("_context", "_fields", "_repeated", "model", "parent", "patience", "request_id")

    def __init__(self, context: Context) -> None:
        pairs = [(str(name), _bytes(value)) for name, value in context.invocation_metadata() or ()]
        remaining = context.time_remaining()
        self._context = context
        self.model = ""
        self._fields = dict(pairs)
        names = [name for name, _ in pairs]
        self._repeated = next((name for name in _SINGLE if names.count(name) > 1), None)
        self.request_id = request_id_from(self._fields.get("x-request-id"))
        once = names.count("traceparent") == 1
        self.parent = trace_parent_from(self._fields["traceparent"]) if once else None
        self.patience = inf if remaining is None else remaining

    @property
    def token(self) -> UnverifiedToken | None:
        """Return the bearer token in the metadata, None where no credentials were sent.

        Raises:
            MalformedPayload: the metadata name it twice: two readers would choose differently.
            InvalidToken: credentials of another scheme, or of a form that no token has.
        """
        if self._repeated is not None:
            raise MalformedPayload("this metadata must not be repeated", field=self._repeated)
        return bearer_token(self._fields.get("authorization"))

    async def read(self, limit: int, seconds: float) -> bytes:
        """Return the request's message, still encoded.

        Raises:
            RequestTimeout: it did not arrive in time.
            PayloadTooLarge: it has more than ``limit`` bytes.
            MalformedPayload: the caller ended without a message, or with one that gRPC itself refused.
        """
        try:
            async with asyncio.timeout(seconds):
                message = await self._context.read()
        except TimeoutError:
            raise RequestTimeout from None
        if not isinstance(message, bytes):
            raise MalformedPayload("a whole message is missing", field="message")
        if len(message) > limit:
            raise PayloadTooLarge(f"the message has {len(message)} bytes, the limit is {limit}", field="message")
        return message


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("latin-1", "replace")
