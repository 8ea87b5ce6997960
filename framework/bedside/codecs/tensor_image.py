"""Images as Open Inference Protocol tensors: the decoded array with its geometry (encoded files: ``tensors``).

An array goes to the model as the file that its reader would have read, so that both ways give the same answer:

* volumes, shape (x, y, z[, channels]), in the order of ``nibabel``'s array: an uncompressed NIfTI. Without its
  geometry a volume is not the same image (bundles resample and reorient by it), so one of the parameters ``affine``
  (16 numbers, row-major, voxel to RAS+ mm) and ``spacing`` (mm per axis; axes then run to R, A and S) is required.
* planes, shape (height, width[, channels]), in the order of every picture library: a PNG of these pixels, which
  MONAI's ``PILReader`` turns to (width, height). Values that PNG cannot hold go as ``.npy`` or NIfTI, turned likewise.

The protocol's parameters are text, numbers and booleans; a list is read, and a JSON list in a text as well.
"""

from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from bedside.bundle.contract import InputSpec
from bedside.codecs.elements import read_numbers
from bedside.codecs.nifti import decode_nifti, encode_nifti, is_usable
from bedside.codecs.npy import decode_npy, encode_npy
from bedside.codecs.plane import decode_plane, encode_png
from bedside.errors import BadParameter, WrongDatatype, WrongShape
from bedside.types import DecodedImage, RawTensor


def decode_image_tensor(tensor: RawTensor, spec: InputSpec, limit: int) -> DecodedImage:
    """Decode one image that came as its decoded array.

    Raises:
        WrongShape: a rank that is not the input's.
        BadParameter: the geometry is missing or is none.
        WrongDatatype: BOOL, BF16, or values that no file format of this input holds.
        DecompressedTooLarge: beyond the limit.
    """
    array = read_numbers(tensor)
    if array.dtype == np.float16:
        array = array.astype(np.float32)  # neither NIfTI nor PNG has half precision
    rank = _rank(tensor, spec)
    if array.ndim not in {rank, rank + 1}:
        raise WrongShape(
            f"'{spec.name}' must have {rank} axes, or {rank + 1} with the channels last; {array.ndim} came",
            field=spec.name,
        )
    return _plane(tensor, array, spec, limit) if rank == 2 else _volume(tensor, array, rank, limit)


def _rank(tensor: RawTensor, spec: InputSpec) -> int:
    if spec.spatial_dims is not None:
        return spec.spatial_dims
    return 3 if len(tensor.shape) > 3 or {"affine", "spacing"} & set(tensor.parameters) else 2


def _volume(tensor: RawTensor, array: NDArray[Any], rank: int, limit: int) -> DecodedImage:
    affine = _geometry(tensor, rank)
    if affine is None:
        raise BadParameter(
            f"'{tensor.name}' needs its geometry: parameter 'affine' (16 numbers) or 'spacing' ({rank} numbers, mm)",
            field=tensor.name,
        )
    return decode_nifti(encode_nifti(array, affine), name=tensor.name, limit=limit)


def _plane(tensor: RawTensor, array: NDArray[Any], spec: InputSpec, limit: int) -> DecodedImage:
    affine = _geometry(tensor, 2)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    accepts = set(spec.media_types) or {"image/png", "application/x-npy"}
    grey = array.ndim == 2
    fits_png = array.dtype == np.uint8 or (grey and array.dtype == np.uint16)
    if "image/png" in accepts and fits_png and (grey or array.shape[2] <= 4):
        return decode_plane(encode_png(array), "png", name=spec.name, limit=limit, arrays=False)
    if "application/x-npy" in accepts and grey:
        return decode_npy(encode_npy(np.ascontiguousarray(array.T)), name=spec.name, limit=limit)
    if "application/x-nifti" in accepts and grey:
        return decode_nifti(encode_nifti(array.T, affine), name=spec.name, limit=limit)
    raise WrongDatatype(
        f"'{spec.name}' must be UINT8 with 1 to 4 channels, or UINT16 with one; {tensor.datatype} came", field=spec.name
    )


def _geometry(tensor: RawTensor, rank: int) -> NDArray[np.float64] | None:
    if "affine" in tensor.parameters and "spacing" in tensor.parameters:
        raise BadParameter(f"'{tensor.name}' must have 'affine' or 'spacing', not both", field=tensor.name)
    if "affine" in tensor.parameters:
        affine = _numbers(tensor, "affine", 16).reshape(4, 4)
        if not np.array_equal(affine[3], (0, 0, 0, 1)) or not is_usable(affine):
            raise BadParameter(f"parameter 'affine' of '{tensor.name}' is not an invertible affine", field=tensor.name)
        return affine
    if "spacing" in tensor.parameters:
        spacing = _numbers(tensor, "spacing", rank)
        if not (spacing > 0).all():
            raise BadParameter(f"parameter 'spacing' of '{tensor.name}' must be positive", field=tensor.name)
        # A plane's axes are (row, column); its file's are (column, row).
        affine = np.diag([*(spacing[::-1] if rank == 2 else spacing), *([1.0] * (4 - rank))])
        if not is_usable(affine):
            raise BadParameter(f"parameter 'spacing' of '{tensor.name}' is no size of voxels", field=tensor.name)
        return affine
    return None


def _numbers(tensor: RawTensor, parameter: str, count: int) -> NDArray[np.float64]:
    value = tensor.parameters[parameter]
    try:
        value = orjson.loads(value) if isinstance(value, str) else value
        numbers = np.array(value, np.float64).ravel() if _is_numeric(value) else np.empty(0)
    except (ValueError, OverflowError):
        numbers = np.empty(0)
    if numbers.size != count or not np.isfinite(numbers).all():
        raise BadParameter(
            f"parameter '{parameter}' of '{tensor.name}' must be {count} finite numbers", field=tensor.name
        )
    return numbers


def _is_numeric(value: object) -> bool:
    if isinstance(value, list):
        return all(_is_numeric(element) for element in value)
    return isinstance(value, int | float) and not isinstance(value, bool)
