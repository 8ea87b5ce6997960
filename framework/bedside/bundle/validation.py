"""Stage 5 of the spine: the contract is kept, or the caller is told which field breaks it.

Only this and :mod:`~bedside.bundle.sample`, which makes inputs up, make :class:`~bedside.types.ValidatedInputs`;
everything behind may rely on them.
Messages hold numbers and the contract's own names, never text that the caller sent.
"""

from collections.abc import Mapping, Sequence
from math import isfinite, isinf, isnan

import numpy as np

from bedside.bundle.contract import Contract, FeatureSpec, InputKind, InputSpec
from bedside.bundle.remembered import Remembered
from bedside.errors import (
    BadParameter,
    ContractViolation,
    MalformedPayload,
    MissingInput,
    NonFiniteValue,
    UnknownInput,
    WrongChannelCount,
    WrongDatatype,
    WrongShape,
    echo,
)
from bedside.types import DecodedArray, DecodedImage, DecodedInput, DecodedRecord, DecodedValue, ValidatedInputs


def validate(contract: Contract, decoded: Sequence[DecodedInput]) -> ValidatedInputs:
    """Check one item against the contract; what the contract does not know (None, ()) binds nothing.

    Args:
        contract: of the resolved model version.
        decoded: the item's inputs, in any order.

    Returns:
        The same inputs, in the contract's order.

    Raises:
        UnknownInput, MissingInput, MalformedPayload: not the contract's inputs, each once; only optional ones may lack.
        WrongDatatype: a record where an image belongs, or any other kind than the contract's.
        WrongShape, WrongChannelCount: rank, channels, number of features or files differ; both numbers are told.
        NonFiniteValue: NaN or infinity in an image, an array, or in a feature that must have a value.
        ContractViolation: a coded feature with a value that is none of its codes.
    """
    inputs = contract.inputs
    if len(inputs) == len(decoded) == 1 and inputs[0].name == decoded[0].name and inputs[0].files in _ONE_IS_ENOUGH:
        _require_kept(inputs[0], decoded[0])  # most models have one input: nothing to sort
        return ValidatedInputs((decoded[0],))
    _require_known(inputs, decoded)
    items: list[DecodedInput] = []
    for spec in inputs:
        came = [item for item in decoded if item.name == spec.name]
        _require_count(spec, len(came))
        for item in came:
            _require_kept(spec, item)
        items += came
    return ValidatedInputs(tuple(items))


_ONE_IS_ENOUGH = (1, None)


def check_outputs(contract: Contract, names: Sequence[str]) -> None:
    """Refuse a result that does not exist, before the model runs. Raises BadParameter, naming its place."""
    known = [spec.name for spec in contract.outputs] if names else []
    for index, name in enumerate(names):
        if known and name not in known:
            raise BadParameter(
                f"{echo(name, known)} is no output of this model; it has: {', '.join(known)}",
                field=f"outputs[{index}].name",
            )


def require_equal_shapes(contract: Contract, rows: Sequence[Sequence[DecodedInput]]) -> None:
    """Refuse several images of different shapes in one request where the result follows the image.

    Their results could not be put together into one array, which nobody should learn after the model has run.

    Raises:
        WrongShape: naming the input.
    """
    if all(spec.shape is not None and -1 not in spec.shape for spec in contract.outputs):
        return
    for items in zip(*rows, strict=True):
        shapes = {item.shape for item in items if isinstance(item, DecodedImage)}
        if len(shapes) > 1:
            raise WrongShape(
                f"the images of '{items[0].name}' must have one shape, as one array answers them all; "
                f"{len(shapes)} different ones came: send one request for each",
                field=items[0].name,
            )


def _require_known(inputs: Sequence[InputSpec], decoded: Sequence[DecodedInput]) -> None:
    known = [spec.name for spec in inputs]
    for item in decoded:
        if item.name not in known:
            shown = echo(item.name, known)
            takes = f"it takes {', '.join(known)}" if known else "it takes none"
            raise UnknownInput(
                f"{shown} is not an input of this model; {takes}", field=item.name if shown != "(not shown)" else None
            )


def _require_count(spec: InputSpec, count: int) -> None:
    if count == 0 and not spec.optional:
        raise MissingInput(f"input '{spec.name}' is missing", field=spec.name)
    if count == 0 or spec.files is None:
        return
    if spec.files == 1 and count > 1:
        raise MalformedPayload(f"input '{spec.name}' must come once; it came {count} times", field=spec.name)
    if count != spec.files:
        raise WrongShape(f"'{spec.name}' must have {spec.files} files; {count} came", field=spec.name)


def _require_kept(spec: InputSpec, item: DecodedInput) -> None:
    if isinstance(item, DecodedRecord) and spec.kind == "record":
        _require_record(spec, item)
    elif isinstance(item, DecodedImage) and spec.kind == "image":
        _require_image(spec, item)
    elif isinstance(item, DecodedArray) and spec.kind == "tensor":
        _require_array(spec, item)
    elif not (isinstance(item, DecodedValue) and spec.kind == "value"):
        raise WrongDatatype(f"'{spec.name}' must be {_KINDS[spec.kind]}", field=spec.name)


