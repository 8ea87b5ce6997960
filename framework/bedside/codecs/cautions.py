"""What to know before believing an answer: features outside the range a model was trained on, and features missing.

Both are answered, because a person may want the answer, and neither was measured: outside its data a model
extrapolates, and of a record that is mostly gaps it says little more than the average.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bedside.bundle.contract import Contract, FeatureSpec, InputSpec
from bedside.types import DecodedRecord, ValidatedInputs

Bounds = tuple[NDArray[np.float32], NDArray[np.float32]]

_MOST_SPECS = 1024
_bounds: dict[int, tuple[InputSpec, Bounds]] = {}


def cautions(contract: Contract, inputs: ValidatedInputs) -> list[str]:
    """Return one sentence where most features are missing, and one per feature outside ``FeatureSpec.seen``.

    A missing value is outside nothing.
    """
    spec = contract.record
    record = next((item for item in inputs.items if isinstance(item, DecodedRecord)), None)
    if spec is None or record is None:
        return []
    return _mostly_missing(record.values) + _outside_training(record.values, spec)


def cautions_by_row(contract: Contract, rows: Sequence[ValidatedInputs]) -> dict[str, list[str]]:
    """Return the cautions by row index, as text: the members of a JSON object. Rows without any are left out."""
    found = ((str(index), cautions(contract, row)) for index, row in enumerate(rows))
    return {index: sentences for index, sentences in found if sentences}


def _mostly_missing(values: NDArray[np.float32]) -> list[str]:
    missing = int(np.count_nonzero(np.isnan(values)))
    return [f"{missing} of {len(values)} features are missing"] if 2 * missing > len(values) else []


def _outside_training(values: NDArray[np.float32], spec: InputSpec) -> list[str]:
    low, high = _bounds_of(spec)
    # One comparison for all features: this runs for every record.
    outside = (values < low) | (values > high)
    return [_sentence(spec.features[index]) for index in np.flatnonzero(outside)] if outside.any() else []


def _bounds_of(spec: InputSpec) -> Bounds:
    found = _bounds.get(id(spec))  # the spec is kept beside its bounds, so its id stays its own
    if found is None or found[0] is not spec:
        if len(_bounds) >= _MOST_SPECS:
            _bounds.clear()
        seen = [feature.seen or (-np.inf, np.inf) for feature in spec.features]
        pair = np.array([low for low, _ in seen], np.float32), np.array([high for _, high in seen], np.float32)
        found = _bounds[id(spec)] = (spec, pair)
    return found[1]


def _sentence(feature: FeatureSpec) -> str:
    low, high = feature.seen or (-np.inf, np.inf)
    unit = f" {feature.unit}" if feature.unit else ""
    return f"{feature.name} is outside {low:g} to {high:g}{unit}, the range seen in training"
