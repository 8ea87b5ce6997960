"""Values outside the training range come back with a warning."""

import numpy as np
import pytest

from bedside.bundle.contract import Contract, FeatureSpec, InputSpec
from bedside.codecs.extrapolation import outside_training
from bedside.types import DecodedRecord, ValidatedInputs

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


def _warnings(*values: float) -> list[str]:
    record = DecodedRecord("features", np.array(values, np.float32), {})
    return outside_training(CONTRACT, ValidatedInputs((record,)))


def test_values_inside_give_no_warning() -> None:
    """The ends of the range belong to it."""
    assert _warnings(29, 564, 1e6) == []


@pytest.mark.parametrize("age", [28.0, 78.0])
def test_a_value_outside_is_named_with_range_and_unit(age: float) -> None:
    """The sentence says which feature, which range, which unit; it does not repeat the value."""
    assert _warnings(age, 200, 0) == ["age is outside 29 to 77 years, the range seen in training"]


def test_a_missing_value_is_outside_nothing() -> None:
    """NaN compares with nothing."""
    assert _warnings(float("nan"), 200, 0) == []


def test_a_model_without_a_record_has_no_warnings() -> None:
    """Image models know no ranges."""
    contract = Contract("m", "1", "sha256:0", "", "", (), (), {})

    assert outside_training(contract, ValidatedInputs(())) == []
