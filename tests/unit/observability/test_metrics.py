"""Metrics as Prometheus reads them."""

import threading
import time

import pytest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from bedside.observability.metrics import Metrics
from bedside.types import Finding, Quantity


def samples(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Return every sample by name and labels, as a scraper parses them."""
    families = text_string_to_metric_families(metrics.expose("")[0].decode())
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """Return one sample."""
    return samples(metrics).get((name, frozenset(labels.items())))


def test_finished_request_is_counted_and_timed() -> None:
    """By model, version, transport and outcome; stages by model and stage."""
    metrics = Metrics()
    for _ in range(2):
        metrics.for_model("spleen_ct", "1").finished("rest", "success", 0.3, {"decode": 0.002, "patient": 1.0})
    request = {"model": "spleen_ct", "version": "1"}
    stage = {"model": "spleen_ct", "stage": "decode"}
    assert value(metrics, "bedside_requests_total", **request, transport="rest", outcome="success") == 2
    assert value(metrics, "bedside_request_seconds_count", **request) == 2
    assert value(metrics, "bedside_request_seconds_sum", **request) == pytest.approx(0.6)
    assert value(metrics, "bedside_stage_seconds_bucket", **stage, le="0.001") == 0
    assert value(metrics, "bedside_stage_seconds_bucket", **stage, le="0.01") == 2
    assert value(metrics, "bedside_stage_seconds_bucket", **stage, le="+Inf") == 2
    assert "patient" not in metrics.expose("")[0].decode()


@pytest.mark.parametrize(("seconds", "le", "count"), [(0.5, "0.5", 1), (0.5001, "0.5", 0), (1e9, "+Inf", 1)])
def test_buckets_hold_their_upper_bound(seconds: float, le: str, count: int) -> None:
    """``le`` is less than or equal; what is beyond all bounds is in +Inf."""
    metrics = Metrics()
    metrics.for_model("m", "1").finished("rest", "success", seconds, {})
    assert value(metrics, "bedside_request_seconds_bucket", model="m", version="1", le=le) == count


def test_runs_are_counted_by_how_many_requests_share_them() -> None:
    """The sum is the requests, the count the runs: their quotient is the mean size."""
    metrics = Metrics()
    for size in (1, 3, 8):
        metrics.count_run("chest", "2", size)
    model = {"model": "chest", "version": "2"}
    assert value(metrics, "bedside_batch_size_count", **model) == 3
    assert value(metrics, "bedside_batch_size_sum", **model) == 12
    buckets = {le: value(metrics, "bedside_batch_size_bucket", **model, le=le) for le in ("1.0", "2.0", "4.0", "8.0")}
    assert buckets == {"1.0": 1, "2.0": 1, "4.0": 2, "8.0": 3}


def test_request_without_a_model_has_a_fixed_label() -> None:
    """Made-up names do not become labels."""
    metrics = Metrics()
    metrics.for_model("", "").finished("rest", "failure", 0.1, {})
    labels = {"model": "unknown", "version": "unknown", "transport": "rest", "outcome": "failure"}
    assert value(metrics, "bedside_requests_total", **labels) == 1


def test_children_are_made_once() -> None:
    """Looking labels up is what costs."""
    metrics = Metrics()
    assert metrics.for_model("m", "1") is metrics.for_model("m", "1")
    assert metrics.refusal("queue_full") is metrics.refusal("queue_full")


def test_gauges_of_a_model_can_be_set_and_asked() -> None:
    """Queue and requests in flight by function, readiness and load time by value."""
    metrics = Metrics()
    model = metrics.for_model("m", "1")
    model.queue_length.set_function(lambda: 3)
    model.in_flight.set_function(lambda: 2)
    model.ready.set(1)
    model.load_seconds.set(4.5)
    metrics.count_lost_lines(lambda: 7)
    assert value(metrics, "bedside_queue_length", model="m") == 3
    assert value(metrics, "bedside_in_flight", model="m") == 2
    assert value(metrics, "bedside_model_ready", model="m", version="1") == 1
    assert value(metrics, "bedside_model_load_seconds", model="m", version="1") == 4.5
    assert value(metrics, "bedside_lost_log_lines_total") == 7


def test_names_are_ours_or_the_process_collectors() -> None:
    """Conventional: prefix, base unit, ``_total`` for counters, no ``_created``."""
    metrics = Metrics()
    metrics.refusal("queue_full").inc()
    metrics.for_model("m", "1").finished("rest", "success", 1.0, {"run": 1.0})
    names = {name for name, _ in samples(metrics)}
    assert {name.split("_")[0] for name in names} == {"bedside", "process"}
    assert not [name for name in names if name.endswith("_created")]


def test_two_servers_do_not_mix() -> None:
    """Each has a registry of its own, and a name can be taken once in each."""
    first, second = Metrics(), Metrics()
    first.refusal("x").inc()
    assert value(second, "bedside_refused_total", reason="x") is None
    with pytest.raises(ValueError, match="Duplicated"):
        first.registry.register(first.request_seconds)


def test_scraper_that_speaks_openmetrics_gets_it() -> None:
    """Else the text format."""
    metrics = Metrics()
    body, media_type = metrics.expose("application/openmetrics-text; version=1.0.0")
    assert media_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")
    body, media_type = metrics.expose("")
    assert media_type.startswith("text/plain")
    assert b"bedside_build_info" in body


def test_a_bucket_names_its_last_request() -> None:
    """As an exemplar, in the format that has them; never one whose id is not known."""
    metrics = Metrics()
    for seconds, ids in ((0.3, {"request_id": "a" * 32}), (0.4, {"request_id": "b" * 32}), (20.0, None)):
        metrics.for_model("m", "1").finished("rest", "success", seconds, {}, ids)
    body, _ = metrics.expose("application/openmetrics-text; version=1.0.0")
    families = openmetrics.text_string_to_metric_families(body.decode())  # type: ignore[no-untyped-call]
    seen = {s.labels["le"]: s.exemplar for family in families for s in family.samples if s.exemplar}
    assert {le: (exemplar.labels, exemplar.value) for le, exemplar in seen.items()} == {
        "0.5": ({"request_id": "b" * 32}, 0.4)
    }
    assert abs(float(seen["0.5"].timestamp) - time.time()) < 3600
    assert "request_id" not in metrics.expose("")[0].decode()


def test_answers_are_counted_by_class() -> None:
    """With the probability of the class that each names."""
    metrics = Metrics()
    for name, probability in (("pneumonia", 0.97), ("pneumonia", 0.55), ("normal", 0.8)):
        metrics.for_model("cxr", "1").answered([Finding((name, probability))])
    labels = {"model": "cxr", "version": "1", "prediction": "pneumonia"}
    assert value(metrics, "bedside_prediction_probability_count", **labels) == 2
    assert value(metrics, "bedside_prediction_probability_bucket", **labels, le="0.6") == 1
    assert value(metrics, "bedside_prediction_probability_count", **(labels | {"prediction": "normal"})) == 1


def test_a_model_of_very_many_classes_fills_no_memory() -> None:
    """The first hundred are told apart."""
    metrics = Metrics()
    for number in range(150):
        metrics.for_model("m", "1").answered([Finding((f"class {number}", 0.9))])
    names = {labels for name, labels in samples(metrics) if name == "bedside_prediction_probability_count"}
    assert len(names) == 101
    other = {"model": "m", "version": "1", "prediction": "other"}
    assert value(metrics, "bedside_prediction_probability_count", **other) == 50


def test_volumes_and_values_are_counted_by_name() -> None:
    """A label that is not there falls into the bucket of nothing; values may be negative."""
    metrics = Metrics()
    model = metrics.for_model("mr", "1")
    for head, age in ((0.0, -3.0), (1.5, 63.0)):
        model.answered([Finding(None, (Quantity("volume", "head", head), Quantity("value", "age", age)))])
    labels = {"model": "mr", "version": "1"}
    volume = {**labels, "label": "head"}
    assert value(metrics, "bedside_prediction_volume_ml_bucket", **volume, le="0.0") == 1
    assert value(metrics, "bedside_prediction_volume_ml_sum", **volume) == 1.5
    assert value(metrics, "bedside_prediction_value_bucket", **labels, output="age", le="0.0") == 1


def test_a_segmentation_of_very_many_labels_fills_no_memory() -> None:
    """The first hundred are told apart."""
    metrics = Metrics()
    labels = tuple(Quantity("volume", f"label {number}", 1.0) for number in range(150))
    metrics.for_model("m", "1").answered([Finding(None, labels)])
    other = {"model": "m", "version": "1", "label": "other"}
    assert value(metrics, "bedside_prediction_volume_ml_count", **other) == 50


def test_both_formats_parse_and_agree() -> None:
    """Prometheus' own parsers read them: counters end in ``_total``, and each family has help."""
    metrics = Metrics()
    metrics.count_lost_lines(lambda: 7)
    metrics.refusal("queue_full").inc()
    metrics.for_model("m", "1").finished("rest", "success", 1.0, {"run": 1.0})
    plain = list(text_string_to_metric_families(metrics.expose("")[0].decode()))
    body, _ = metrics.expose("application/openmetrics-text; version=1.0.0")
    strict = list(openmetrics.text_string_to_metric_families(body.decode()))  # type: ignore[no-untyped-call]
    assert all(family.documentation for family in plain)
    assert {(family.name, family.type) for family in plain} == {(family.name, family.type) for family in strict}
    counters = [sample.name for family in plain if family.type == "counter" for sample in family.samples]
    assert "bedside_lost_log_lines_total" in counters
    assert all(name.endswith("_total") for name in counters)


def test_observations_of_many_threads_are_all_there() -> None:
    """Transports may account from threads of their own, while a scraper reads."""
    metrics = Metrics()
    model = metrics.for_model("m", "1")

    def observe() -> None:
        for _ in range(500):
            model.finished("rest", "success", 0.01, {"run": 0.01})
            metrics.expose("")[0] if _ % 250 == 0 else None

    threads = [threading.Thread(target=observe) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert value(metrics, "bedside_request_seconds_count", model="m", version="1") == 2000
    assert value(metrics, "bedside_stage_seconds_count", model="m", stage="run") == 2000
