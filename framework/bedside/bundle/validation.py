"""Stage 5 of the spine: the contract is kept, or the caller is told which field breaks it.

This is the only place that makes :class:`~bedside.types.ValidatedInputs`; everything behind it may rely on them.
Messages hold numbers and the contract's own names, never text that the caller sent.
"""

from collections import Counter
from collections.abc import Sequence
from math import isfinite, isinf, isnan

import numpy as np

from bedside.bundle.contract import Contract, InputSpec
from bedside.errors import (
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
from bedside.types import DecodedImage, DecodedInput, DecodedRecord, ValidatedInputs


def validate(contract: Contract, decoded: Sequence[DecodedInput]) -> ValidatedInputs:
    """Check one item against the contract; what the contract does not know (None, ()) binds nothing.

    Args:
        contract: of the resolved model version.
        decoded: the item's inputs, in any order.

    Returns:
        The same inputs, in the contract's order.

    Raises:
        UnknownInput, MissingInput, MalformedPayload: not exactly the contract's inputs, each once.
        WrongDatatype: a record where an image belongs, or the reverse.
        WrongShape, WrongChannelCount: rank, channels or number of features differ; both numbers are told.
        NonFiniteValue: NaN or infinity in an image, or in a feature that must have a value.
        ContractViolation: a coded feature with a value that is none of its codes.
    """
    by_name = {item.name: item for item in decoded}
    _require_names(contract, decoded)
    items = tuple(by_name[spec.name] for spec in contract.inputs)
    for spec, item in zip(contract.inputs, items, strict=True):
        _require_kept(spec, item)
    return ValidatedInputs(items)


def _require_names(contract: Contract, decoded: Sequence[DecodedInput]) -> None:
    known = [spec.name for spec in contract.inputs]
    if [item.name for item in decoded] == known:
        return
    counts = Counter(item.name for item in decoded)
    for name, count in counts.items():
        if name not in known:
            shown = echo(name, known)
            raise UnknownInput(
                f"{shown} is not an input of this model; it takes {', '.join(known)}",
                field=name if shown != "(not shown)" else None,
            )
        if count > 1:
            raise MalformedPayload(f"input '{name}' must come once; it came {count} times", field=name)
    for name in known:
        if name not in counts:
            raise MissingInput(f"input '{name}' is missing", field=name)


def _require_kept(spec: InputSpec, item: DecodedInput) -> None:
    if spec.kind == "image" and isinstance(item, DecodedImage):
        _require_image(spec, item)
    elif spec.kind == "record" and isinstance(item, DecodedRecord):
        _require_record(spec, item)
    else:
        expected = "an image" if spec.kind == "image" else "a record of named numbers"
        raise WrongDatatype(f"'{spec.name}' must be {expected}", field=spec.name)


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
    complete = isfinite(sum(values))
    for feature, value in zip(spec.features, values, strict=False):
        if not complete and (isinf(value) or (isnan(value) and not feature.nullable)):
            raise NonFiniteValue(f"feature '{feature.name}' must be finite", field=feature.name)
        if feature.codes and value not in feature.codes and not isnan(value):
            # A code that the model never saw has no meaning, and would still get a probability.
            codes = ", ".join(f"{code:g}" for code in feature.codes)
            raise ContractViolation(f"feature '{feature.name}' must be one of {codes}", field=feature.name)
