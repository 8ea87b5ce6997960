"""A model that is less right than it was is told from chance, against what was declared or first measured."""

from collections.abc import Callable
from math import isnan
from typing import Any

import pytest
from tests.unit.monitoring.conftest import DIGEST, Replica

from bedside.monitoring.decline import Served, shares
from bedside.monitoring.intervals import wilson
from bedside.types import Quantity

ME = "me"
SICK, WELL = ("pneumonia", "pneumonia"), ("normal", "normal")
MISSED = ("normal", "pneumonia")
"""What was answered, and what was so."""


def tell(replica: Replica, *cases: tuple[str, str]) -> None:
    """Tell truths one after the other, and look."""
    for said, so in cases:
        replica.now += 1
        request_id = f"{int(replica.now):032x}"
        replica.keep(request_id, said, owner=ME)
        replica.desk.tell("cxr", {"request_id": request_id, "truth": so}, ME)
    replica.decline.look()


def shortfall(replica: Replica, measure: str = "accuracy", name: str = "all") -> float:
    """Return how far a measure has fallen, NaN where nothing is shown."""
    return replica.value("bedside_truth_shortfall_ratio", model="cxr", version="1", measure=measure, name=name)


def test_accuracy_and_sensitivities_are_of_the_true_classes() -> None:
    """A class that was only ever answered has none."""
    counted = {("sick", "sick"): 3, ("sick", "well"): 1, ("well", "well"): 5, ("well", "other"): 1}
    assert shares(counted) == {
        ("accuracy", "all"): (8, 10),
        ("sensitivity", "sick"): (3, 4),
        ("sensitivity", "well"): (5, 6),
    }


def test_of_few_truths_nothing_is_said(replicas: Callable[..., Replica], told: Any) -> None:
    """Not even where all of them are wrong."""
    replica = replicas()
    tell(replica, *[MISSED] * 49)
    assert isnan(shortfall(replica))
    assert told("truths_summarised") == []


def test_less_than_is_declared_is_told_beyond_chance(replicas: Callable[..., Replica], told: Any) -> None:
    """45 of 50 may be chance where 0.95 is declared, 35 are none; the event says all that a person needs."""
    replica = replicas(served=[Served("cxr", "1", DIGEST, {"accuracy": 0.95})])
    tell(replica, *[WELL] * 45, *[MISSED] * 5)
    assert shortfall(replica) == 0
    tell(replica, *[MISSED] * 10)
    assert shortfall(replica) == pytest.approx(0.95 - wilson(35, 50, +1))
    last = [event["inference"]["truth"] for event in told("truths_summarised")]
    accuracy = next(truth for truth in reversed(last) if truth["measure"] == "accuracy")
    assert (accuracy["name"], accuracy["count"], accuracy["share"], accuracy["expected"]) == ("all", 50, 0.7, 0.95)
    assert accuracy["shortfall"] == round(shortfall(replica), 4)


def test_a_declared_sensitivity_is_of_its_class(replicas: Callable[..., Replica]) -> None:
    """Accuracy hides what is missed of the few who are sick."""
    replica = replicas(served=[Served("cxr", "1", DIGEST, {"accuracy": 0.85, "sensitivity.pneumonia": 0.9})])
    tell(replica, *[WELL] * 42, *[MISSED] * 7, SICK)
    assert shortfall(replica) == 0
    assert shortfall(replica, "sensitivity", "pneumonia") > 0.2


def test_where_nothing_is_declared_the_first_truths_are_what_is_expected(replicas: Callable[..., Replica]) -> None:
    """They are kept: of another replica, and after the answers themselves have been forgotten."""
    replica = replicas()
    tell(replica, *[WELL] * 25, *[SICK] * 25)
    assert shortfall(replica) == 0
    replica.store.purge(replica.now, 10)
    other = replicas(now=replica.now)
    tell(other, *[WELL] * 25, *[MISSED] * 25)
    assert shortfall(other) > 0.15
    assert shortfall(other, "sensitivity", "pneumonia") > 0.5
    assert shortfall(other, "sensitivity", "normal") == 0


def test_nothing_new_is_told_once(replicas: Callable[..., Replica], told: Any) -> None:
    """The log has a line for each measure when truths have come; the metric stays."""
    replica = replicas()
    tell(replica, *[WELL] * 50)
    for _ in range(3):
        replica.decline.look()
    assert len(told("truths_summarised")) == 2
    assert shortfall(replica) == 0


