"""What may be told as the truth; whatever else comes is refused and not repeated."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.monitoring.conftest import CLASSES, DIGEST

from bedside.errors import BadParameter, MalformedPayload, RequestError
from bedside.monitoring.records import Predicted, Truth
from bedside.monitoring.truth import read_truth, require_possible
from bedside.types import Quantity

ID = "0" * 32
NAMED = Predicted(ID, "cxr", "1", DIGEST, 0.0, "normal", 0.9)
SAID = (Quantity("volume", "head", 1.5), Quantity("value", "age", 63.0))
NUMBERS = Predicted(ID, "mr", "1", DIGEST, 0.0, "", None, SAID)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["request_id", "truth", "row", "patient"]) | st.text(), JSON | st.just(ID)))
def test_whatever_comes_is_taken_or_refused_by_name(document: dict[str, Any]) -> None:
    """Never another exception; what passes holds a class of the contract, or numbers by the names of the answer."""
    for predicted in (NAMED, NUMBERS):
        try:
            _, truth = read_truth(document)
            require_possible(truth, predicted, CLASSES)
        except RequestError as refused:
            assert refused.field  # noqa: PT017 - or nothing is raised
            continue
        assert truth.label in {"normal", "pneumonia", "not sure"} or set(truth.numbers or {}) <= {"head", "age"}


@pytest.mark.parametrize(
    ("document", "error", "field"),
    [
        ({}, MalformedPayload, "request_id"),
        ({"request_id": ID}, MalformedPayload, "truth"),
        ({"request_id": ID, "truth": "normal", "name": "DOE^JOHN"}, MalformedPayload, "body"),
        ({"request_id": "MRN-47110001", "truth": "normal"}, BadParameter, "request_id"),
        ({"request_id": 47110001, "truth": "normal"}, BadParameter, "request_id"),
        ({"request_id": ID, "row": "DOE^JOHN", "truth": "normal"}, BadParameter, "row"),
        ({"request_id": ID, "row": True, "truth": "normal"}, BadParameter, "row"),
        ({"request_id": ID, "row": -1, "truth": "normal"}, BadParameter, "row"),
        ({"request_id": ID, "row": 2**31, "truth": "normal"}, BadParameter, "row"),
        ({"request_id": ID, "truth": 63}, MalformedPayload, "truth"),
        ({"request_id": ID, "truth": {}}, MalformedPayload, "truth"),
        ({"request_id": ID, "truth": {"head": True}}, MalformedPayload, "truth"),
        ({"request_id": ID, "truth": {"head": 10**400}}, MalformedPayload, "truth"),
        ({"request_id": ID, "truth": {"head": "DOE^JOHN"}}, MalformedPayload, "truth"),
    ],
    ids=str,
)
def test_what_is_no_truth_names_its_member(document: Any, error: type[RequestError], field: str) -> None:
    """And repeats nothing of it."""
    with pytest.raises(error) as caught:
        read_truth(document)
    assert caught.value.field == field
    assert "DOE" not in caught.value.detail
    assert "4711" not in caught.value.detail


@pytest.mark.parametrize(
    ("truth", "predicted", "field"),
    [
        (Truth("DOE^JOHN"), NAMED, "truth"),
        (Truth("normal"), NUMBERS, "truth"),
        (Truth(numbers={"head": 1.0}), NAMED, "truth"),
        (Truth(numbers={"DOE^JOHN": 1.0}), NUMBERS, "truth"),
        (Truth(numbers={"head": -1.0}), NUMBERS, "truth.head"),
        (Truth(numbers={"head": 19310301.0}), NUMBERS, "truth.head"),
        (Truth(numbers={"age": 47110001.0}), NUMBERS, "truth.age"),
    ],
    ids=str,
)
def test_what_cannot_be_so_is_refused(truth: Truth, predicted: Predicted, field: str) -> None:
    """A class that the model lacks, a name that the answer lacks, a date of birth as a volume."""
    with pytest.raises(BadParameter) as caught:
        require_possible(truth, predicted, CLASSES)
    assert caught.value.field == field
    assert "DOE" not in caught.value.detail


def test_a_value_may_be_as_large_as_what_is_answered() -> None:
    """A model that counts cells answers millions."""
    many = Predicted(ID, "mr", "1", DIGEST, 0.0, "", None, (Quantity("value", "cells", 4e6),))
    require_possible(Truth(numbers={"cells": 3e7}), many, CLASSES)
