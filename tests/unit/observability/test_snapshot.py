"""Metrics of another server, read back: rates, quantiles, and what a restart in between must not do."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedside.observability.metrics import Metrics
from bedside.observability.snapshot import NOTHING, Activity, Snapshot, Unreadable, read


def counted(calls: dict[float, int], *, failures: int = 0, at: float = 0.0) -> Snapshot:
    """Return a reading of a server that has served so many calls of so many seconds."""
    metrics = Metrics()
    model = metrics.for_model("ct", "1")
    model.ready.set(1)
    for seconds, count in calls.items():
        for _ in range(count):
            model.finished("rest", "success", seconds, {})
    for _ in range(failures):
        model.finished("grpc", "failure", 0.001, {})
        metrics.refusal("run_failed").inc()
    return read(metrics.expose("")[0].decode(), at)


def test_what_happened_between_two_readings() -> None:
    """Rates are per second, of successes and failures together; refusals are counted by reason."""
    activity = Activity(counted({0.2: 10}), counted({0.2: 30}, failures=5), 10.0)
    (model,) = activity.models()
    assert (model.name, model.version, model.ready) == ("ct", "1", True)
    assert model.calls_per_second == pytest.approx(2.5)
    assert model.failures_per_second == pytest.approx(0.5)
    assert activity.refusals() == {"run_failed": 5}


def test_quantiles_are_those_of_the_calls_in_between() -> None:
    """Old calls, however slow, are not in them; within a bucket a straight line is drawn."""
    before = counted({60.0: 100})
    after = counted({60.0: 100, 0.04: 50, 0.4: 50})
    (model,) = Activity(before, after, 1.0).models()
    assert model.p50 == pytest.approx(0.05)  # upper bound of the bucket that holds the first half
    assert model.p95 == pytest.approx(0.25 + 0.25 * 45 / 50)


def test_beyond_the_last_bound_its_value_is_told() -> None:
    """As histogram_quantile does: more is not known."""
    (model,) = Activity(NOTHING, counted({10_000.0: 3}), 1.0).models()
    assert model.p50 == 300.0


def test_without_calls_there_is_no_quantile() -> None:
    """Not a number, rather than none at all or zero."""
    (model,) = Activity(NOTHING, counted({}), 1.0).models()
    assert math.isnan(model.p50)
    assert model.calls_per_second == 0


def test_a_restart_counts_from_nothing() -> None:
    """Counters that are smaller than they were have begun anew, as Prometheus' increase() takes it."""
    activity = Activity(counted({0.2: 100}), counted({0.2: 4}), 2.0)
    (model,) = activity.models()
    assert model.calls_per_second == pytest.approx(2.0)
    assert model.p95 <= 0.25


def test_no_time_no_rate() -> None:
    """Two readings at one moment."""
    assert Activity(NOTHING, counted({0.2: 1}), 0.0).rate("bedside_requests_total") == 0


def test_gauges_are_as_they_are_now() -> None:
    """Waiting and running calls, crashes."""
    metrics = Metrics()
    metrics.for_model("ct", "1").ready.set(0)
    metrics.queue_length.labels("ct").set(3)
    metrics.in_flight.labels("ct").set(2)
    metrics.crashes.labels("ct").inc()
    (model,) = Activity(NOTHING, read(metrics.expose("")[0].decode(), 0.0), 1.0).models()
    assert (model.ready, model.queue, model.in_flight, model.crashes) == (False, 3, 2, 1)


SERIES = st.lists(st.integers(0, 1_000_000), min_size=2, max_size=6)


@given(SERIES, st.floats(0, 100))
def test_counters_that_reset_give_no_negative_rate(values: list[int], seconds: float) -> None:
    """Whatever the order of values: a server may be restarted any number of times."""
    of = {"model": "m", "version": "1", "outcome": "success"}
    readings = [Snapshot(0.0, {"bedside_requests_total": [(of, float(value))]}) for value in values]
    for before, after in pairwise(readings):
        activity = Activity(before, after, seconds)
        assert activity.rate("bedside_requests_total") >= 0
        assert all(model.calls_per_second >= 0 for model in activity.models())


@given(st.dictionaries(st.floats(1e-6, 1e6), st.integers(1, 20), min_size=1, max_size=8))
def test_quantiles_ascend_and_stay_within_the_bounds(calls: dict[float, int]) -> None:
    """The 95th percentile is not below the median, and none is beyond the last bound."""
    (model,) = Activity(NOTHING, counted(calls), 1.0).models()
    assert 0 <= model.p50 <= model.p95 <= 300


@pytest.mark.parametrize(
    "text",
    ['a{b="c} 1', "<html>", '{"not": "metrics"}', "a{b=c} 1", "a one", "# TYPE a", 'a{le="0.1"'],
    ids=str,
)
def test_what_are_no_metrics_is_refused(text: str) -> None:
    """With one error, of our own."""
    with pytest.raises(Unreadable):
        read(text, 0.0)


@given(st.text(max_size=200))
def test_no_text_breaks_the_reading(text: str) -> None:
    """An address may answer anything."""
    try:
        found = read(text, 0.0)
    except Unreadable:
        return
    Activity(NOTHING, found, 1.0).models()
