"""Windows of answers against a bundle's first ones."""

from collections.abc import Callable
from math import log
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.monitoring.conftest import Replica

from bedside.monitoring.drift import population_stability_index
from bedside.types import Finding, Quantity

COUNTS = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 1000), min_size=1)


def answers(replica: Replica, normal: int, pneumonia: int) -> None:
    """Have a server answer so often; its clock goes on beyond the window."""
    model = replica.metrics.for_model("cxr", "1")
    for name, count in (("normal", normal), ("pneumonia", pneumonia)):
        for _ in range(count):
            model.answered([Finding((name, 0.9))])
    replica.watch.look()
    replica.now += 11
    replica.watch.look()


@given(COUNTS, COUNTS)
def test_the_index_is_a_distance(now: dict[str, int], then: dict[str, int]) -> None:
    """Never negative, the same both ways, nothing between equals."""
    index = population_stability_index(now, then)
    assert index >= 0
    assert index == pytest.approx(population_stability_index(then, now))
    assert population_stability_index(now, now) == 0


def test_the_index_is_that_of_the_literature() -> None:
    """Shares 0.9 and 0.1 against 0.5 each: the sum of (p - q) ln(p / q); the prior is gone with many answers."""
    many = 10_000_000
    found = population_stability_index({"a": 9 * many, "b": many}, {"a": 5 * many, "b": 5 * many})
    assert found == pytest.approx(0.4 * log(0.9 / 0.5) - 0.4 * log(0.1 / 0.5), abs=1e-6)


def test_the_first_answers_are_what_later_ones_are_compared_with(replicas: Callable[..., Replica], told: Any) -> None:
    """The score is in the metrics and in the event of each class; before there is a reference there is none."""
    replica = replicas()
    answers(replica, 90, 10)
    assert [event["inference"].get("drift") for event in told("predictions_summarised")] == [None, None, None]
    answers(replica, 88, 12)
    assert replica.value("bedside_prediction_drift", model="cxr", version="1", kind="class", name="all") < 0.02
    answers(replica, 50, 50)
    assert replica.value("bedside_prediction_drift", model="cxr", version="1", kind="class", name="all") > 0.7
    last = {event["inference"]["prediction"]["name"]: event["inference"] for event in told("predictions_summarised")}
    assert last["pneumonia"]["prediction"] == {"kind": "class", "name": "pneumonia", "count": 50, "mean": 0.9}
    assert last["pneumonia"]["drift"]["score"] > 0.7
    assert last["all"]["prediction"] == {"kind": "confidence", "name": "all", "count": 100, "mean": 0.9}


def test_of_few_answers_nothing_is_told(replicas: Callable[..., Replica], told: Any) -> None:
    """A sum of few would be about somebody; they wait for more, however long that takes."""
    replica = replicas()
    answers(replica, 60, 0)
    answers(replica, 30, 0)
    assert told("predictions_summarised") == []
    answers(replica, 10, 0)
    assert [event["inference"]["prediction"]["count"] for event in told("predictions_summarised")] == [100, 100]


def test_a_window_is_so_long_at_least(replicas: Callable[..., Replica], told: Any) -> None:
    """Many answers at once are one window, not many."""
    replica = replicas()
    model = replica.metrics.for_model("cxr", "1")
    for _ in range(500):
        model.answered([Finding(("normal", 0.9))])
    replica.watch.look()
    replica.now += 9
    replica.watch.look()
    assert told("predictions_summarised") == []


def test_another_replica_and_a_restart_have_the_same_reference(replicas: Callable[..., Replica]) -> None:
    """It is in the database."""
    answers(replicas(), 90, 10)
    other = replicas()
    answers(other, 10, 90)
    assert other.value("bedside_prediction_drift", model="cxr", version="1", kind="class", name="all") > 1


def test_volumes_and_values_drift_apart_from_classes(replicas: Callable[..., Replica], told: Any) -> None:
    """Each label has a score of its own; the mean is in millilitres."""
    replica = replicas()
    model = replica.metrics.for_model("mr", "1")
    for head, body in ((1.0, 3.0), (1.0, 9.0)):
        for _ in range(100):
            model.answered([Finding(None, (Quantity("volume", "head", head), Quantity("volume", "body", body)))])
        replica.watch.look()
        replica.now += 11
        replica.watch.look()
    scores = {
        name: replica.value("bedside_prediction_drift", model="mr", version="1", kind="volume", name=name)
        for name in ("head", "body")
    }
    assert scores["head"] == 0
    assert scores["body"] > 1
    means = [event["inference"]["prediction"]["mean"] for event in told("predictions_summarised")]
    assert means == [1.0, 3.0, 1.0, 9.0]


def test_of_a_version_that_is_served_no_more_nothing_is_shown(replicas: Callable[..., Replica]) -> None:
    """Its alert would never end; served again, it has a score with its next window."""
    replica = replicas()
    answers(replica, 90, 10)
    answers(replica, 10, 90)
    of = {"model": "cxr", "version": "1", "kind": "class", "name": "all"}
    assert replica.value("bedside_prediction_drift", **of) > 1
    served = replica.served.copy()
    replica.served.clear()
    replica.watch.look()
    assert "bedside_prediction_drift{" not in replica.metrics.expose("")[0].decode()
    replica.served += served
    answers(replica, 10, 90)
    assert replica.value("bedside_prediction_drift", **of) > 1
