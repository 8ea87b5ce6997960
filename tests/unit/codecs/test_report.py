"""Answers in JSON: the record with its prediction, masks in millilitres, what cannot be said."""

from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pytest
from tests.unit.codecs.answering import (
    AFFINE,
    ANSWERS,
    CLASSIFIER,
    LABELS,
    MASK,
    PLANE,
    SEGMENTER,
    TABULAR,
    VOLUME,
    contract,
    f32,
    patient,
    report,
)

from bedside.bundle.contract import Contract, FeatureSpec, InputSpec, OutputSpec
from bedside.codecs.labels import count_labels
from bedside.errors import InputNotProcessable, RunFailed
from bedside.types import OutputArray, Prediction, ValidatedInputs


def test_record_comes_back_with_the_prediction() -> None:
    """Record, prediction, probability, accuracy: the four things that were asked for, in float32's own digits."""
    assert report(TABULAR, patient(age=63), f32([0.3, 0.7])) == {
        "age": 63,
        "prediction": "presence",
        "probability": 0.7,
        "probabilities": {"absence": 0.3, "presence": 0.7},
        "accuracy": 0.84,
        "model": "model",
        "version": "1.2.0",
        "notice": "Not a medical device.",
    }


def test_a_record_without_a_finite_answer_names_its_features() -> None:
    """Within the range seen in training, the model is at fault; outside it, the record."""
    record = InputSpec("patient", "record", features=(FeatureSpec("age", seen=(29, 77)),))
    of = replace(TABULAR, inputs=(record,))
    with pytest.raises(InputNotProcessable, match="age is outside 29 to 77"):
        report(of, patient(age=-3.4e38), f32([np.nan, np.nan]))
    with pytest.raises(RunFailed):
        report(of, patient(age=30), f32([np.nan, np.nan]))


@pytest.mark.parametrize(
    ("of", "item", "array", "predicted"),
    [
        (TABULAR, patient(age=63), f32([0.3, 0.7]), "presence"),
        (CLASSIFIER, PLANE, f32([0.25, 0.75]), "pneumonia"),
        (CLASSIFIER, PLANE, f32([-2.0, 3.0]), None),
        (SEGMENTER, VOLUME, MASK, None),
    ],
    ids=["record", "image", "scores are no probabilities", "mask"],
)
def test_the_class_that_an_answer_names_is_told(of: Contract, item: Any, array: Any, predicted: str | None) -> None:
    """For the metrics: with its probability, as Python's own numbers; a caller's record is never taken for it."""
    prediction = Prediction((OutputArray("pred", np.asarray(array), AFFINE),))
    found = ANSWERS.encode("application/json", of, ValidatedInputs((item,)), prediction).finding
    assert found is not None
    assert (found.predicted and found.predicted[0]) == predicted
    if found.predicted:
        assert type(found.predicted[1]) is float
        assert found.predicted[1] == pytest.approx(max(array))


def test_features_are_never_overwritten() -> None:
    """A feature called like a member of the result moves the result aside."""
    of = contract(OutputSpec("pred", "probabilities", labels={0: "a", 1: "b"}), features=("prediction",))
    body = report(of, patient(prediction=5), f32([0.9, 0.1]))
    assert body["record"] == {"prediction": 5}
    assert body["result"]["prediction"] == "a"


@pytest.mark.parametrize("value", [f32([0.75]), np.float32(0.75)])
def test_one_number_for_two_classes_is_the_seconds(value: Any) -> None:
    """A single sigmoid."""
    assert report(CLASSIFIER, PLANE, value)["probabilities"] == {"normal": 0.25, "pneumonia": 0.75}


def test_numbers_beyond_one_are_scores() -> None:
    """Logits are not called probabilities, whatever the metadata say."""
    body = report(CLASSIFIER, PLANE, f32([-2.0, 3.0]))
    assert body["scores"] == {"normal": -2.0, "pneumonia": 3.0}
    assert "probability" not in body


@pytest.mark.parametrize("array", [f32([0.1, np.nan]), f32([0.2, 0.3, 0.5])])
def test_broken_probabilities_are_a_failure(array: Any) -> None:
    """NaN would be null in JSON, and three numbers have no names among two."""
    with pytest.raises(RunFailed):
        report(CLASSIFIER, PLANE, array)


def test_segmentation_is_told_in_millilitres() -> None:
    """Voxels times the affine's determinant, per named label."""
    pred = report(SEGMENTER, VOLUME, MASK, AFFINE)["outputs"]["pred"]
    assert pred["shape"] == [8, 9, 10]
    assert pred["spacing_mm"] == [1.0, 1.5, 2.0]
    assert pred["labels"] == [
        {"index": 1, "name": "Anterior", "voxels": 8, "volume_ml": 0.024},
        {"index": 2, "name": "Posterior", "voxels": 1, "volume_ml": 0.003},
    ]


def test_stacked_masks_are_counted_each() -> None:
    """Overlapping labels, one per channel, the first one included."""
    stacked = np.stack([MASK > 0, MASK > 1], -1)
    [first, second] = count_labels(OutputArray("pred", stacked), {0: "whole", 1: "core"}, 3)
    assert (first.name, first.voxels, second.name, second.voxels, first.volume_ml) == ("whole", 9, "core", 1, None)


@pytest.mark.parametrize("value", [-1.0, np.nan, 1e6])
def test_label_maps_with_strange_values_are_a_failure(value: float) -> None:
    """They are not labels."""
    with pytest.raises(RunFailed):
        count_labels(OutputArray("pred", np.full((2, 2, 2), value)), LABELS, 3)


def test_unnamed_labels_are_counted_too() -> None:
    """A value that the contract does not name is shown by its number; nothing at all is nothing."""
    counted = count_labels(OutputArray("pred", np.full((2, 2, 2), 7.0)), {}, 3)
    assert [(entry.name, entry.voxels) for entry in counted] == [("label 7", 8)]
    assert count_labels(OutputArray("pred", np.zeros((0, 2, 2))), {}, 3) == []


def test_several_outputs_have_an_entry_each() -> None:
    """Two heads: neither is at the top."""
    heads = contract(
        OutputSpec("a", "probabilities", labels={0: "no", 1: "yes"}),
        OutputSpec("b", "probabilities", labels={0: "no", 1: "yes"}),
        OutputSpec("c", "tensor"),
        OutputSpec("d", "tensor"),
    )
    prediction = Prediction(
        (
            OutputArray("a", f32([0, 1])),
            OutputArray("b", f32([1, 0])),
            OutputArray("c", f32([1.5])),
            OutputArray("d", np.zeros(5000)),
        )
    )
    body = orjson.loads(ANSWERS.encode("application/json", heads, ValidatedInputs((PLANE,)), prediction).body)
    assert body["outputs"]["a"]["prediction"] == "yes"
    assert body["outputs"]["b"]["prediction"] == "no"
    assert body["outputs"]["c"] == {"shape": [1], "dtype": "float32", "data": [1.5]}
    assert body["outputs"]["d"] == {"shape": [5000], "dtype": "float64"}


def test_nan_in_a_small_tensor_is_a_failure() -> None:
    """It would be null."""
    with pytest.raises(RunFailed):
        report(contract(OutputSpec("pred", "tensor")), PLANE, [np.nan])
