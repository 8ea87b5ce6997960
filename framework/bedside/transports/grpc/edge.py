"""What every RPC has in common: errors become statuses, the request id goes back, nothing unforeseen goes out."""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from bedside.dataplane.auditing import CALLER, Auditor
from bedside.errors import BedsideError
from bedside.observability.events import AuditAction
from bedside.observability.unexpected import report_unexpected
from bedside.transports.grpc.exchange import Context, Exchange
from bedside.transports.grpc.statuses import details_of, metadata_of, status_of

Operation = Callable[[Exchange], Awaitable[Any]]
"""Reads the message and returns the answer, a message of protobuf; raises BedsideError."""


def audited(auditor: Auditor, operation: Operation, action: AuditAction | None = None) -> Operation:
    """Return an operation that is recorded, or where ``action`` is None only when a caller is not let in."""

    async def recorded(exchange: Exchange) -> Any:
        CALLER.set(None)
        error: BedsideError | None = None
        try:
            return await operation(exchange)
        except BedsideError as known:
            error = known
            raise
        finally:
            await auditor.tell(action, "grpc", exchange.request_id, error, {"model": exchange.model})

    return recorded


def as_method(operation: Operation) -> "grpc.RpcMethodHandler[Any, Any]":
    """Return an operation as a method of a service.

    It is declared as one that reads a stream, which on the wire is the same, since a unary call is a stream of one
    message: gRPC reads a unary message before anybody has looked at the token, a stream's only when it is asked for.
    """

    async def respond(_requests: object, context: Context) -> Any:
        exchange = Exchange(context)
        error = None
        try:
            answer = await operation(exchange)
        except BedsideError as known:
            error = known
        except Exception as unknown:  # noqa: BLE001 - the last line of defence: nothing of it goes out
            error = report_unexpected(unknown, exchange.request_id)
        about = (("x-request-id", exchange.request_id),)
        if error is not None:
            details = details_of(error, exchange.request_id)
            await context.abort(status_of(error), details, (*about, *metadata_of(error)))
        context.set_trailing_metadata(about)
        return answer

    return grpc.stream_unary_rpc_method_handler(respond, response_serializer=lambda answer: answer.SerializeToString())
