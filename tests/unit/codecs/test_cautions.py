"""Values outside the training range, and records that are mostly gaps, come back with a warning."""

import numpy as np
import pytest

from bedside.bundle.contract import Contract, FeatureSpec, InputSpec
from bedside.codecs.cautions import cautions, cautions_by_row
from bedside.types import DecodedRecord, ValidatedInputs

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