def test_of_a_version_that_is_served_no_more_nothing_is_shown(replicas: Callable[..., Replica]) -> None:
    """Its alert would never end."""
    replica = replicas(served=[Served("cxr", "1", DIGEST, {"accuracy": 0.95})])
    tell(replica, *[MISSED] * 50)
    assert shortfall(replica) > 0.5
    replica.served.clear()
    replica.decline.look()
    assert isnan(shortfall(replica))


def test_the_thread_looks_every_so_often(replicas: Callable[..., Replica]) -> None:
    """With the rest of its work."""
    replica = replicas(served=[Served("cxr", "1", DIGEST, {"accuracy": 0.95})])
    tell(replica, *[MISSED] * 49)
    replica.keep("f" * 32, "normal", owner=ME)
    replica.desk.tell("cxr", {"request_id": "f" * 32, "truth": "pneumonia"}, ME)
    replica.now += 1000
    replica.monitor.work()
    assert shortfall(replica) > 0.5


def tell_volumes(replica: Replica, *errors: float, of: str = "spleen") -> None:
    """Tell truths of volumes that were so far from what was answered, and look."""
    for error in errors:
        replica.now += 1
        request_id = f"{int(replica.now):032x}"
        replica.keep(request_id, "", owner=ME, quantities=(Quantity("volume", of, 100.0 + error),))
        replica.desk.tell("cxr", {"request_id": request_id, "truth": {of: 100.0}}, ME)
    replica.decline.look()


def excess(replica: Replica, name: str = "spleen") -> float:
    """Return which part of a volume's error is more than it was to be, NaN where nothing is shown."""
    return replica.value("bedside_truth_excess_ratio", model="cxr", version="1", kind="volume", name=name)


def test_errors_of_volumes_are_held_against_the_first_ones(replicas: Callable[..., Replica], told: Any) -> None:
    """They are kept, also after the answers have been forgotten; twice the error is told, a little more is chance."""
    replica = replicas()
    tell_volumes(replica, *[-1.0, 3.0] * 25)
    assert excess(replica) == 0
    replica.store.purge(replica.now, 10)
    other = replicas(now=replica.now)
    tell_volumes(other, *[-1.2, 3.2] * 25)
    assert excess(other) == 0
    tell_volumes(other, *[-5.0, 7.0] * 25)
    assert 0.4 < excess(other) < 0.7
    last = told("truth_errors_summarised")[-1]["inference"]
    assert last["prediction"] == {"kind": "volume", "name": "spleen"}
    assert last["truth"] == {
        "count": 50,
        "absolute_error": 6.0,
        "expected_error": pytest.approx(2.37, abs=0.005),
        "excess": round(excess(other), 4),
    }


@pytest.mark.parametrize("declared", ["mean_absolute_error", "mean_absolute_error.spleen"])
def test_a_declared_error_is_what_is_expected(replicas: Callable[..., Replica], declared: str) -> None:
    """From the first window on; alone it is that of the only volume."""
    replica = replicas(served=[Served("cxr", "1", DIGEST, {declared: 1.0})])
    tell_volumes(replica, *[-1.0, 3.0] * 25)
    assert 0.3 < excess(replica) < 0.5


def test_of_few_errors_nothing_is_said(replicas: Callable[..., Replica]) -> None:
    """Neither of too few answers, nor of a label whose truth came for few of them."""
    replica = replicas(served=[Served("cxr", "1", DIGEST, {"mean_absolute_error": 0.0})])
    tell_volumes(replica, *[5.0] * 49)
    assert isnan(excess(replica))
    tell_volumes(replica, 5.0, of="liver")
    assert isnan(excess(replica))
    assert isnan(excess(replica, "liver"))


def test_errors_of_what_is_served_no_more_are_not_shown(replicas: Callable[..., Replica], told: Any) -> None:
    """Nor is anything told twice that is not new."""
    replica = replicas(served=[Served("cxr", "1", DIGEST, {"mean_absolute_error": 1.0})])
    tell_volumes(replica, *[5.0, 6.0] * 25)
    replica.decline.look()
    assert len(told("truth_errors_summarised")) == 1
    assert excess(replica) > 0
    replica.served.clear()
    replica.decline.look()
    assert isnan(excess(replica))
