"""Inputs made of nothing, for the warm-up pass and for the examples in the OpenAPI document.

They have the structure of real input (a readable file, the network's own size, geometry) and no meaning.
"""

import ast
import io
import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from bedside.bundle.contract import FeatureSpec, InputSpec
from bedside.bundle.metadata import Metadata
from bedside.types import DecodedArray, DecodedImage, DecodedInput, DecodedRecord, DecodedValue, ValidatedInputs

_LEAST, _MOST, _ANY = 32, 128, 64
_FIXED_MOST = 256
_MOST_AXES = 4  # more, and made-up images would not fit into memory
_SLIDE, _SLIDE_LEVELS = 1024, 7
_OPERATORS: Mapping[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Pow: lambda base, exponent: base**exponent if 0 <= exponent <= 16 and abs(base) <= 1024 else 0,
}


def sample_inputs(
    inputs: Sequence[InputSpec], metadata: Metadata, *, seed: int = 0, stretch: int = 1
) -> ValidatedInputs:
    """Return one made-up item that keeps the contract, the same for the same seed.

    Images are smooth, positive and as large as the network's patch: ``spatial_shape`` of the metadata, its formulas
    (``8*n``, ``2**p*n``) taken at the least value from 32 on. A volume is NIfTI with 1 mm voxels in RAS, a plane
    is PNG, or whatever else the input takes. A value is the one that the bundle shows; an optional input that the
    bundle shows nothing of is left out. The first axis of images is ``stretch`` times as long. A record is of plausible
    numbers, which a seed other than 0 makes larger or smaller.
    """
    random = np.random.default_rng(seed)
    scale = random.uniform(0.5, 2.0) if seed else 1.0
    return ValidatedInputs(
        tuple(
            item._replace(values=item.values * np.float32(scale)) if isinstance(item, DecodedRecord) else item
            for spec in inputs
            if not _is_left_out(spec)
            for item in _sample_input(spec, metadata, random, stretch)
        )
    )


def _is_left_out(spec: InputSpec) -> bool:
    return spec.optional and not (spec.kind == "value" and spec.example is not None)


def _sample_input(
    spec: InputSpec, metadata: Metadata, random: np.random.Generator, stretch: int
) -> Iterator[DecodedInput]:
    if spec.kind == "record":
        yield sample_record(spec)
    elif spec.kind == "value":
        yield DecodedValue(spec.name, spec.example)
    elif spec.kind == "tensor":
        yield sample_array(spec, random)
    else:
        first, *rest = _size(spec, metadata)
        size = (first * stretch, *rest)
        yield from (_sample_image(spec, size, random) for _ in range(spec.files or 1))


def with_spacing(sample: ValidatedInputs, image: DecodedImage, millimetres: float) -> ValidatedInputs:
    """Return a sample in which the voxels of ``image``, a NIfTI file, are of another size along all three axes."""
    import nibabel  # noqa: PLC0415 - half a second that most commands need not

    affine = np.diag([millimetres, millimetres, millimetres, 1.0])
    array = np.asanyarray(nibabel.Nifti1Image.from_bytes(image.payload).dataobj)
    other = replace(image, payload=_nifti(array, affine), affine=affine)
    return ValidatedInputs(tuple(other if item is image else item for item in sample.items))


def sample_array(spec: InputSpec, random: np.random.Generator) -> DecodedArray:
    """Return normally distributed numbers, as latents are, of the input's shape; one number where it is unknown."""
    shape = tuple(_ANY if length == -1 else length for length in spec.shape) or (1,)
    return DecodedArray(spec.name, random.standard_normal(shape).astype(spec.dtype or "float32"))


def sample_record(spec: InputSpec) -> DecodedRecord:
    """Return a record of plausible numbers: a code, the middle of the range seen in training, or 1."""
    record = {feature.name: _plausible(feature) for feature in spec.features}
    return DecodedRecord(spec.name, np.array(list(record.values()), np.float32), record)


def _plausible(feature: FeatureSpec) -> float:
    if feature.codes:
        return next(iter(feature.codes))
    if feature.seen:
        return float(round(sum(feature.seen) / 2))
    return 1.0


def axis_length(formula: int | str) -> int:
    """Return a length that an entry of ``spatial_shape`` allows.

    Args:
        formula: a number, ``*`` for any, or a formula of one or more letters (MONAI bundle specification,
            "spatial_shape"), all of which are given the same value 1, 2, 3, ... Parsed, never evaluated as code.

    Returns:
        Voxels; a fixed number is kept up to 256, a formula gives the first value in 32 to 128 where it has one.
    """
    if isinstance(formula, int):
        return max(1, min(formula, _FIXED_MOST))
    try:
        tree = ast.parse(formula.strip(), mode="eval").body
        values = [_evaluate(tree, n) for n in range(1, _MOST + 1)]
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError):
        return _ANY
    if values[0] == values[-1]:
        return axis_length(values[0])
    return next((value for value in values if _LEAST <= value <= _MOST), _ANY)


