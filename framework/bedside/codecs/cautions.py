"""What to know before believing an answer: features outside the range a model was trained on, and features missing.

Both are answered, because a person may want the answer, and neither was measured: outside its data a model
extrapolates, and of a record that is mostly gaps it says little more than the average. Far outside, its numbers
overflow: then the features are what is wrong (:func:`require_finite`).
"""

from collections.abc import Sequence
from math import isnan
from operator import le

import numpy as np

from bedside.bundle.contract import Contract, FeatureSpec, InputSpec
from bedside.bundle.remembered import Remembered
from bedside.codecs.elements import all_finite
from bedside.errors import InputNotProcessable, ModelFailure, RunFailed
from bedside.types import DecodedRecord, Prediction, ValidatedInputs

Bounds = tuple[list[float], list[float]]


def cautions(contract: Contract, inputs: ValidatedInputs) -> list[str]:
    """Return one sentence where most features are missing, and one per feature outside ``FeatureSpec.seen``.

    A missing value is outside nothing.
    """
    spec = contract.record
    records = [item for item in inputs.items if isinstance(item, DecodedRecord)]
    if spec is None or not records:
        return []
    # A dozen Python floats are compared in less time than NumPy needs to begin, and every record comes here.
    low, high = _bounds_of(spec)
    values = records[0].values.tolist()
    if all(map(le, low, values)) and all(map(le, values, high)):
        return []
    return _mostly_missing(values) + list(map(_sentence, _outside_training(values, spec)))


def cautions_by_row(contract: Contract, rows: Sequence[ValidatedInputs]) -> dict[str, list[str]]:
    """Return the cautions by row index, as text: the members of a JSON object. Rows without any are left out."""
    return {str(index): found for index, row in enumerate(rows) if (found := cautions(contract, row))}


def require_finite(contract: Contract, rows: Sequence[ValidatedInputs], predictions: Sequence[Prediction]) -> None:
    """Refuse NaN and infinity as the answer to a record: it is the record's fault where the model extrapolated.

    Args:
        contract: of the model that ran; of one that takes no record, everything passes.
        rows: what it was given.
        predictions: one per row.

    Raises:
        InputNotProcessable: features lie outside the range seen in training; the detail names them all, and the row
            where there are several, the field the first of them.
        RunFailed: none does.
    """
    spec = contract.record
    if spec is None:
        return
    for index, (inputs, prediction) in enumerate(zip(rows, predictions, strict=True)):
        for output in prediction.arrays:
            if not all_finite(output.stored):
                raise _not_finite(spec, inputs, output.name, f"row {index}: " if len(rows) > 1 else "")


def _not_finite(spec: InputSpec, inputs: ValidatedInputs, output: str, row: str) -> ModelFailure:
    records = [item for item in inputs.items if isinstance(item, DecodedRecord)]
    outside = [feature for record in records for feature in _outside_training(record.values.tolist(), spec)]
    if not outside:
        return RunFailed(f"{row}the model answered a number that is NaN or infinite", field=output)
    sentences = "; ".join(map(_sentence, outside))
    return InputNotProcessable(f"{row}the model has no finite answer: {sentences}", field=outside[0].name)


def _mostly_missing(values: Sequence[float]) -> list[str]:
    missing = sum(map(isnan, values))
    return [f"{missing} of {len(values)} features are missing"] if 2 * missing > len(values) else []


def _outside_training(values: Sequence[float], spec: InputSpec) -> list[FeatureSpec]:
    bounds = zip(spec.features, *_bounds_of(spec), strict=True)
    return [
        feature
        for value, (feature, low, high) in zip(values, bounds, strict=True)
        if not isnan(value) and not low <= value <= high
    ]


def _make_bounds(spec: InputSpec) -> Bounds:
    seen = [feature.seen or (-np.inf, np.inf) for feature in spec.features]
    # As float32, because values are: 2.3 as a double lies outside a bound of 2.3.
    bounds = np.array(seen, np.float32).reshape(-1, 2)
    return bounds[:, 0].tolist(), bounds[:, 1].tolist()


_bounds_of = Remembered(_make_bounds)


def _sentence(feature: FeatureSpec) -> str:
    low, high = feature.seen or (-np.inf, np.inf)
    unit = f" {feature.unit}" if feature.unit else ""
    return f"{feature.name} is outside {low:g} to {high:g}{unit}, the range seen in training"
