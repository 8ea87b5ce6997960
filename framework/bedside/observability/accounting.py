"""Stage 9: one event and the metrics of one call."""

import hashlib
from collections.abc import Mapping
from typing import Any, Protocol

from bedside.errors import BedsideError, ModelFailure
from bedside.observability.events import Event
from bedside.observability.logging import Log
from bedside.observability.metrics import Metrics
from bedside.types import Principal

_STAGE_FIELDS = {
    stage: f"inference.stage.{stage}_ms"
    for stage in ("authenticate", "decode", "queue", "run", "preprocess", "inference", "encode")
}
_MAX_HASHES = 4096


class FinishedCall(Protocol):
    """What is read of a call (``dataplane.call.Call``)."""

    request_id: str
    transport: str
    operation: str
    model: str
    version: str
    digest: str
    device: str
    principal: Principal | None
    rows: int
    input_bytes: int
    output_bytes: int
    stages: dict[str, float]
    error: BedsideError | None

    @property
    def seconds(self) -> float:
        """Return the seconds that the call took."""
        ...


class Accountant:
    """Accounts for finished calls. Implements ``interfaces.CallSink``."""

    def __init__(self, log: Log, metrics: Metrics) -> None:
        self._log = log
        self._metrics = metrics
        self._hashes: dict[tuple[str, str], str] = {}

    def account(self, call: FinishedCall) -> None:
        """Write one event and count; never raises."""
        seconds = call.seconds
        self._count(call, seconds)
        fields: dict[str, Any] = {
            "event.outcome": "failure" if call.error else "success",
            "event.duration": int(seconds * 1e9),
            "http.request.id": call.request_id,
            "http.request.body.bytes": call.input_bytes,
            "http.response.body.bytes": call.output_bytes,
            "inference.transport": call.transport,
            "inference.operation": call.operation,
            "inference.rows": call.rows,
            **self._who(call.principal),
            **_stages(call.stages),
        }
        if call.model:
            fields["inference.bundle.name"] = call.model
            fields["inference.bundle.version"] = call.version
            fields["inference.bundle.digest"] = call.digest
            fields["inference.device"] = call.device
        if call.error is not None:
            fields.update(_error(call.error))
        if isinstance(call.error, ModelFailure):
            self._log.warning(Event.INFERENCE_COMPLETED, **fields)
        else:
            self._log.info(Event.INFERENCE_COMPLETED, **fields)

    def _count(self, call: FinishedCall, seconds: float) -> None:
        if call.error is not None:
            self._metrics.refused(type(call.error).__name__)
        if not call.model:
            return
        children = self._metrics.of(call.model, call.version, call.transport)
        (children.failed if call.error else children.succeeded).inc()
        children.seconds.observe(seconds)
        for stage, took in call.stages.items():
            histogram = children.stages.get(stage)
            if histogram is not None:
                histogram.observe(took)

    def _who(self, principal: Principal | None) -> dict[str, str]:
        if principal is None:
            return {}
        key = (principal.issuer, principal.subject)
        found = self._hashes.get(key)
        if found is None:
            if len(self._hashes) >= _MAX_HASHES:
                self._hashes.clear()
            # A subject can be an e-mail address or a staff number; the hash still tells callers apart.
            found = hashlib.sha256("\0".join(key).encode()).hexdigest()[:16]
            self._hashes[key] = found
        return {"user.hash": found}


def _stages(stages: Mapping[str, float]) -> dict[str, float]:
    return {_STAGE_FIELDS[stage]: round(took * 1000, 3) for stage, took in stages.items() if stage in _STAGE_FIELDS}


def _error(error: BedsideError) -> dict[str, str]:
    fields = {"error.type": type(error).__name__}
    if isinstance(error, ModelFailure) and error.cause:
        fields["error.type"] = f"{type(error).__name__}/{error.cause}"
        fields["error.stack_trace"] = error.where
    return fields
