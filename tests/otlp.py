"""A collector that speaks OTLP/HTTP and keeps what it is sent (opentelemetry-proto decodes it)."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span
from tests.loopback import Handler, http_server

TRACES, METRICS = "/v1/traces", "/v1/metrics"


@dataclass(frozen=True)
class Answer:
    """What the collector is to answer: status, header fields, body."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass
class Collector:
    """A collector that runs.

    Attributes:
        url: its address.
        folder: one file for each request, path and header fields first.
        requests: paths and bodies in their order.
        headers: header fields of each request.
        answers: what it answers next, first one first; then 200.
    """

    url: str
    folder: Path
    requests: list[tuple[str, bytes]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)

    @property
    def endpoint(self) -> str:
        """Return the address for ``tracing.endpoint``."""
        return self.url + TRACES

    @property
    def bodies(self) -> bytes:
        """Return all that was sent, as it was sent."""
        return b"\n".join(body for _, body in self.requests)

    @property
    def scopes(self) -> list[ScopeSpans]:
        """Return all spans so far, by who made them."""
        sent = [ExportTraceServiceRequest.FromString(body) for path, body in self.requests if path == TRACES]
        return [scope for request in sent for resource in request.resource_spans for scope in resource.scope_spans]

    @property
    def spans(self) -> list[Span]:
        """Return all spans so far."""
        return [span for scope in self.scopes for span in scope.spans]

    @property
    def metrics(self) -> list[ExportMetricsServiceRequest]:
        """Return each request with metrics."""
        return [ExportMetricsServiceRequest.FromString(body) for path, body in self.requests if path == METRICS]


def attributes(of: Span) -> dict[str, str | int]:
    """Return a span's attributes."""
    return read(of.attributes)


def read(pairs: Iterable[KeyValue]) -> dict[str, str | int]:
    """Return attributes as a dictionary."""
    return {pair.key: pair.value.int_value or pair.value.string_value for pair in pairs}


def by_name(request: ExportMetricsServiceRequest) -> dict[str, Metric]:
    """Return the metrics of a request."""
    (resource,) = request.resource_metrics
    (scope,) = resource.scope_metrics
    return {metric.name: metric for metric in scope.metrics}


@contextmanager
def collector(folder: Path, *, bodies: bool = True) -> Iterator[Collector]:
    """Run a collector on a free port of loopback; without ``bodies`` its files hold only paths and header fields."""
    folder.mkdir(parents=True, exist_ok=True)

    kept = Collector("", folder)

    class _Handler(Handler):
        def answer(self) -> None:
            body = self.content()
            (folder / f"{len(kept.requests)}").write_bytes(f"{self.path} {self.fields}".encode() + body * bodies)
            kept.headers.append(self.fields)
            kept.requests.append((self.path, body))
            answer = kept.answers.pop(0) if kept.answers else Answer()
            self.reply(answer.status, answer.body, answer.headers)

    with http_server(_Handler) as kept.url:
        yield kept
