"""What spans are made of, without OpenTelemetry: without that extra, a caller's trace is still passed on."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import IntEnum
from time import perf_counter
from typing import Any, ClassVar, NamedTuple

from bedside.observability.traceparent import CURRENT_SPAN, TraceParent


class SpanKind(IntEnum):
    """How a span is related to its parent: ``SpanKind`` of opentelemetry.proto.trace.v1."""

    INTERNAL = 1
    SERVER = 2
    CLIENT = 3
    CONSUMER = 5


class FinishedSpan(NamedTuple):
    """A span that has just ended.

    Attributes:
        span: what it is called.
        parent: the span above it.
        name: our own words, and the name of a bundle that is served.
        kind: how it is related to its parent.
        seconds: how long it took.
        facts: fields of the log, by their names in the code.
        request_id: of a call; it is none of ``facts``, which many calls have in common.
        stages: seconds by stage of the spine, one after the other.
        failed: by our fault.
    """

    span: TraceParent
    parent: TraceParent | None
    name: str
    kind: SpanKind
    seconds: float
    facts: Mapping[str, Any]
    request_id: str | None = None
    stages: Mapping[str, float] = {}
    failed: bool = False


class Tracer:
    """Passes the traces of callers on and records nothing; ``otlp.recorder.Recorder`` does."""

    records: ClassVar[bool] = False

    def begin(self, parent: TraceParent | None, *, trusted: bool = True) -> TraceParent | None:  # noqa: ARG002 - for others
        """Return what a new span is called, None where there is no trace.

        Who records nothing hands on what it was given (W3C Trace Context §4.1).

        Args:
            parent: the span above it.
            trusted: whoever sent ``parent`` may decide whether it is recorded.
        """
        return parent

    def record(self, finished: FinishedSpan) -> None:
        """Take a span that has ended. Never waits, never raises."""

    @contextmanager
    def span(self, name: str, parent: TraceParent | None, kind: SpanKind, **facts: Any) -> Iterator[TraceParent | None]:
        """Record the block as a span; requests to other services are sent under it."""
        span, begin = self.begin(parent), perf_counter()
        token = CURRENT_SPAN.set(span)
        told: dict[str, Any] = {**facts, "outcome": "success"}
        try:
            yield span
        except BaseException as error:
            told |= {"outcome": "failure", "error_type": type(error).__name__}
            raise
        finally:
            CURRENT_SPAN.reset(token)
            if self.records and span is not None:
                failed = "error_type" in told
                self.record(FinishedSpan(span, parent, name, kind, perf_counter() - begin, told, failed=failed))
