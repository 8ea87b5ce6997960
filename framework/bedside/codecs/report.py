"""The JSON answer: named probabilities, named volumes, never a bare number.

Layout (docs/decisions/0024): a record model returns the caller's record with the result beside it; an image
classifier the result alone; other models one entry per output under ``outputs``. A feature of the contract that is
called like a member of the result is never overwritten: the whole result then stands under ``result``, for every
answer of that model.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

import orjson
from numpy.typing import NDArray

from bedside.bundle.contract import Contract, OutputSpec
from bedside.bundle.media_types import media_type_of_suffix
from bedside.bundle.remembered import Remembered
from bedside.codecs.cautions import cautions, require_finite
from bedside.codecs.elements import all_finite
from bedside.codecs.findings import LEAST, MOST, by_class, class_outputs, counted, spatial_rank, values
from bedside.codecs.labels import LabelCount, count_labels, voxel_spacing
from bedside.errors import RunFailed
from bedside.types import (
    DecodedRecord,
    Finding,
    OutputArray,
    OutputFile,
    Prediction,
    Quantity,
    ValidatedInputs,
)

NOTICE = "Not a medical device."
_RESERVED = (
    "prediction",
    "probability",
    "probabilities",
    "scores",
    "accuracy",
    "model",
    "version",
    "notice",
    "outputs",
    "files",
    "warnings",
)
_INLINE = 4096  # elements of a nameless tensor that are still written out
_TEXTS = (".json", ".csv", ".txt")  # files of a bundle that are short enough to stand in the answer
_INLINE_BYTES = 65536


def encode_json(document: object) -> bytes:
    """Return compact JSON; NumPy numbers are written with the shortest digits that read back the same.

    Raises:
        TypeError: the document holds something that is not JSON.
    """
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def report(contract: Contract, inputs: ValidatedInputs, prediction: Prediction) -> tuple[dict[str, Any], Finding]:
    """Return the JSON answer as a dictionary, and what it says.

    Raises:
        RunFailed: the model answered NaN or infinity, which no caller could tell from a number in time.
        InputNotProcessable: it did so to a record with features outside the range seen in training.
    """
    layout = _layout_of(contract)
    try:
        result, quantities = _result(layout, contract, inputs, prediction)
    except RunFailed:
        require_finite(contract, [inputs], [prediction])
        raise
    # Looked up before the caller's record stands beside it: a class is the bundle's word, never the caller's.
    predicted = (result["prediction"], float(result["probability"])) if "probability" in result else None
    return _beside_record(layout, inputs, result), Finding(predicted, quantities)


def _result(
    layout: "_Layout", contract: Contract, inputs: ValidatedInputs, prediction: Prediction
) -> tuple[dict[str, Any], tuple[Quantity, ...]]:
    result: dict[str, Any] = {}
    quantities: list[Quantity] = []
    outputs: dict[str, Any] = {}
    named = [array for array in prediction.arrays if array.name in layout.named]
    for array in prediction.arrays:
        spec = layout.outputs.get(array.name) or OutputSpec(array.name, "tensor")
        if len(named) == 1 and array is named[0]:
            result.update(probabilities(array, spec))
        else:
            outputs[array.name] = _describe(array, spec, inputs, quantities)
    for name, value in prediction.values.items():
        outputs[name] = {"value": value}
    if named:
        result.update(layout.accuracy)
    if outputs:
        result["outputs"] = outputs
        quantities += values(contract, prediction)
    warnings = cautions(contract, inputs)
    if warnings:
        result["warnings"] = warnings
    if prediction.files:
        result["files"] = [_file(file) for file in prediction.files]
    result.update(layout.origin)
    return result, tuple(quantities)


@dataclass(frozen=True, slots=True)
class _Layout:
    """What all answers of a model share.

    Attributes:
        outputs: by name.
        named: outputs whose numbers have the names of classes.
        accuracy: of the model, where it is known.
        origin: what ends each answer: which model it is from.
        nested: the result stands beside the record, for a feature is called like a member of it.
    """

    outputs: Mapping[str, OutputSpec]
    named: frozenset[str]
    accuracy: Mapping[str, Any]
    origin: Mapping[str, str]
    nested: bool


def _make_layout(contract: Contract) -> _Layout:
    features = contract.record.features if contract.record else ()
    return _Layout(
        outputs={spec.name: spec for spec in contract.outputs},
        named=frozenset(spec.name for spec in class_outputs(contract)),
        accuracy={name: value for name, value in contract.metrics.items() if name == "accuracy"},
        origin={"model": contract.model, "version": contract.version, "notice": NOTICE},
        nested=any(feature.name in _RESERVED or feature.name == "result" for feature in features),
    )


_layout_of = Remembered(_make_layout)


def grid_rank(array: OutputArray, inputs: ValidatedInputs) -> int:
    """Return the number of spatial axes of a result: those of the image it came from; what follows is channels."""
    return min(array.stored.ndim, spatial_rank(inputs), 3)


def _beside_record(layout: _Layout, inputs: ValidatedInputs, result: dict[str, Any]) -> dict[str, Any]:
    record: Mapping[str, Any] = next((item.record for item in inputs.items if isinstance(item, DecodedRecord)), {})
    return {"record": dict(record), "result": result} if layout.nested else {**record, **result}


def _describe(
    array: OutputArray, spec: OutputSpec, inputs: ValidatedInputs, quantities: list[Quantity]
) -> dict[str, Any]:
    if spec.kind == "probabilities" and spec.labels:
        return probabilities(array, spec)
    described: dict[str, Any] = {"shape": list(array.stored.shape), "dtype": array.dtype.name}
    if array.affine is not None:
        described["spacing_mm"] = voxel_spacing(array.affine, grid_rank(array, inputs))
    if spec.kind == "segmentation":
        labels = count_labels(array, spec.labels, grid_rank(array, inputs))
        described["labels"] = [_label(entry) for entry in labels]
        quantities += counted(labels)
    elif array.stored.size <= _INLINE:
        described["data"] = _require_finite(array.array, array.name).tolist()
    return described


def _file(file: OutputFile) -> dict[str, Any]:
    media_type = media_type_of_suffix(file.suffix)
    described: dict[str, Any] = {"suffix": file.suffix, "media_type": media_type, "bytes": len(file.data)}
    if file.name:
        described["name"] = file.name
    if file.suffix.endswith(_TEXTS) and len(file.data) <= _INLINE_BYTES:
        described["text"] = file.data.decode("utf-8", "replace")
    return described


def _label(entry: LabelCount) -> dict[str, Any]:
    described = {"index": entry.index, "name": entry.name, "voxels": entry.voxels}
    return described if entry.volume_ml is None else {**described, "volume_ml": round(entry.volume_ml, 6)}


def probabilities(array: OutputArray, spec: OutputSpec) -> dict[str, Any]:
    """Return the prediction with ``probabilities`` by class, or ``scores`` where the numbers are none.

    Raises:
        RunFailed: there are other numbers than classes, or one is not finite.
    """
    # NumPy scalars go out, not Python floats: float32 is then written with its own digits (0.7, not 0.699999988079071).
    names = list(spec.labels.values())
    values = by_class(list(array.array.ravel()), len(names))
    if len(values) != len(names):
        raise RunFailed(f"the model answered {len(values)} numbers for {len(names)} classes", field=array.name)
    if not isfinite(sum(values)):
        raise RunFailed("the model answered a number that is NaN or infinite", field=array.name)
    best = max(values)
    named = {"prediction": names[values.index(best)]}
    by_name = dict(zip(names, values, strict=True))
    if best > MOST or min(values) < LEAST:
        return {**named, "scores": by_name}  # not probabilities, so not called so
    return {**named, "probability": best, "probabilities": by_name}


def _require_finite(array: NDArray[Any], name: str) -> NDArray[Any]:
    if not all_finite(array):
        raise RunFailed("the model answered a number that is NaN or infinite", field=name)
    return array
