"""Spans of finished calls: one of the call and, made on the exporter's thread, one of each of its stages.

The stages of a call are sequential and their seconds known once it has ended, so nothing is measured for a trace: the
spans are laid one after the other from the call's start. What passed between two stages is seen at the end.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from threading import Timer
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from bedside.errors import RequestError
from bedside.observability.accounting import FinishedCall
from bedside.observability.schema import FIELDS, STAGES
from bedside.tracing_settings import TracingSettings
from bedside.version import __version__

ATTRIBUTES = {
    name: FIELDS[name].ecs
    for name in (
        *("transport", "operation", "outcome", "model", "version", "digest", "device", "user_hash", "request_id"),
        *("error_type", "error_code"),
    )
}
"""What a span says, by the names of the log; the stage's name is that of its span."""

_WITHIN_RUN = frozenset({"queue", "preprocess", "inference", "postprocess"})
_NANOSECONDS = 1e9
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_FAILED = Status(StatusCode.ERROR)
_SCOPE = InstrumentationScope("bedside", __version__)
_ids = RandomIdGenerator()


class _CallSpan(ReadableSpan):
    """The span of a call, with the seconds of its stages."""

    stages: Mapping[str, float]


class Tracer:
    """Implements ``accounting.Tracer``.

    Args:
        exporter: where spans go.
        settings: sampling, and bounds on what waits.
        service: ``service.name``.
        environment: ``deployment.environment.name``.
    """

    def __init__(self, exporter: SpanExporter, settings: TracingSettings, service: str, environment: str) -> None:
        self._exporter = exporter
        self._stop_seconds = settings.stop_seconds
        self._bound = TraceIdRatioBased(settings.ratio).bound
        about = {"service.name": service, "service.version": __version__, "deployment.environment.name": environment}
        self._resource = Resource(about)
        self._processor = BatchSpanProcessor(
            _WithStages(exporter),
            max_queue_size=settings.queue_calls,
            schedule_delay_millis=settings.flush_seconds * 1e3,
            max_export_batch_size=settings.batch_calls,
            export_timeout_millis=settings.timeout_seconds * 1e3,
        )

    def record(self, call: FinishedCall, facts: Mapping[str, Any], seconds: float) -> tuple[str, str]:
        """Hand one finished call to the exporter's thread, where it is sampled; never waits for it.

        Args:
            call: what has ended.
            facts: fields of its log line.
            seconds: how long it took.

        Returns:
            ids of the trace and of the call's span, in hex, for the log.
        """
        parent, span, own = call.parent, _ids.generate_span_id(), _ids.generate_trace_id()
        trace = own if parent is None else int(parent.trace_id, 16)
        # Parent-based; else by the trace id's lower half, as other services' ratios are. Who has shown no token decides
        # nothing, nor by the id that it chose: a span costs more than the refusal that it tells of.
        asked = parent.sampled if parent is not None and call.principal is not None else None
        if asked if asked is not None else own & TraceIdRatioBased.TRACE_ID_LIMIT < self._bound:
            self._processor.on_end(self._span(call, facts, seconds, trace, span))
        return f"{trace:032x}", f"{span:016x}"

    def _span(
        self, call: FinishedCall, facts: Mapping[str, Any], seconds: float, trace: int, span: int
    ) -> ReadableSpan:
        end, parent, error = time.time_ns(), call.parent, call.error
        # What the caller must mend is no fault of ours (OpenTelemetry, HTTP server spans).
        ours = error is not None and not isinstance(error, RequestError)
        made = _CallSpan(
            f"{call.operation} {call.model}" if call.model else call.operation,
            context=SpanContext(trace, span, is_remote=False, trace_flags=_SAMPLED),
            parent=None if parent is None else SpanContext(trace, int(parent.span_id, 16), is_remote=True),
            resource=self._resource,
            attributes={name: facts[key] for key, name in ATTRIBUTES.items() if facts.get(key) is not None},
            kind=SpanKind.SERVER,
            status=_FAILED if ours else Status(),
            start_time=end - int(seconds * _NANOSECONDS),
            end_time=end,
            instrumentation_scope=_SCOPE,
        )
        made.stages = call.stages
        return made

    def close(self) -> None:
        """Send what waits, for ``tracing.stop_seconds`` and one request at most."""
        timer = Timer(self._stop_seconds, self._exporter.shutdown)
        timer.start()
        self._processor.shutdown()  # type: ignore[no-untyped-call]
        timer.cancel()


class _WithStages(SpanExporter):
    """Adds the spans of stages, on the processor's thread."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return self._exporter.export([made for span in spans for made in _with_stages(span)])

    def shutdown(self) -> None:
        self._exporter.shutdown()


def _with_stages(span: ReadableSpan) -> Iterator[ReadableSpan]:
    yield span
    if not isinstance(span, _CallSpan):
        return
    inner = {stage: span.stages[stage] for stage in STAGES if stage in _WITHIN_RUN and stage in span.stages}
    start = span.start_time or 0
    for stage, spent in span.stages.items():
        if stage in inner or stage not in STAGES:
            continue
        made = _stage(span, stage, start, spent)
        yield made
        # Rows of one request run at one time, and their seconds add up to more: there is no order to show.
        if stage == "run" and sum(inner.values()) <= spent:
            within = start
            for name, share in inner.items():
                part = _stage(made, name, within, share)
                yield part
                within = part.end_time or within
        start = made.end_time or start


def _stage(parent: ReadableSpan, name: str, start: int, seconds: float) -> ReadableSpan:
    above = parent.get_span_context()
    trace = 0 if above is None else above.trace_id
    return ReadableSpan(
        name,
        context=SpanContext(trace, _ids.generate_span_id(), is_remote=False, trace_flags=_SAMPLED),
        parent=above,
        resource=parent.resource,
        start_time=start,
        end_time=start + int(seconds * _NANOSECONDS),
        instrumentation_scope=_SCOPE,
    )