def _evaluate(node: ast.expr, n: int) -> int:
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return node.value
    if isinstance(node, ast.Name):
        return n
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_evaluate(node.left, n), _evaluate(node.right, n))
    raise ValueError("not a formula of numbers and letters")


def _size(spec: InputSpec, metadata: Metadata) -> tuple[int, ...]:
    only = next(iter(metadata.inputs.values())) if len(metadata.inputs) == 1 else None
    tensor = metadata.inputs.get(spec.name, only)
    size = tuple(axis_length(entry) for entry in tensor.spatial_shape) if tensor else ()
    rank = min(spec.spatial_dims or len(size) or 3, _MOST_AXES)
    most = _FIXED_MOST if rank < _MOST_AXES else _ANY
    return tuple(min(length, most) for length in (*size, *([_ANY] * rank))[:rank])


def _sample_image(spec: InputSpec, size: tuple[int, ...], random: np.random.Generator) -> DecodedImage:
    channels = spec.sample_channels or (spec.channels[0] if spec.channels else 1)
    if spec.is_slide:
        return _sample_slide(spec)
    return describe_image(spec, np.stack([_smooth(size, random) for _ in range(channels)], axis=-1))


def describe_image(spec: InputSpec, array: NDArray[np.float64]) -> DecodedImage:
    """Return an array as the file that the input takes: a picture where it can be one, a volume, or a ``.npy`` array.

    Args:
        spec: the input.
        array: values in 0..1, shape (*spatial, channels); they become 8 bits in a picture, else 16.
    """
    size, channels = array.shape[:-1], array.shape[-1]
    array = array if channels > 1 else array[..., 0]
    as_picture = not spec.media_types or "image/png" in spec.media_types
    if len(size) == 2 and as_picture and channels <= 4:
        return _describe(spec, size, channels, np.round(array * 255).astype(np.uint8), ".png")
    as_volume = not spec.media_types or "application/x-nifti" in spec.media_types
    suffix = ".nii" if as_volume and len(size) <= 3 else ".npy"
    return _describe(spec, size, channels, np.round(array * 1000).astype(np.int16), suffix)


def _sample_slide(spec: InputSpec) -> DecodedImage:
    """Return a whole-slide image: a tiled pyramid, white, with a spot of tissue in the middle."""
    slide = np.full((_SLIDE, _SLIDE, 3), 245, np.uint8)
    middle = slice(_SLIDE * 3 // 8, _SLIDE * 5 // 8)
    slide[middle, middle] = (180, 60, 140)
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        for level in range(_SLIDE_LEVELS):
            writer.write(
                slide[:: 1 << level, :: 1 << level], photometric="rgb", tile=(64, 64), subfiletype=int(level > 0)
            )
    return DecodedImage(spec.name, buffer.getvalue(), ".tiff", slide.shape, 2, 3, "uint8")


def _smooth(size: tuple[int, ...], random: np.random.Generator) -> NDArray[np.float64]:
    """Return values in 0..1: a bright body in the middle, with slow waves, like nothing and like everything."""
    axes = np.meshgrid(*(np.linspace(-1.0, 1.0, length) for length in size), indexing="ij", sparse=True)
    body = np.exp(-1.5 * sum(axis**2 for axis in axes))
    waves = sum(np.cos(math.pi * (random.uniform(0.5, 3.0) * axis + random.uniform(0.0, 2.0))) for axis in axes)
    field: NDArray[np.float64] = np.asarray(body * (1.0 + 0.4 * waves / len(size)))
    return field / max(float(field.max()), 1e-6)


def _describe(spec: InputSpec, size: tuple[int, ...], channels: int, array: NDArray[Any], suffix: str) -> DecodedImage:
    write = {".png": _png, ".nii": _nifti, ".npy": npy}[suffix]
    if suffix == ".nii" and channels > 1:
        # Axes beyond the third are channels (nifti1.h); a plane with channels needs its third axis.
        array = array.reshape(*size, *([1] * (3 - len(size))), channels)
    spatial = array.ndim if suffix == ".npy" else array.ndim - (channels > 1)
    return DecodedImage(
        name=spec.name,
        payload=write(array),
        suffix=suffix,
        shape=array.shape,
        spatial_dims=spatial,
        channels=1 if suffix == ".npy" else channels,
        dtype=array.dtype.name,
        affine=np.eye(4) if suffix == ".nii" else None,
    )


def _nifti(array: NDArray[Any], affine: NDArray[np.float64] | None = None) -> bytes:
    import nibabel  # noqa: PLC0415 - half a second that most commands need not

    image = nibabel.Nifti1Image(array, np.eye(4) if affine is None else affine)
    image.header.set_xyzt_units("mm", "sec")
    return bytes(image.to_bytes())


def _png(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(np.moveaxis(array, 0, 1))).save(buffer, "PNG")  # PILReader swaps them back
    return buffer.getvalue()


def npy(array: NDArray[Any]) -> bytes:
    """Return an array as a ``.npy`` file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()
