"""Frames on a grid become one NIfTI volume: rescaled slice by slice, in float64, rounded once.

int16 where the rescaled range of the stored type is whole numbers within it, so that the choice hangs on headers alone;
else float32. float32 is enough where neighbouring stored values stay apart, which is checked: the error is then below
half of what one stored step means (docs/decisions/0096).
"""

import io
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bedside.bundle.dicom_policy import DicomPolicy
from bedside.codecs.dicom.frames import Frame
from bedside.codecs.dicom.guard import Stack
from bedside.codecs.dicom.pixels import padding_of, stored_values
from bedside.codecs.dicom.regrid import mend
from bedside.codecs.dicom.tags import text
from bedside.codecs.nifti import nifti_header
from bedside.errors import PaddingPixels, PrecisionLost, ValueOverflow

_LARGEST = float(np.finfo(np.float32).max)
_SCALELESS = ("MR",)  # arbitrary units: what scanners write outside of the image is what models were trained on


def build(stacked: Stack, policy: DicomPolicy) -> tuple[bytes, np.dtype[Any], tuple[int, int, int]]:
    """Return the volume as an uncompressed NIfTI file, its element type and its shape (columns, rows, slices).

    Raises:
        DicomRefused: pixels are damaged, or values cannot be held.
    """
    frames = stacked.frames
    rows, columns = frames[0].size
    shape = (columns, rows, len(frames))
    dtype = _dtype(stacked, policy)
    header = nifti_header(dtype, shape, stacked.affine)
    # Header and voxels exist once: CPython's BytesIO gives away the very bytes that were filled through its buffer.
    file = io.BytesIO()
    file.seek(len(header) + dtype.itemsize * rows * columns * len(frames) - 1)
    file.write(b"\0")
    buffer = file.getbuffer()
    buffer[: len(header)] = header
    _fill(buffer[len(header) :], dtype, shape, stacked, policy)
    buffer.release()
    return file.getvalue(), dtype, shape


def _fill(
    buffer: memoryview, dtype: np.dtype[Any], shape: tuple[int, int, int], stacked: Stack, policy: DicomPolicy
) -> None:
    volume = np.frombuffer(buffer, dtype).reshape(shape, order="F")
    places = {id(frame): place for place, frame in enumerate(stacked.frames)}
    for frame, stored in _all_stored(stacked.frames):
        volume[:, :, places[id(frame)]] = _rescaled(frame, stored, policy, whole=dtype.kind == "i").T
    if stacked.offsets is not None:
        mend(volume, stacked.offsets)


def _all_stored(frames: tuple[Frame, ...]) -> Iterator[tuple[Frame, NDArray[Any]]]:
    by_file = sorted(frames, key=lambda frame: id(frame.instance))
    for _, members in groupby(by_file, key=lambda frame: id(frame.instance)):
        yield from stored_values(list(members))


def _dtype(stacked: Stack, policy: DicomPolicy) -> np.dtype[Any]:
    numbers = [(frame.slope, frame.intercept) for frame in stacked.frames]
    whole = all(float(number).is_integer() for pair in numbers for number in pair)
    whole = whole and stacked.offsets is None and isinstance(policy.padding, str)
    low, high = stacked.frames[0].pixels.bounds
    reached = [slope * bound + intercept for slope, intercept in numbers for bound in (low, high)]
    return np.dtype("<i2" if whole and min(reached) >= -(2**15) and max(reached) < 2**15 else "<f4")


def _rescaled(frame: Frame, stored: NDArray[Any], policy: DicomPolicy, *, whole: bool) -> NDArray[Any]:
    """Return what stored values mean; with ``whole``, all of them are known to be whole numbers that int16 holds."""
    padding = padding_of(frame, stored)
    padded = padding is not None and text(frame.instance.header, "Modality") not in _SCALELESS and bool(padding.any())
    if padded and policy.padding == "refuse":
        raise PaddingPixels(instances=[frame.uid])
    if whole:  # exact in integers, and in a fraction of the time
        return stored.astype(np.int32) * np.int32(frame.slope) + np.int32(frame.intercept)
    values = stored * np.float64(frame.slope) + frame.intercept
    if padded and not isinstance(policy.padding, str):
        values[padding] = policy.padding
    largest = float(np.abs(values).max())
    if not largest <= _LARGEST:
        raise ValueOverflow(instances=[frame.uid])
    if float(np.spacing(np.float32(largest))) > abs(frame.slope):
        raise PrecisionLost(instances=[frame.uid])
    return values
