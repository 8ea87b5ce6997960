"""The numbers that an answer says, for those who watch what a model answers: volumes of labels, values of results."""

from collections.abc import Iterable, Iterator, Mapping
from math import isfinite
from typing import Any

import numpy as np

from bedside.bundle.contract import Contract, OutputSpec
from bedside.codecs.labels import LabelCount, count_labels
from bedside.errors import RunFailed
from bedside.types import MOST_ML, OutputArray, Prediction, Quantity


def counted(labels: Iterable[LabelCount]) -> Iterator[Quantity]:
    """Yield the volumes of the labels of one segmentation, where its geometry is known and can be.

    One volume of 1e100 mL, by an affine that a caller made up, would be the sum of all volumes and of all errors for
    ever.
    """
    for label in labels:
        if label.volume_ml is not None and label.volume_ml <= MOST_ML:  # NaN neither
            yield Quantity("volume", label.name, label.volume_ml)


def measured(contract: Contract, prediction: Prediction, rank: int) -> tuple[Quantity, ...]:
    """Return the numbers of an answer that is a file, whose labels nobody has counted yet.

    Args:
        contract: of the model.
        prediction: its answer.
        rank: number of spatial axes of what it lies on.
    """
    volumes = (
        _volumes(array, spec, rank)
        for array, spec in _of_kind(contract, prediction, "segmentation")
        if array.affine is not None
    )
    return (*(volume for found in volumes for volume in found), *values(contract, prediction))


def values(contract: Contract, prediction: Prediction) -> Iterator[Quantity]:
    """Yield the values of a regression: results of one number, or of one for each name in the contract."""
    for array, spec in _of_kind(contract, prediction, "tensor"):
        names = list(spec.labels.values()) if array.stored.size == len(spec.labels) else [spec.name]
        if array.stored.size == len(names) and array.dtype.kind in "fiu":
            yield from _finite(zip(names, np.ravel(array.array).tolist(), strict=True))
    named = {spec.name: prediction.values.get(spec.name) for spec in contract.outputs if spec.kind == "value"}
    yield from _finite(named.items())


def _of_kind(contract: Contract, prediction: Prediction, kind: str) -> Iterator[tuple[OutputArray, OutputSpec]]:
    specs: Mapping[str, OutputSpec] = {spec.name: spec for spec in contract.outputs if spec.kind == kind}
    return ((array, specs[array.name]) for array in prediction.arrays if array.name in specs)


def _volumes(array: OutputArray, spec: OutputSpec, rank: int) -> list[Quantity]:
    try:
        return list(counted(count_labels(array, spec.labels, rank)))
    except RunFailed:  # no label map after all; the file was answered as it is
        return []


def _finite(named: Iterable[tuple[str, Any]]) -> Iterator[Quantity]:
    for name, value in named:
        if isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value):
            yield Quantity("value", name, float(value))
