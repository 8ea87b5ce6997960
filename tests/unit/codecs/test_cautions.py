"""Values outside the training range, and records that are mostly gaps, come back with a warning."""

import numpy as np
import pytest

from bedside.bundle.contract import Contract, FeatureSpec, InputSpec
from bedside.codecs.cautions import cautions, cautions_by_row, require_finite
from bedside.errors import InputNotProcessable, RunFailed
from bedside.types import DecodedRecord, OutputArray, Prediction, ValidatedInputs

NAN = float("nan")
SPEC = InputSpec(
    "features",
    "record",
    features=(
        FeatureSpec("age", unit="years", seen=(29, 77)),
        FeatureSpec("chol", seen=(126, 564)),
        FeatureSpec("free"),
    ),
)
CONTRACT = Contract("m", "1", "sha256:0", "", "", (SPEC,), (), {})


def _inputs(*values: float) -> ValidatedInputs:
    return ValidatedInputs((DecodedRecord("features", np.array(values, np.float32), {}),))


def _warnings(*values: float) -> list[str]:
    return cautions(CONTRACT, _inputs(*values))


def test_values_inside_give_no_warning() -> None:
    """The ends of the range belong to it."""
    assert _warnings(29, 564, 1e6) == []


@pytest.mark.parametrize("age", [28.0, 78.0])
def test_a_value_outside_is_named_with_range_and_unit(age: float) -> None:
    """The sentence says which feature, which range, which unit; it does not repeat the value."""
    assert _warnings(age, 200, 0) == ["age is outside 29 to 77 years, the range seen in training"]


def test_a_missing_value_is_outside_nothing() -> None:
    """NaN compares with nothing."""
    assert _warnings(NAN, 200, 0) == []


def test_a_model_without_a_record_has_no_warnings() -> None:
    """Image models know no ranges."""
    contract = Contract("m", "1", "sha256:0", "", "", (), (), {})

    assert cautions(contract, ValidatedInputs(())) == []


def test_more_than_half_missing_is_counted_in_a_warning() -> None:
    """One of three missing says nothing; two of three are said, beside what is outside its range."""
    assert _warnings(30, NAN, 0) == []
    assert _warnings(NAN, 600, NAN) == [
        "2 of 3 features are missing",
        "chol is outside 126 to 564, the range seen in training",
    ]


def test_rows_without_a_caution_are_left_out() -> None:
    """Each row's sentences stand under its index."""
    rows = [_inputs(30, 200, 0), _inputs(NAN, 200, NAN), _inputs(30, 200, 0)]
    assert cautions_by_row(CONTRACT, rows) == {"1": ["2 of 3 features are missing"]}


NOTHING = Prediction((OutputArray("pred", np.array([NAN, NAN], np.float32)),))
SOMETHING = Prediction((OutputArray("pred", np.array([0.3, 0.7], np.float32)),))


def test_no_finite_answer_is_the_fault_of_features_far_outside() -> None:
    """All of them are named, with their ranges and without their values."""
    with pytest.raises(InputNotProcessable) as refused:
        require_finite(CONTRACT, [_inputs(-3.4e38, 3.4e38, 3.4e38)], [NOTHING])
    assert refused.value.detail == (
        "the model has no finite answer: age is outside 29 to 77 years, the range seen in training; "
        "chol is outside 126 to 564, the range seen in training"
    )
    assert refused.value.field == "age"


@pytest.mark.parametrize("infinite", [NAN, float("inf")])
def test_no_finite_answer_within_the_range_is_the_models_fault(infinite: float) -> None:
    """A missing value is outside nothing, and of a feature without a range nobody knows what is outside."""
    prediction = Prediction((OutputArray("pred", np.array([infinite], np.float32)),))
    with pytest.raises(RunFailed) as failed:
        require_finite(CONTRACT, [_inputs(NAN, 200, 3.4e38)], [prediction])
    assert failed.value.field == "pred"


def test_the_row_without_a_finite_answer_is_named() -> None:
    """Another row may be far outside and be answered all the same."""
    rows = [_inputs(1000, 200, 0), _inputs(30, 1e38, 0)]
    with pytest.raises(InputNotProcessable, match="row 1: the model has no finite answer: chol is outside") as refused:
        require_finite(CONTRACT, rows, [SOMETHING, NOTHING])
    assert refused.value.field == "chol"


def test_finite_answers_and_words_pass() -> None:
    """So does what a model of images gives: NaN may mean something there."""
    words = Prediction((OutputArray("code", np.array([3])),), values={"text": "none"})
    require_finite(CONTRACT, [_inputs(1e9, 200, 0)] * 2, [SOMETHING, words])
    require_finite(Contract("m", "1", "sha256:0", "", "", (), (), {}), [ValidatedInputs(())], [NOTHING])
