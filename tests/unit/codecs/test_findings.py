"""What an answer says: the same, whichever way it is answered."""

import math
from typing import Any

import numpy as np
import pytest
from tests.unit.codecs.answering import (
    AFFINE,
    ANSWERS,
    CLASSIFIER,
    LABELS,
    MASK,
    PLANE,
    SEGMENTER,
    VOLUME,
    contract,
    f32,
)

from bedside.bundle.contract import Contract, OutputSpec
from bedside.codecs.findings import counted
from bedside.codecs.labels import LabelCount
from bedside.types import Finding, OutputArray, Prediction, Quantity, ValidatedInputs

ONE = contract(OutputSpec("age", "tensor"))
NAMED = contract(OutputSpec("pred", "tensor", labels={0: "systole", 1: "diastole"}))
WORDS = contract(OutputSpec("length", "value"), OutputSpec("words", "value"))


def said(media_type: str, of: Contract, item: Any, *arrays: OutputArray, **values: Any) -> Finding:
    """Return what an answer says: what writing it told, or what is found where it is sent otherwise."""
    inputs, prediction = ValidatedInputs((item,)), Prediction(arrays, values=values)
    told = ANSWERS.encode(media_type, of, inputs, prediction).finding if media_type else None
    return told or ANSWERS.finding(of, inputs, prediction)


@pytest.mark.parametrize("volume", [None, math.nan, math.inf, 1e100])
def test_volumes_that_cannot_be_are_not_told(volume: float | None) -> None:
    """A caller's geometry may be anything; sums of volumes would keep it for ever."""
    assert list(counted([LabelCount(1, "spleen", 7, volume)])) == []


@pytest.mark.parametrize("media_type", ["application/json", "application/gzip", "multipart/mixed", ""])
def test_volumes_of_labels_are_told(media_type: str) -> None:
    """In millilitres, of every label but the background; also where the answer is a file, or a tensor."""
    answer = said(media_type, SEGMENTER, VOLUME, OutputArray("pred", MASK, AFFINE))
    assert [(found.kind, found.name) for found in answer.quantities] == [("volume", LABELS[1]), ("volume", LABELS[2])]
    assert [found.number for found in answer.quantities] == pytest.approx([0.024, 0.003])


def test_a_mask_without_geometry_has_no_volume() -> None:
    """A number of voxels is no volume."""
    flat = contract(OutputSpec("pred", "segmentation", shape=(2, 2), labels=LABELS))
    assert said("application/json", flat, PLANE, OutputArray("pred", np.ones((2, 2), np.uint8))).quantities == ()


@pytest.mark.parametrize(
    ("of", "array", "told"),
    [
        (ONE, OutputArray("age", f32([63.5])), {"age": 63.5}),
        (NAMED, OutputArray("pred", f32([40.0, 90.0])), {"systole": 40.0, "diastole": 90.0}),
        (ONE, OutputArray("age", f32([1.0, 2.0, 3.0])), {}),
    ],
    ids=["one number", "one for each name", "an embedding"],
)
@pytest.mark.parametrize("media_type", ["application/json", "application/x-npy", ""])
def test_values_of_regressions_are_told(media_type: str, of: Contract, array: OutputArray, told: Any) -> None:
    """Under the output's name, or the names of the contract."""
    answer = said(media_type, of, PLANE, array)
    assert {quantity.name: quantity.number for quantity in answer.quantities} == told
    assert {quantity.kind for quantity in answer.quantities} <= {"value"}


def test_of_values_only_finite_numbers_are_told() -> None:
    """Of results that the contract knows."""
    answer = said("application/json", WORDS, PLANE, length=12, words="long", unknown=3.0)
    assert answer.quantities == (Quantity("value", "length", 12.0),)


@pytest.mark.parametrize("numbers", [[0.25, 0.75], [[0.75]]], ids=["two", "one sigmoid"])
def test_the_class_is_told_of_whatever_is_sent(numbers: Any) -> None:
    """A radiograph's may be a DICOM report, a record's a tensor."""
    array = OutputArray("pred", f32(numbers))
    found = [
        said(media_type, CLASSIFIER, PLANE, array).predicted for media_type in ("", *ANSWERS.available(CLASSIFIER))
    ]
    assert set(found) == {("pneumonia", 0.75)}


@pytest.mark.parametrize(
    "numbers",
    [[2.5, -1.0], [0.2, 0.3, 0.5], [math.nan, 0.5], [0.5, math.nan], [math.inf, 0.0], []],
    ids=["scores", "three", "NaN", "NaN last", "infinite", "none"],
)
def test_of_numbers_that_are_no_probabilities_no_class_is_told(numbers: list[float]) -> None:
    """They go out as tensors, and would be the sum of all probabilities."""
    assert said("", CLASSIFIER, PLANE, OutputArray("pred", f32(numbers))) == Finding()


def test_of_two_outputs_that_name_classes_none_is_told() -> None:
    """Which of them is the answer, nobody knows."""
    two = contract(*(OutputSpec(name, "probabilities", labels={0: "a", 1: "b"}) for name in ("pred", "aux")))
    arrays = [OutputArray(name, f32([0.25, 0.75])) for name in ("pred", "aux")]
    assert said("", two, PLANE, *arrays) == said("application/json", two, PLANE, *arrays) == Finding()