_KINDS: Mapping[InputKind, str] = {
    "image": "an image",
    "record": "a record of named numbers",
    "value": "a JSON value",
    "tensor": "an array",
}


def _require_array(spec: InputSpec, array: DecodedArray) -> None:
    if spec.shape and not _fits(array.values.shape, spec.shape):
        raise WrongShape(
            f"'{spec.name}' must have the shape {list(spec.shape)}; {list(array.values.shape)} came", field=spec.name
        )
    if spec.dtype and array.values.dtype.name != spec.dtype:
        raise WrongDatatype(
            f"'{spec.name}' must have elements of type {spec.dtype}; {array.values.dtype.name} came", field=spec.name
        )
    if not np.isfinite(array.values).all():
        raise NonFiniteValue(f"'{spec.name}' holds NaN or infinite values", field=spec.name)


def _fits(shape: Sequence[int], expected: Sequence[int]) -> bool:
    return len(shape) == len(expected) and all(
        length == wanted or (wanted == -1 and length > 0) for length, wanted in zip(shape, expected, strict=True)
    )


def _require_image(spec: InputSpec, image: DecodedImage) -> None:
    if not image.shape or min(image.shape) < 1:
        raise WrongShape(f"'{spec.name}' has no elements: its shape is {image.shape}", field=spec.name)
    rank = _rank(image, spec.spatial_dims)
    if spec.spatial_dims is not None and rank != spec.spatial_dims:
        raise WrongShape(
            f"'{spec.name}' must have {spec.spatial_dims} spatial axes; "
            f"an image with {rank} came, its shape is {image.shape}",
            field=spec.name,
        )
    if spec.channels and image.channels not in spec.channels:
        expected = " or ".join(map(str, spec.channels))
        raise WrongChannelCount(
            f"'{spec.name}' must have {expected} channels; an image with {image.channels} came, "
            f"its shape is {image.shape}",
            field=spec.name,
        )
    if spec.extent_mm is not None:
        _require_extent(spec, image, *spec.extent_mm)
    if not image.finite:
        raise NonFiniteValue(f"'{spec.name}' holds NaN, infinite or overflowing values", field=spec.name)


def _require_extent(spec: InputSpec, image: DecodedImage, least: float, greatest: float) -> None:
    if image.affine is None:
        raise WrongShape(
            f"'{spec.name}' must have a geometry; this file has none, so nobody knows its size", field=spec.name
        )
    spacing = np.linalg.norm(np.asarray(image.affine)[:3, :3], axis=0)
    for axis, (voxels, step) in enumerate(zip(image.shape[: image.spatial_dims], spacing, strict=False)):
        extent = voxels * float(step)
        if not least <= extent <= greatest:
            bounds = f"at least {least:g} mm" if isinf(greatest) else f"{least:g} to {greatest:g} mm"
            raise WrongShape(
                f"'{spec.name}' must measure {bounds} along each axis; axis {axis} measures {extent:.0f} mm. "
                "Is it the right series, cropped as the model needs it?",
                field=spec.name,
            )


def _rank(image: DecodedImage, expected: int | None) -> int:
    """Count the spatial axes; a plane stored as a volume one voxel thick, as NIfTI often has it, counts as a plane."""
    spatial = image.shape[: image.spatial_dims]
    if expected is not None and len(spatial) > expected and all(length == 1 for length in spatial[expected:]):
        return expected
    return len(spatial)


def _require_record(spec: InputSpec, record: DecodedRecord) -> None:
    if spec.features and record.values.shape != (len(spec.features),):
        raise WrongShape(
            f"'{spec.name}' must have {len(spec.features)} features; its shape is {record.values.shape}",
            field=spec.name,
        )
    values = record.values.tolist()  # a dozen Python floats are summed in a tenth of the time NumPy needs to begin
    if not isfinite(sum(values)):
        for feature, value in zip(spec.features, values, strict=False):
            if isinf(value) or (isnan(value) and not feature.nullable):
                raise NonFiniteValue(f"feature '{feature.name}' must be finite", field=feature.name)
    for index, feature, known in _coded(spec):
        if values[index] not in known and not isnan(values[index]):
            # A code that the model never saw has no meaning, and would still get a probability.
            codes = ", ".join(f"{code:g}" for code in feature.codes)
            raise ContractViolation(f"feature '{feature.name}' must be one of {codes}", field=feature.name)


def _find_coded(spec: InputSpec) -> list[tuple[int, FeatureSpec, frozenset[float]]]:
    features = enumerate(spec.features)
    return [(index, feature, frozenset(feature.codes)) for index, feature in features if feature.codes]


_coded = Remembered(_find_coded)
