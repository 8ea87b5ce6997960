"""The numbers that an answer says: the same, whichever way it is answered."""

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
from bedside.codecs.labels import LabelCount
from bedside.codecs.quantities import counted
from bedside.types import EncodedAnswer, OutputArray, Prediction, Quantity, ValidatedInputs

ONE = contract(OutputSpec("age", "tensor"))
NAMED = contract(OutputSpec("pred", "tensor", labels={0: "systole", 1: "diastole"}))
SAID = contract(OutputSpec("length", "value"), OutputSpec("words", "value"))


def encoded(media_type: str, of: Contract, item: Any, *arrays: OutputArray, **values: Any) -> EncodedAnswer:
    """Return an answer."""
    return ANSWERS.encode(media_type, of, ValidatedInputs((item,)), Prediction(arrays, values=values))


@pytest.mark.parametrize("volume", [None, math.nan, math.inf, 1e100])
def test_volumes_that_cannot_be_are_not_told(volume: float | None) -> None:
    """A caller's geometry may be anything; sums of volumes would keep it for ever."""
    assert list(counted([LabelCount(1, "spleen", 7, volume)])) == []


@pytest.mark.parametrize("media_type", ["application/json", "application/gzip", "multipart/mixed"])
def test_volumes_of_labels_are_told(media_type: str) -> None:
    """In millilitres, of every label but the background; also where the answer is a file."""
    answer = encoded(media_type, SEGMENTER, VOLUME, OutputArray("pred", MASK, AFFINE))
    assert [(found.kind, found.name) for found in answer.quantities] == [("volume", LABELS[1]), ("volume", LABELS[2])]
    assert [found.number for found in answer.quantities] == pytest.approx([0.024, 0.003])


def test_a_mask_without_geometry_has_no_volume() -> None:
    """A number of voxels is no volume."""
    flat = contract(OutputSpec("pred", "segmentation", shape=(2, 2), labels=LABELS))
    assert encoded("application/json", flat, PLANE, OutputArray("pred", np.ones((2, 2), np.uint8))).quantities == ()


@pytest.mark.parametrize(
    ("of", "array", "told"),
    [
        (ONE, OutputArray("age", f32([63.5])), {"age": 63.5}),
        (NAMED, OutputArray("pred", f32([40.0, 90.0])), {"systole": 40.0, "diastole": 90.0}),
        (ONE, OutputArray("age", f32([1.0, 2.0, 3.0])), {}),
    ],
    ids=["one number", "one for each name", "an embedding"],
)
@pytest.mark.parametrize("media_type", ["application/json", "application/x-npy"])
def test_values_of_regressions_are_told(media_type: str, of: Contract, array: OutputArray, told: Any) -> None:
    """Under the output's name, or the names of the contract."""
    answer = encoded(media_type, of, PLANE, array)
    assert {quantity.name: quantity.number for quantity in answer.quantities} == told
    assert {quantity.kind for quantity in answer.quantities} <= {"value"}


def test_of_values_only_finite_numbers_are_told() -> None:
    """Of results that the contract knows."""
    answer = encoded("application/json", SAID, PLANE, length=12, words="long", unknown=3.0)
    assert answer.quantities == (Quantity("value", "length", 12.0),)


def test_the_class_is_told_of_an_answer_that_is_a_file() -> None:
    """As of one in JSON: a radiograph's may be a DICOM report."""
    prediction = Prediction((OutputArray("pred", f32([0.25, 0.75])),))
    found = [
        ANSWERS.encode(media_type, CLASSIFIER, ValidatedInputs((PLANE,)), prediction).predicted
        for media_type in ANSWERS.available(CLASSIFIER)
    ]
    assert set(found) == {("pneumonia", 0.75)}
