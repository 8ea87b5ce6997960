"""NIfTI-1 and NIfTI-2, in and out, with the geometry that MONAI's ``NibabelReader`` will see.

The file is checked, not rewritten: the bundle's own reader gets the bytes that were sent.
What the checks refuse is what would otherwise end in a wrong number or a traceback inside the model's process.
"""

import gzip
import io
import logging
import math
from typing import Any

import nibabel
import numpy as np
from nibabel import imageglobals
from numpy.typing import NDArray

from bedside.errors import DecompressedTooLarge, MalformedPayload, WrongDatatype
from bedside.types import DecodedImage

# nibabel tells of every header field that it mends, in plain text on stderr, once per file: a caller could fill the log
# with it. What matters raises (imageglobals.error_level).
imageglobals.logger.setLevel(logging.CRITICAL)

_KINDS = "iuf"
_LEAST_OFFSET = 352  # nifti1.h: header of 348 bytes and 4 bytes that announce extensions
_LARGEST = float(np.finfo(np.float32).max)  # LoadImage makes float32; beyond this a value turns into infinity
_FARTHEST_MM = 1e9  # far beyond, float64 cannot tell one voxel's place from the next one's: masks came out empty
_MM_OR_UNKNOWN = (0, 2)  # nifti1.h: NIFTI_UNITS_UNKNOWN, NIFTI_UNITS_MM


def decode_nifti(data: bytes, *, name: str, limit: int) -> DecodedImage:
    """Check an uncompressed NIfTI file and describe it.

    Axes are counted as ``LoadImage`` + ``EnsureChannelFirst`` do: up to three are spatial, a fourth is the channels.
    With neither sform nor qform (both codes 0) the file is accepted with the header's best affine, which follows
    from its voxel sizes, because MONAI does the same and many research files have no codes.

    Args:
        data: the file, without gzip.
        name: input name for the error's field.
        limit: largest size of the voxel data, in bytes.

    Raises:
        MalformedPayload: the header contradicts itself or the data, or the geometry is not stated or not invertible.
        DecompressedTooLarge: the header asks for more than ``limit`` bytes.
        WrongDatatype: complex, RGB or extended-precision voxels, which MONAI's transforms cannot use.
    """
    image = _open(data, name)
    header = image.header
    shape = _shape(header, name)
    dtype = _dtype(header, name)
    offset = int(image.dataobj.offset)
    _require_whole(data, offset, math.prod(shape) * dtype.itemsize, name=name, limit=limit)
    _require_stated(data, header, name)
    voxels: NDArray[Any] = np.frombuffer(data, dtype, math.prod(shape), offset)
    spatial = min(len(shape), 3) if len(shape) <= 4 else len(shape) - 1
    return DecodedImage(
        name=name,
        payload=data,
        suffix=".nii",
        shape=shape,
        spatial_dims=spatial,
        channels=shape[-1] if len(shape) > 3 else 1,
        dtype=dtype.newbyteorder("=").name,
        affine=_affine(header, name),
        finite=_finite(voxels, float(image.dataobj.slope), float(image.dataobj.inter)),
    )


def is_usable(affine: NDArray[np.float64]) -> bool:
    """Tell whether an affine is finite, can be inverted, and leads nowhere that float64 cannot tell voxels apart."""
    return bool(np.abs(affine).max() < _FARTHEST_MM and abs(np.linalg.det(affine[:3, :3])) > 1e-12)


def encode_nifti(array: NDArray[Any], affine: NDArray[np.float64] | None) -> bytes:
    """Return an uncompressed single-file NIfTI; the type is kept, lengths are in millimetres.

    NIfTI-1, because every viewer reads it: its affine is float32, so one that came from a NIfTI-1 file returns
    exactly. NIfTI-2 only where an axis is longer than NIfTI-1 can say. Booleans become uint8, float16 becomes
    float32; NIfTI has neither.

    Args:
        array: shape (x[, y[, z[, channels]]]).
        affine: voxel to RAS+ millimetres, shape (4, 4); None for the identity.
    """
    array = np.asarray(array, order="F")
    if array.dtype == np.bool_:
        array = array.astype(np.uint8)
    elif array.dtype == np.float16:
        array = array.astype(np.float32)
    matrix = np.eye(4) if affine is None else np.asarray(affine, np.float64)
    return nifti_header(array.dtype, array.shape, matrix) + array.tobytes(order="F")


