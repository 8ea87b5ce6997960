"""The Prometheus registry as OTLP: one more exposition of it, and no second count.

Names are those of ``/metrics``, with their suffixes (OpenTelemetry, "Prometheus and OpenMetrics Compatibility"), so
that a query holds for both ways.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import pairwise
from time import time_ns

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AggregationTemporality,
    Exemplar,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    Sum,
)
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.samples import Sample

from bedside.observability.otlp.messages import NANOSECONDS, SCOPE, attribute, resource

_CUMULATIVE = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
_UNITS = {"seconds": "s", "bytes": "By", "probability": "1"}
"""UCUM's names of units, by the last part of a metric's name."""

_IDS = frozenset({"trace_id", "span_id"})
"""Labels of exemplars that OTLP has fields for."""

_Labels = tuple[tuple[str, str], ...]
_Span = tuple[int, int]
"""Begin and end of what is counted, in nanoseconds since the epoch."""


def encode(registry: CollectorRegistry, about: Mapping[str, str], start: int) -> bytes:
    """Return an ``ExportMetricsServiceRequest``.

    Args:
        registry: all metrics.
        about: the resource.
        start: when counting began, in nanoseconds since the epoch.
    """
    request = ExportMetricsServiceRequest()
    metrics = request.resource_metrics.add(resource=resource(about)).scope_metrics.add(scope=SCOPE).metrics
    span = (start, time_ns())
    for family in registry.collect():
        metrics.extend(_metric(family, span))
    return request.SerializeToString()


def _metric(family: Family, span: _Span) -> Iterator[Metric]:
    make = _KINDS.get(family.type, _gauge)
    metric = make(family, span)
    metric.name = f"{family.name}_total" if family.type == "counter" else family.name
    metric.description = family.documentation
    metric.unit = _UNITS.get(family.name.rpartition("_")[2], "")
    if family.samples:
        yield metric


def _counter(family: Family, span: _Span) -> Metric:
    points = [_number(sample, span) for sample in family.samples if sample.name.endswith("_total")]
    return Metric(sum=Sum(data_points=points, aggregation_temporality=_CUMULATIVE, is_monotonic=True))


def _gauge(family: Family, span: _Span) -> Metric:
    return Metric(gauge=Gauge(data_points=[_number(sample, (0, span[1])) for sample in family.samples]))


def _number(sample: Sample, span: _Span) -> NumberDataPoint:
    return NumberDataPoint(
        attributes=_attributes(sample.labels.items()),
        start_time_unix_nano=span[0],
        time_unix_nano=span[1],
        as_double=sample.value,
    )


def _histogram(family: Family, span: _Span) -> Metric:
    children: dict[_Labels, list[Sample]] = {}
    for sample in family.samples:
        labels = tuple((name, value) for name, value in sample.labels.items() if name != "le")
        children.setdefault(labels, []).append(sample)
    points = [_point(labels, samples, span) for labels, samples in children.items()]
    return Metric(histogram=Histogram(data_points=points, aggregation_temporality=_CUMULATIVE))


def _point(labels: _Labels, samples: Iterable[Sample], span: _Span) -> HistogramDataPoint:
    buckets = [sample for sample in samples if sample.name.endswith("_bucket")]
    (total,) = (sample.value for sample in samples if sample.name.endswith("_sum"))
    cumulated = [0, *(int(bucket.value) for bucket in buckets)]
    return HistogramDataPoint(
        attributes=_attributes(labels),
        start_time_unix_nano=span[0],
        time_unix_nano=span[1],
        count=cumulated[-1],
        sum=total,
        bucket_counts=[upper - lower for lower, upper in pairwise(cumulated)],
        explicit_bounds=[float(bucket.labels["le"]) for bucket in buckets[:-1]],  # the last is infinity
        exemplars=[_exemplar(bucket) for bucket in buckets if bucket.exemplar],
    )


def _exemplar(bucket: Sample) -> Exemplar:
    labels, value, moment = bucket.exemplar  # type: ignore[misc] # those without one were left out
    return Exemplar(
        filtered_attributes=_attributes((name, label) for name, label in labels.items() if name not in _IDS),
        time_unix_nano=int(float(moment or 0) * NANOSECONDS),
        as_double=value,
        trace_id=bytes.fromhex(labels.get("trace_id", "")),
        span_id=bytes.fromhex(labels.get("span_id", "")),
    )


def _attributes(labels: Iterable[tuple[str, str]]) -> list[KeyValue]:
    return [attribute(name, value) for name, value in labels]


_KINDS: Mapping[str, Callable[[Family, _Span], Metric]] = {"counter": _counter, "histogram": _histogram}
"""How a family is made, by Prometheus' type; whatever else there is, is a gauge."""
