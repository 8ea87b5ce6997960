"""Stage 9 of the spine: each call leaves one log event and its metrics, and nothing of its input."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol

from bedside.errors import BedsideError, ModelFailure, RequestError, Unavailable
from bedside.observability.events import Event
from bedside.observability.logging import Log, get_logger
from bedside.observability.metrics import Metrics
from bedside.observability.schema import STAGES
from bedside.observability.traceparent import TraceParent
from bedside.observability.tracing import FinishedSpan, SpanKind, Tracer
from bedside.types import Finding, Principal

_CAPITAL = re.compile(r"(?<!^)(?=[A-Z])")
_STAGE_FIELDS = {stage: f"{stage}_ms" for stage in STAGES}


class FinishedCall(Protocol):
    """The facts that are accounted for; ``dataplane.call.Call`` has them."""

    request_id: str
    transport: str
    operation: str
    model: str
    version: str
    digest: str
    device: str
    principal: Principal | None
    owner: str
    rows: int
    input_bytes: int
    output_bytes: int
    error: BedsideError | None
    findings: Sequence[Finding]
    job: str
    parent: TraceParent | None
    span: TraceParent | None

    @property
    def seconds(self) -> float:
        """Return the seconds since the call was received."""
        ...

    @property
    def stages(self) -> Mapping[str, float]:
        """Return the seconds by stage of the spine."""
        ...


@lru_cache(maxsize=256)
def slug(name: str) -> str:
    """Return an error's class name as it stands in labels: ``WrongShape`` is ``wrong_shape``."""
    return _CAPITAL.sub("_", name).lower()


class Accountant:
    """Implements ``interfaces.CallSink``. Make it after ``logging.configure``.

    Args:
        metrics: where calls are counted.
        pseudonym_key: 16 to 64 secret bytes that key the hash of callers' subjects (``user.hash``). With the same key,
            one caller has one pseudonym on all replicas and after restarts; without the key, nobody can find out whose
            it is by hashing a list of the staff.
        log: the configured log, where calls that went well may take the short way to it.
        tracer: takes spans of calls.
    """

    def __init__(
        self, metrics: Metrics, pseudonym_key: bytes, log: Log | None = None, tracer: Tracer | None = None
    ) -> None:
        self._metrics = metrics
        bound = get_logger("bedside.inference").bind()
        self._info, self._warning, self._error = bound.info, bound.warning, bound.error
        self._log = log
        self._tracer = tracer or Tracer()
        self._pseudonym = lru_cache(maxsize=4096)(lambda who: _pseudonym(pseudonym_key, who))

    def begin(self, call: FinishedCall) -> TraceParent | None:
        """Return the call's span, for what it causes; the caller's own where nothing is recorded here."""
        if call.span is None:
            # A job was handed in by somebody with a token.
            call.span = self._tracer.begin(call.parent, trusted=call.principal is not None or bool(call.job))
        return call.span

    def account(self, call: FinishedCall) -> None:
        """Log and count one finished call. Never blocks for long and never raises."""
        try:
            self._account(call)
        except Exception:  # noqa: BLE001 - an account that fails must not fail the call; it is counted instead
            self._metrics.unaccounted.inc()

    def redriven(self, who: Principal, job: str) -> None:
        """Log who had what was dead tried again."""
        get_logger("bedside.jobs").info(
            Event.JOB_REDRIVEN, job=job, user_hash=self._pseudonym((who.issuer, who.subject))
        )

    def _account(self, call: FinishedCall) -> None:
        seconds, error = call.seconds, call.error
        outcome = "success" if error is None else "failure"
        stages = call.stages
        of_model = self._metrics.for_model(call.model, call.version)
        ids = exemplar = {"request_id": call.request_id}
        span = self.begin(call) if self._tracer.records else None
        if span is not None:
            ids = {**ids, "trace_id": span.trace_id, "span_id": span.span_id}
            exemplar = ids if span.sampled else exemplar
        of_model.finished(call.transport, outcome, seconds, stages, exemplar)
        if call.findings and error is None:
            of_model.answered(call.findings)
        who = call.principal
        same = {
            "transport": call.transport,
            "operation": call.operation,
            "outcome": outcome,
            "outcome_ok": int(error is None),
            "model": call.model or None,
            "version": call.version or None,
            "digest": call.digest or None,
            "device": call.device or None,
            "user_hash": None if who is None else self._pseudonym((who.issuer, who.subject)),
        }
        varying: dict[str, Any] = {
            **ids,
            "duration_ns": int(seconds * 1e9),
            "rows": call.rows,
            "input_bytes": call.input_bytes,
            "output_bytes": call.output_bytes,
        }
        code = "" if error is None else slug(type(error).__name__)
        if span is not None and span.sampled:
            why = {"error_type": type(error).__name__, "error_code": code}
            self._tracer.record(_finished_span(call, span, same if error is None else {**same, **why}, seconds))
        if error is None and self._log is not None and self._log.write_inference(same, varying, stages):
            return
        times = {_STAGE_FIELDS[stage]: round(spent * 1e3, 3) for stage, spent in stages.items() if stage in STAGES}
        fields: dict[str, Any] = {**same, **varying, **times}
        if error is None:
            self._info(Event.INFERENCE_COMPLETED, **fields)
        else:
            self._fail(error, code, fields)

    def _fail(self, error: BedsideError, code: str, fields: dict[str, Any]) -> None:
        self._metrics.refusal(code).inc()
        fields["error_type"] = type(error).__name__
        fields["error_code"] = code
        if isinstance(error, ModelFailure):
            # The class behind it and where, never its text: bundles quote file names and values.
            fields["error_cause"] = error.cause or None
            fields["frames"] = (error.where,) if error.where else None
        # What the caller must mend is normal; what passes by itself is worth a look; the rest is ours.
        log = self._info if isinstance(error, RequestError) else self._error
        log = self._warning if isinstance(error, Unavailable) else log
        log(Event.INFERENCE_COMPLETED, **fields)


def _finished_span(call: FinishedCall, span: TraceParent, facts: Mapping[str, Any], seconds: float) -> FinishedSpan:
    name = f"{call.operation} {call.model}" if call.model else call.operation
    kind = SpanKind.CONSUMER if call.transport == "jobs" else SpanKind.SERVER
    # What the caller must mend is no fault of ours (OpenTelemetry, HTTP server spans).
    failed = call.error is not None and not isinstance(call.error, RequestError)
    return FinishedSpan(span, call.parent, name, kind, seconds, facts, call.request_id, call.stages, failed)


def _pseudonym(key: bytes, who: tuple[str, str]) -> str:
    # Issuer and subject together name a person (OIDC Core §5.7); the issuer comes from the settings and holds no NUL.
    return hashlib.blake2b("\0".join(who).encode(errors="replace"), key=key[:64], digest_size=8).hexdigest()
