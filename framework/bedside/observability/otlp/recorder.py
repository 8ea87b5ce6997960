"""Takes spans from whoever answers, and sends them from a thread of its own."""

from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from random import randbytes
from time import time_ns

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from bedside.observability.otlp.collector import Collector
from bedside.observability.otlp.spans import encode
from bedside.observability.periodic import Periodic
from bedside.observability.traceparent import TraceParent
from bedside.observability.tracing import FinishedSpan, Tracer
from bedside.otlp_settings import TracingSettings

_LOWER_HALF = 1 << 64


class Recorder(Tracer):
    """Records spans; for one event loop, which never waits for it.

    Args:
        collector: where they go.
        settings: sampling, and bounds on what waits.
        about: the resource.

    Attributes:
        sent_spans: that the collector has taken.
    """

    records = True

    def __init__(self, collector: Collector, settings: TracingSettings, about: Mapping[str, str]) -> None:
        self._collector = collector
        self._settings = settings
        self._about = about
        self._bound = round(settings.ratio * _LOWER_HALF)
        self._queue: deque[tuple[FinishedSpan, int]] = deque(maxlen=settings.queue_calls)
        # One count for each thread that counts: `+=` of two would lose some.
        self._crowded_out = self._refused = 0
        self.sent_spans = 0
        self._periodic = Periodic("tracing", settings.flush_seconds, self._export)

    @property
    def lost_spans(self) -> int:
        """Return how many spans found no room or no collector that took them, those of stages included."""
        return self._crowded_out + self._refused

    def begin(self, parent: TraceParent | None, *, trusted: bool = True) -> TraceParent:
        """Return a new span: in its parent's trace and sampled as that is, else in a trace of its own."""
        ids = randbytes(24).hex()  # noqa: S311 - ids that are to differ; nothing is guarded by them
        if parent is not None and trusted:
            return TraceParent(parent.trace_id, ids[32:], parent.sampled)
        # By the trace id's lower half, as `TraceIdRatioBased` of OpenTelemetry's SDKs does it. Who has shown no token
        # decides nothing, nor by the id that it chose: a span costs more than the refusal that it tells of.
        sampled = int(ids[16:32], 16) < self._bound
        return TraceParent(ids[:32] if parent is None else parent.trace_id, ids[32:], sampled)

    def record(self, finished: FinishedSpan) -> None:
        """Hand a span on, where it is sampled."""
        if not finished.span.sampled:
            return
        queue = self._queue
        if len(queue) == queue.maxlen:
            with suppress(IndexError):  # the thread was faster
                self._crowded_out += _count(queue.popleft()[0])
        queue.append((finished, time_ns()))
        if len(queue) == self._settings.batch_calls:
            self._periodic.due.set()

    def close(self) -> None:
        """Send what waits, for ``tracing.stop_seconds`` at most."""
        self._periodic.close(self._settings.stop_seconds)
        self._collector.close()

    def _export(self) -> None:
        while self._queue:
            batch: list[tuple[FinishedSpan, int]] = []
            with suppress(IndexError):
                while len(batch) < self._settings.batch_calls:
                    batch.append(self._queue.popleft())
            try:
                message, count = encode(batch, self._about)
            except Exception:
                self._refused += sum(_count(finished) for finished, _ in batch)
                raise
            answer = self._collector.send(message)
            refused = count if answer is None else _rejected(answer)
            self._refused += refused
            self.sent_spans += count - refused


def _count(finished: FinishedSpan) -> int:
    return 1 + len(finished.stages)


def _rejected(answer: bytes) -> int:
    """Return how many spans of a request a collector has not taken though it took others ("Partial Success")."""
    try:
        return int(ExportTraceServiceResponse.FromString(answer).partial_success.rejected_spans)
    except DecodeError:
        return 0
