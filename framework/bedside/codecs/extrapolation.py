"""Says where a record leaves the range that a model was trained on: there it extrapolates, and nobody measured how."""

import numpy as np
from numpy.typing import NDArray

from bedside.bundle.contract import Contract, FeatureSpec, InputSpec
from bedside.types import DecodedRecord, ValidatedInputs

Bounds = tuple[NDArray[np.float32], NDArray[np.float32]]

_MOST_SPECS = 1024
_bounds: dict[int, tuple[InputSpec, Bounds]] = {}


def outside_training(contract: Contract, inputs: ValidatedInputs) -> list[str]:
    """Return one sentence per feature that lies outside ``FeatureSpec.seen``; a missing value is outside nothing."""
    spec = contract.record
    record = next((item for item in inputs.items if isinstance(item, DecodedRecord)), None)
    if spec is None or record is None:
        return []
    low, high = _bounds_of(spec)
    # One comparison for all features: this runs for every record.
    outside = (record.values < low) | (record.values > high)
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
