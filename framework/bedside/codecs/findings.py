"""What an answer says, for those who watch what a model answers: its class, volumes of labels, values of results.

Nothing here refuses an answer: what cannot be told of one is left out, and goes out as it is.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, TypeVar

import numpy as np

from bedside.bundle.contract import Contract, OutputSpec
from bedside.bundle.remembered import Remembered
from bedside.codecs.labels import LabelCount, count_labels
from bedside.errors import RunFailed
from bedside.types import MOST_ML, DecodedImage, Finding, OutputArray, Prediction, Quantity, ValidatedInputs

LEAST, MOST = -1e-3, 1 + 1e-3
"""Between these a number may be a probability: in float16 they do not add up to more."""

T = TypeVar("T", bound=float)


def finding(contract: Contract, inputs: ValidatedInputs, prediction: Prediction) -> Finding:
    """Return what one answer says, however it is sent. Never raises for what a model may answer."""
    watched = _watched_of(contract)
    predicted = _predicted(watched.output, watched.classes, prediction) if watched.output else None
    return Finding(predicted, measured(contract, prediction, spatial_rank(inputs)) if watched.measures else ())


def counted(labels: Iterable[LabelCount]) -> Iterator[Quantity]:
    """Yield the volumes of the labels of one segmentation, where its geometry is known and can be.

    One volume of 1e100 mL, by an affine that a caller made up, would be the sum of all volumes and of all errors for
    ever.
    """
    for label in labels:
        if label.volume_ml is not None and label.volume_ml <= MOST_ML:  # NaN neither
            yield Quantity("volume", label.name, label.volume_ml)


def measured(contract: Contract, prediction: Prediction, rank: int) -> tuple[Quantity, ...]:
    """Return the numbers of an answer whose labels nobody has counted yet.

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


def class_outputs(contract: Contract) -> list[OutputSpec]:
    """Return the outputs whose numbers have the names of classes."""
    return [spec for spec in contract.outputs if spec.kind == "probabilities" and spec.labels]


def by_class(numbers: Sequence[T], classes: int) -> Sequence[T | float]:
    """Return one number for each class: one sigmoid for two classes is the second one's."""
    return (1 - numbers[0], numbers[0]) if len(numbers) == 1 and classes == 2 else numbers


def source_image(inputs: ValidatedInputs) -> DecodedImage | None:
    """Return the first image among the inputs, None where there is none."""
    return next((item for item in inputs.items if isinstance(item, DecodedImage)), None)


def spatial_rank(inputs: ValidatedInputs) -> int:
    """Return the number of spatial axes of the image that an answer lies on."""
    source = source_image(inputs)
    return source.spatial_dims if source else 3


@dataclass(frozen=True, slots=True)
class _Watched:
    """What there is to find in the answers of a model: every tabular call asks.

    Attributes:
        output: the one that is probabilities of classes; empty where there is none, or more than one.
        classes: their names.
        measures: an answer may say volumes or values.
    """

    output: str
    classes: tuple[str, ...]
    measures: bool


def _make_watched(contract: Contract) -> _Watched:
    named = class_outputs(contract)
    measures = any(spec.kind in {"segmentation", "tensor", "value"} for spec in contract.outputs)
    if len(named) != 1:
        return _Watched("", (), measures)
    return _Watched(named[0].name, tuple(named[0].labels.values()), measures)


_watched_of = Remembered(_make_watched)


def _predicted(output: str, classes: Sequence[str], prediction: Prediction) -> tuple[str, float] | None:
    for array in prediction.arrays:
        if array.name == output and array.stored.dtype.kind in "fiu":
            numbers = array.stored.ravel().tolist()
            if len(numbers) == 1:
                numbers = list(by_class(numbers, len(classes)))
            if len(numbers) != len(classes) or not isfinite(sum(numbers)):
                return None
            best = max(numbers)
            return None if best > MOST or min(numbers) < LEAST else (classes[numbers.index(best)], best)
    return None


def _of_kind(contract: Contract, prediction: Prediction, kind: str) -> Iterator[tuple[OutputArray, OutputSpec]]:
    specs: Mapping[str, OutputSpec] = {spec.name: spec for spec in contract.outputs if spec.kind == kind}
    return ((array, specs[array.name]) for array in prediction.arrays if array.name in specs)


def _volumes(array: OutputArray, spec: OutputSpec, rank: int) -> list[Quantity]:
    try:
        return list(counted(count_labels(array, spec.labels, rank)))
    except RunFailed:  # no label map after all; it was answered as it is
        return []


def _finite(named: Iterable[tuple[str, Any]]) -> Iterator[Quantity]:
    for name, value in named:
        if isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value):
            yield Quantity("value", name, float(value))
