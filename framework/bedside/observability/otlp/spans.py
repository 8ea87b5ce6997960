"""Finished spans as OTLP: each with one span below it for each of its stages.

The stages of a call are sequential and their seconds known once it has ended, so nothing is measured for a trace: the
spans are laid one after the other from the call's start. What passed between two stages is seen at the end.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from random import randbytes
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import SpanFlags, Status

from bedside.observability.otlp.messages import NANOSECONDS, SCOPE, attribute, resource
from bedside.observability.schema import FIELDS, STAGES
from bedside.observability.tracing import FinishedSpan, SpanKind

ATTRIBUTES = {
    name: FIELDS[name].ecs
    for name in (
        *("transport", "operation", "outcome", "model", "version", "digest", "device", "user_hash"),
        *("job", "attempt", "error_type", "error_code"),
    )
}
"""What a span says, by the names of the log; the stage's name is that of its span."""

_REQUEST_ID = FIELDS["request_id"].ecs
_WITHIN_RUN = tuple(stage for stage in STAGES if stage in {"queue", "preprocess", "inference", "postprocess"})
_FAILED = Status(code=Status.STATUS_CODE_ERROR)
_INTERNAL = int(SpanKind.INTERNAL)
_HERE = 0x01 | SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK  # sampled; the parent is a span of ours
_REMOTE = _HERE | SpanFlags.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK

_Add = Callable[..., Any]
"""Adds a span to a message, made of its fields: ``spans.add``."""


def encode(batch: Iterable[tuple[FinishedSpan, int]], about: Mapping[str, str]) -> tuple[bytes, int]:
    """Return an ``ExportTraceServiceRequest`` and the number of its spans.

    Args:
        batch: spans, and when each ended in nanoseconds since the epoch.
        about: the resource.
    """
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add(resource=resource(about)).scope_spans.add(scope=SCOPE).spans
    for finished, end in batch:
        _add_span(spans.add, finished, end)
    return request.SerializeToString(), len(spans)


def _add_span(add: _Add, finished: FinishedSpan, end: int) -> None:
    ids, parent, facts = finished.span, finished.parent, finished.facts
    trace, span = bytes.fromhex(ids.trace_id), bytes.fromhex(ids.span_id)
    start = end - int(finished.seconds * NANOSECONDS)
    told = _attributes(tuple([(name, facts[name]) for name in facts if name in ATTRIBUTES]))
    add(
        trace_id=trace,
        span_id=span,
        parent_span_id=b"" if parent is None else bytes.fromhex(parent.span_id),
        name=finished.name,
        kind=int(finished.kind),
        start_time_unix_nano=start,
        end_time_unix_nano=end,
        attributes=[*told, attribute(_REQUEST_ID, finished.request_id)] if finished.request_id else told,
        status=_FAILED if finished.failed else None,
        flags=_HERE if parent is None else _REMOTE,
    )
    _add_stages(add, (trace, span), start, finished.stages)


@lru_cache(maxsize=1024)
def _attributes(facts: tuple[tuple[str, str | int | None], ...]) -> list[KeyValue]:
    return [attribute(ATTRIBUTES[name], value) for name, value in facts if value is not None]


def _add_stages(add: _Add, above: tuple[bytes, bytes], start: int, stages: Mapping[str, float]) -> None:
    """Add a span for each stage, below the span ``above`` (trace and span)."""
    inner = {stage: stages[stage] for stage in _WITHIN_RUN if stage in stages}
    for stage, seconds in stages.items():
        if stage in inner or stage not in STAGES:
            continue
        made, end = _add_stage(add, above, stage, start, seconds)
        # Rows of one request run at one time, and their seconds add up to more: there is no order to show.
        if stage == "run" and inner and sum(inner.values()) <= seconds:
            for name, share in inner.items():
                _, start = _add_stage(add, (above[0], made), name, start, share)
        start = end


def _add_stage(add: _Add, above: tuple[bytes, bytes], name: str, start: int, seconds: float) -> tuple[bytes, int]:
    made = randbytes(8)  # noqa: S311 - an id that is to differ; nothing is guarded by it
    end = start + int(seconds * NANOSECONDS)
    add(
        trace_id=above[0],
        span_id=made,
        parent_span_id=above[1],
        name=name,
        kind=_INTERNAL,
        start_time_unix_nano=start,
        end_time_unix_nano=end,
        flags=_HERE,
    )
    return made, end