def nifti_header(dtype: np.dtype[Any], shape: tuple[int, ...], affine: NDArray[np.float64]) -> bytes:
    """Return all of a single-file NIfTI that stands before the voxels; see :func:`encode_nifti`."""
    header = (nibabel.Nifti1Header if max(shape, default=0) < 2**15 else nibabel.Nifti2Header)()
    header.set_data_dtype(dtype)
    header.set_data_shape(shape)
    header.set_sform(affine, code=1)  # nifti1.h: NIFTI_XFORM_SCANNER_ANAT
    header.set_zooms((*_spacing(affine, len(shape)), *([1.0] * (len(shape) - 3))))
    header.set_qform(affine, code=1, strip_shears=True)
    header.set_xyzt_units("mm", "sec")
    header.set_slope_inter(1.0, 0.0)
    header.set_data_offset(header.single_vox_offset)
    header["magic"] = header.single_magic
    padding = b"\0" * (int(header.single_vox_offset) - int(header["sizeof_hdr"]))
    return bytes(header.binaryblock) + padding


def compress(data: bytes) -> bytes:
    """Return ``data`` as gzip: level 1, where a mask is as small as at 9, and no time stamp: same mask, same bytes."""
    return gzip.compress(data, compresslevel=1, mtime=0)


def read_nifti(payload: bytes) -> NDArray[Any]:
    """Return the scaled voxel array of a payload that :func:`decode_nifti` has checked."""
    return np.asanyarray(_image(payload).dataobj)


def _image(data: bytes) -> Any:
    # As nibabel.load does: a file may have the magic of both, and is checked as what the bundle's reader takes it for.
    is_first = nibabel.Nifti1Header.may_contain_header(data[: nibabel.Nifti1Header.sizeof_hdr])
    image_class = nibabel.Nifti1Image if is_first else nibabel.Nifti2Image
    return image_class.from_stream(io.BytesIO(data))


def _open(data: bytes, name: str) -> Any:
    try:
        # The image, not only the header: extensions and scaling are parsed too, as the bundle's reader will.
        return _image(data)
    except Exception as error:  # a parser fed with arbitrary bytes raises anything
        raise MalformedPayload(f"the NIfTI header of '{name}' cannot be read", field=name) from error


def _shape(header: Any, name: str) -> tuple[int, ...]:
    rank = int(header["dim"][0])
    shape = tuple(int(length) for length in header["dim"][1 : rank + 1]) if 1 <= rank <= 7 else ()
    if not shape or min(shape) < 1:
        raise MalformedPayload(f"the NIfTI header of '{name}' has an axis without length", field=name)
    return shape


def _dtype(header: Any, name: str) -> np.dtype[Any]:
    dtype: np.dtype[Any] = np.dtype(header.get_data_dtype())
    if dtype.kind not in _KINDS or dtype.itemsize > 8 or dtype.fields:
        raise WrongDatatype(
            f"'{name}' must hold real integers or floats; complex, RGB and float128 do not go", field=name
        )
    return dtype


def _require_whole(data: bytes, offset: int, size: int, *, name: str, limit: int) -> None:
    if size > limit:
        raise DecompressedTooLarge(f"'{name}' has {size} bytes of voxels, the limit is {limit}", field=name)
    if offset < _LEAST_OFFSET or offset + size != len(data):
        raise MalformedPayload(
            f"'{name}' should have {size} bytes of voxels after {offset} bytes of header; it has {len(data)} in all",
            field=name,
        )


