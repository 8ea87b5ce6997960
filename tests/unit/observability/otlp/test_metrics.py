"""The registry as OTLP: the same numbers under the same names."""

from collections.abc import Iterator
from pathlib import Path

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric
from prometheus_client import CollectorRegistry, Summary
from prometheus_client.parser import text_string_to_metric_families
from tests.otlp import Answer, by_name, collector, read
from tests.unit.observability.test_accounting import Build

from bedside.observability.metrics import Metrics
from bedside.observability.otlp.collector import Collector as Way
from bedside.observability.otlp.meter import Meter
from bedside.observability.otlp.metrics import encode
from bedside.otlp_settings import MetricsSettings
from bedside.types import Finding

ABOUT = {"service.name": "test", "service.instance.id": "1"}
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
IDS = {"request_id": "abc", "trace_id": TRACE, "span_id": SPAN}
START = 1_700_000_000_000_000_000
PROCESS = "process_"  # numbers of this process change while they are looked at


def some_metrics() -> Metrics:
    """Return metrics of a few calls."""
    metrics = Metrics()
    ct = metrics.for_model("ct", "1")
    ct.finished("rest", "success", 0.25, {"run": 0.2}, IDS)
    ct.answered([Finding(("pneumonia", 0.93))])
    ct.finished("grpc", "failure", 1000.0, {"run": 0.02, "decode": 0.3}, {"request_id": "def"})
    metrics.for_model("xray", "2").finished("rest", "success", 0.25, {})
    metrics.refusal("queue_full").inc()
    metrics.show_memory(lambda: 1024.0, lambda: 512.5)
    metrics.count_lost_lines(lambda: 7)
    return metrics


def sent(registry: CollectorRegistry) -> dict[str, Metric]:
    """Return the registry as a collector reads it."""
    return by_name(ExportMetricsServiceRequest.FromString(encode(registry, ABOUT, START)))


def samples(metric: Metric) -> Iterator[tuple[str, frozenset[tuple[str, object]], float]]:
    """Yield what Prometheus would make of a metric: name, labels, value."""
    for point in (*metric.gauge.data_points, *metric.sum.data_points):
        yield metric.name, frozenset(read(point.attributes).items()), point.as_double
    for histogram in metric.histogram.data_points:
        labels = frozenset(read(histogram.attributes).items())
        yield f"{metric.name}_count", labels, histogram.count
        yield f"{metric.name}_sum", labels, histogram.sum
        cumulated = 0
        for bound, count in zip((*histogram.explicit_bounds, float("inf")), histogram.bucket_counts, strict=True):
            cumulated += count
            yield f"{metric.name}_bucket", labels | {("le", bound)}, cumulated


def test_every_number_of_the_exposition_is_sent() -> None:
    """Name by name, label by label; nothing more."""
    metrics = some_metrics()
    exposed = {
        (sample.name, frozenset((k, float(v) if k == "le" else v) for k, v in sample.labels.items()), sample.value)
        for family in text_string_to_metric_families(metrics.expose("")[0].decode())
        for sample in family.samples
        if not family.name.startswith(PROCESS)
    }
    found = sent(metrics.registry)
    told = {sample for metric in found.values() for sample in samples(metric) if not metric.name.startswith(PROCESS)}
    assert told == exposed
    assert {"process_cpu_seconds_total", "process_resident_memory_bytes"} <= found.keys()


def test_sums_are_cumulative_since_the_start() -> None:
    """So that what a collector misses is in the next request."""
    found = sent(some_metrics().registry)
    requests, seconds = found["bedside_requests_total"], found["bedside_request_seconds"]
    assert requests.sum.is_monotonic
    assert {requests.sum.aggregation_temporality, seconds.histogram.aggregation_temporality} == {
        AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
    }
    times = [(point.start_time_unix_nano, point.time_unix_nano) for point in requests.sum.data_points]
    times += [(point.start_time_unix_nano, point.time_unix_nano) for point in seconds.histogram.data_points]
    assert all(START == begin < end for begin, end in times)


def test_metrics_have_units_and_say_what_they_are() -> None:
    """UCUM's names."""
    found = sent(some_metrics().registry)
    units = {
        "bedside_request_seconds": "s",
        "bedside_memory_reserved_bytes": "By",
        "bedside_prediction_probability": "1",
        "bedside_requests_total": "",
        "process_cpu_seconds_total": "s",
    }
    assert {name: found[name].unit for name in units} == units
    assert all(metric.description for metric in found.values())


def test_exemplars_lead_to_the_trace_and_to_the_line() -> None:
    """With the value and when it was seen; of a call that is not traced, to its line alone."""
    points = sent(some_metrics().registry)["bedside_request_seconds"].histogram.data_points
    (point,) = (point for point in points if read(point.attributes)["model"] == "ct")
    traced, other = point.exemplars
    assert (traced.trace_id.hex(), traced.span_id.hex(), traced.as_double) == (TRACE, SPAN, 0.25)
    assert read(traced.filtered_attributes) == {"request_id": "abc"}
    assert START < traced.time_unix_nano <= point.time_unix_nano
    assert (other.trace_id, read(other.filtered_attributes)) == (b"", {"request_id": "def"})


def test_of_other_kinds_each_number_is_a_gauge() -> None:
    """There is none of ours; a library's is not to be lost."""
    registry = CollectorRegistry()
    Summary("waiting", "Waiting.", registry=registry).observe(2.0)
    assert {point.as_double for point in sent(registry)["waiting"].gauge.data_points} >= {1.0, 2.0}


def test_they_are_sent_every_so_often_and_at_the_end(tmp_path: Path) -> None:
    """Whole each time: a request that was lost costs its moment, and no count."""
    metrics = some_metrics()
    with collector(tmp_path) as receiver:
        receiver.answers.append(Answer(400))
        settings = MetricsSettings(endpoint=f"{receiver.url}/v1/metrics")
        meter = Meter(Way(settings, "metrics"), settings, metrics, ABOUT)
        meter._export()
        metrics.refusal("queue_full").inc()
        meter.close()
    lost, kept = (by_name(request)["bedside_refused_total"].sum.data_points[0] for request in receiver.metrics)
    assert (lost.as_double, kept.as_double) == (1, 2)
    assert lost.start_time_unix_nano == kept.start_time_unix_nano


def test_a_number_that_cannot_be_had_is_told_and_ends_nothing(tmp_path: Path, capture: Build) -> None:
    """Its text may hold anything."""
    captured = capture()
    metrics = Metrics()

    def fail() -> float:
        raise ValueError("DOE^JOHN")

    metrics.show_memory(fail, fail)
    with collector(tmp_path) as receiver:
        settings = MetricsSettings(endpoint=f"{receiver.url}/v1/metrics")
        Meter(Way(settings, "metrics"), settings, metrics, ABOUT).close()
    assert captured.record["message"] == "telemetry_failed"
    assert "DOE" not in captured.text
