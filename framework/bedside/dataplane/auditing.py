"""What goes into the audit trail: every call along the spine, and what is asked beside it, by any transport."""

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Any

import orjson

from bedside.dataplane.call import Call
from bedside.errors import BedsideError, InsufficientScope, MalformedPayload, Unauthenticated
from bedside.interfaces import AuditSink, ModelRepository
from bedside.observability.accounting import slug
from bedside.observability.audit_lines import Record
from bedside.observability.events import AuditAction
from bedside.types import Principal, RawInput, RawRecord

CALLER: ContextVar[Principal | None] = ContextVar("caller", default=None)
"""Who asks, beside the spine, once ``gate.Gate`` knows."""

_REFUSALS = (Unauthenticated, InsufficientScope)


class Auditor:
    """Tells an audit trail what happens; without one, nothing.

    Args:
        sink: the trail.
        repository: which models there are: a caller's word for a model is recorded only where it is one.

    Attributes:
        strict: whether a call must be recorded before it is answered.
    """

    def __init__(self, sink: AuditSink | None = None, repository: ModelRepository | None = None) -> None:
        self._sink = sink
        self._repository = repository
        self.strict = sink is not None and sink.strict

    def fingerprint(self, raw: Sequence[RawInput]) -> str:
        """Return the keyed hash of an input, "" where nobody keeps it.

        Raises:
            MalformedPayload: it is nested deeper than orjson writes (254 levels), and than any input may be.
        """
        if self._sink is None:
            return ""
        try:
            return self._sink.fingerprint([_bytes(item) for item in raw])
        except orjson.JSONEncodeError:
            raise MalformedPayload("nested too deeply", field="body") from None

    async def settle(self, call: Call) -> None:
        """Before a call is answered: record it where that is asked for. Raises AuditUnavailable."""
        if self._sink is not None and self._sink.strict:
            await self._sink.commit(_of_call(call))
            call.recorded = True

    def account(self, call: Call) -> None:
        """After a call was answered: record it unless it is."""
        if self._sink is not None and not call.recorded:
            self._sink.record(_of_call(call))

    async def tell(
        self,
        action: AuditAction | None,
        transport: str,
        request_id: str,
        error: BedsideError | None,
        target: Mapping[str, Any],
    ) -> None:
        """Record what was asked beside the spine, or that somebody was not let in.

        Args:
            action: what was asked; None for what is only recorded where it is refused.
            transport: ``rest`` ….
            request_id: of the request.
            error: why it failed.
            target: ``model`` or ``job`` as the caller named it; ``upload``, the reference that was offered.

        Raises:
            AuditUnavailable: it could not be recorded, and must be.
        """
        refused = isinstance(error, _REFUSALS)
        if self._sink is None or not (action or refused):
            return
        facts: dict[str, Any] = {
            "request_id": request_id,
            "transport": transport,
            **_outcome(error),
            **self._known(target, error),
        }
        if refused:
            facts["operation"] = action
            action = AuditAction.ACCESS_REFUSED
        assert action is not None  # noqa: S101 - see above
        if "upload" in target:
            # Keyed, for who knows the name may have it read; a job that names it is recorded with the same.
            facts["input_hash"] = self._sink.fingerprint([orjson.dumps(target["upload"])])
        record = Record(action, CALLER.get(), facts)
        if self._sink.strict:
            await self._sink.commit(record)
        else:
            self._sink.record(record)

    def _known(self, target: Mapping[str, Any], error: BedsideError | None) -> dict[str, str]:
        # What the caller made up may be a person's name.
        models = (
            {status.name for status in self._repository.index()} if self._repository and "model" in target else set()
        )
        known = {"model": target["model"]} if target.get("model") in models else {}
        return known | ({"job": target["job"]} if "job" in target and error is None else {})


def _of_call(call: Call) -> Record:
    refused = isinstance(call.error, _REFUSALS)
    same = {
        "transport": call.transport,
        "operation": call.operation,
        "model": call.model or None,
        "version": call.version or None,
        "digest": call.digest or None,
        "job": call.job or None,
        **_outcome(call.error),
    }
    if refused:
        return Record(AuditAction.ACCESS_REFUSED, call.principal, same, {"request_id": call.request_id})
    varying = {"request_id": call.request_id, "input_hash": call.input_hash or None, "rows": call.rows}
    return Record(AuditAction.MODEL_CALLED, call.principal, same, varying)


def _outcome(error: BedsideError | None) -> dict[str, str]:
    if error is None:
        return {"outcome": "success"}
    return {"outcome": "failure", "error_code": slug(type(error).__name__)}


def _bytes(item: RawInput) -> bytes:
    if isinstance(item, RawRecord):
        return orjson.dumps(item.values, option=orjson.OPT_SORT_KEYS)
    # Elements of BYTES tensors are bytes over gRPC.
    return item.data if isinstance(item.data, bytes) else orjson.dumps(item.data, default=bytes.hex)