def _finite(voxels: NDArray[Any], slope: float, inter: float) -> bool:
    """Tell whether every value is finite after scaling; nibabel makes 1 and 0 of a slope of 0 or NaN, "not scaled"."""
    # Written so that NaN, which compares as False, counts as not finite.
    return all(abs(extreme * slope + inter) <= _LARGEST for extreme in _extremes(voxels, slope, inter))


def _extremes(voxels: NDArray[Any], slope: float, inter: float) -> tuple[float, float]:
    if voxels.dtype.kind in "iu":
        info = np.iinfo(voxels.dtype)
        if max(abs(info.min * slope + inter), abs(info.max * slope + inter)) <= _LARGEST:
            return 0.0, 0.0  # no value of this type can overflow: nothing to look for
    # min and max carry a NaN through, so two passes without a temporary array tell all.
    return float(voxels.min()), float(voxels.max())


def _require_stated(data: bytes, header: Any, name: str) -> None:
    """Refuse a geometry that nibabel would make up: 1 mm for a voxel size of 0, none for a form that has no name.

    MONAI prefers the sizes to a form that contradicts them: volumes would be wrong by any factor.
    """
    raw = type(header)(data[: header.sizeof_hdr], check=False)
    sizes = np.asarray(raw["pixdim"][1 : min(int(header["dim"][0]), 3) + 1])
    if not np.isfinite(sizes).all() or not sizes.all():
        raise MalformedPayload(f"the NIfTI header of '{name}' has a voxel size of 0, or none", field=name)
    if any(raw[form] != header[form] for form in ("qform_code", "sform_code")):
        raise MalformedPayload(f"the NIfTI header of '{name}' has a geometry of unknown kind", field=name)


def _affine(header: Any, name: str) -> NDArray[np.float64]:
    if int(header["xyzt_units"]) & 7 not in _MM_OR_UNKNOWN:
        # MONAI and nibabel ignore the unit: a file in micrometres would give volumes wrong by 10^9.
        raise MalformedPayload(f"'{name}' must give its lengths in millimetres", field=name)
    try:
        with np.errstate(all="ignore"):
            stated = np.asarray(header.get_best_affine(), np.float64)
            affine = _affine_as_read(header, stated)
            # The stated one too: where it is broken, MONAI goes on with the other form, which nobody vouched for.
            usable = is_usable(stated) and is_usable(affine)
    except Exception as error:  # an impossible quaternion, for one
        raise MalformedPayload(f"the NIfTI header of '{name}' has no valid geometry", field=name) from error
    if not usable:
        raise MalformedPayload(
            f"the affine of '{name}' is not invertible, not finite, or leads beyond a thousand km", field=name
        )
    return affine


def _affine_as_read(header: Any, stated: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the affine that MONAI's reader will use, which is not always the one that the file states.

    Mirrors ``monai.data.utils.correct_nifti_header_if_necessary``: where the chosen form contradicts the voxel
    sizes and the other one does not, MONAI takes the other one.
    """
    rank = int(header["dim"][0])
    if rank >= 5 or _agrees(stated, header, rank):
        return stated
    sform, qform = header.get_sform(), header.get_qform()
    if header["sform_code"] != 0 and not _agrees(sform, header, rank) and _agrees(qform, header, rank):
        return np.asarray(qform, np.float64)
    if header["sform_code"] == 0 and header["qform_code"] != 0 and _agrees(sform, header, rank):
        return np.asarray(sform, np.float64)
    return stated


def _agrees(affine: NDArray[Any], header: Any, rank: int) -> bool:
    lengths = np.sqrt(np.sum(np.square(affine[:rank, :rank]), axis=0))
    return bool(np.allclose(header.get_zooms()[:rank], lengths))


def _spacing(affine: NDArray[np.float64], rank: int) -> tuple[float, ...]:
    return tuple(float(length) for length in np.linalg.norm(affine[:3, : min(rank, 3)], axis=0))
