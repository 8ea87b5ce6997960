"""What drift is measured against: the bundle's own, or the first answers; and begun anew."""

from collections.abc import Callable
from math import isnan

import pytest
from tests.unit.monitoring.conftest import DIGEST, Replica
from tests.unit.monitoring.test_drift import answers

from bedside.bundle.reference import Counts
from bedside.errors import DriftReferenceNotFound

SHIPPED: Counts = {("class", "all"): {"normal": 50, "pneumonia": 50}}


def drift(replica: Replica) -> float:
    """Return the score of the classes, NaN where there is none."""
    return replica.value("bedside_prediction_drift", model="cxr", version="1", kind="class", name="all")


def test_a_reference_of_the_bundle_counts_from_the_first_window_on(replicas: Callable[..., Replica]) -> None:
    """A site whose first answers are odd already is told so; what the bundle does not tell of begins with them."""
    replica = replicas(shipped=SHIPPED)
    answers(replica, 95, 5)
    assert drift(replica) > 0.5
    answers(replica, 50, 50)
    assert drift(replica) < 0.01
    assert replica.references.read("cxr", None) == {
        "description": f"answers of cxr 1 ({DIGEST})",
        "counts": {
            "class": {"all": {"normal": 50, "pneumonia": 50}},
            "confidence": {"all": {"0.9": 100}},
        },
    }


@pytest.mark.parametrize("shipped", [{}, SHIPPED], ids=["first answers", "of the bundle"])
def test_renewed_it_is_the_next_answers(replicas: Callable[..., Replica], shipped: Counts) -> None:
    """Of all replicas; until there are enough there is no score, so that its alert ends."""
    replica, other = replicas(shipped=shipped), replicas(shipped=shipped)
    answers(replica, 50, 50)
    answers(replica, 95, 5)
    assert drift(replica) > 0.5
    assert other.references.renew("cxr", None) == {"model": "cxr", "version": "1", "digest": DIGEST, "answers": 100}
    with pytest.raises(DriftReferenceNotFound):
        replica.references.read("cxr", None)
    answers(replica, 95, 5)
    assert isnan(drift(replica))
    answers(other, 95, 5)
    assert drift(other) < 0.01
    assert replica.references.read("cxr", None)["counts"]["class"] == {"all": {"normal": 95, "pneumonia": 5}}


def test_renewed_before_the_first_answers_the_bundles_own_counts_no_more(replicas: Callable[..., Replica]) -> None:
    """The administrator's word is not lost."""
    replica = replicas(shipped=SHIPPED)
    replica.references.renew("cxr", "1")
    answers(replica, 95, 5)
    assert isnan(drift(replica))
