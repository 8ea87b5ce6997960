"""NumPy ``.npy`` arrays (NEP 1): never pickled objects, never archives.

MONAI's ``NumpyReader`` takes every axis as spatial, so that is how the shape is described.
"""

import io
import math
from typing import Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from bedside.codecs.sniff import FileKind
from bedside.errors import DecompressedTooLarge, MalformedPayload, WrongDatatype
from bedside.types import DecodedArray, DecodedImage

_KINDS = "biuf"
_LARGEST = float(np.finfo(np.float32).max)


def decode_npy(data: bytes, *, name: str, limit: int) -> DecodedImage:
    """Check a ``.npy`` file and describe it; C and Fortran order are both read.

    Raises:
        MalformedPayload: the header cannot be read, or the data are cut short or too long.
        DecompressedTooLarge: the header asks for more than ``limit`` bytes.
        WrongDatatype: objects, text, dates, complex or structured elements.
    """
    shape, dtype, offset = _read_header(data, name)
    if dtype.kind not in _KINDS or dtype.itemsize > 8:
        raise WrongDatatype(f"'{name}' must hold booleans, integers or floats", field=name)
    size = math.prod(shape) * dtype.itemsize
    if size > limit:
        raise DecompressedTooLarge(f"'{name}' has {size} bytes of elements, the limit is {limit}", field=name)
    if offset + size != len(data):
        raise MalformedPayload(
            f"'{name}' should have {size} bytes of elements after its header; it has {len(data) - offset}", field=name
        )
    return DecodedImage(
        name=name,
        payload=data,
        suffix=".npy",
        shape=shape,
        spatial_dims=len(shape),
        channels=1,
        dtype=dtype.newbyteorder("=").name,
        finite=is_finite(np.frombuffer(data, dtype, math.prod(shape), offset)),
    )


def decode_array(data: bytes, kind: FileKind, *, name: str, limit: int) -> DecodedArray:
    """Decode a ``.npy`` file whose array goes to the bundle as it is; ``kind`` is what the bytes are.

    Raises:
        MalformedPayload: something else than a ``.npy`` file. Also what :func:`decode_npy` raises.
    """
    if kind != "npy":
        raise MalformedPayload(f"'{name}' must be one .npy array", field=name)
    decode_npy(data, name=name, limit=limit)
    array = np.load(io.BytesIO(data), allow_pickle=False)
    return DecodedArray(name, np.ascontiguousarray(array, array.dtype.newbyteorder("=")))


def encode_npy(array: NDArray[Any]) -> bytes:
    """Return ``array`` as a ``.npy`` file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def is_finite(values: NDArray[Any]) -> bool:
    """Tell whether every value is finite as float32, the type that MONAI's ``LoadImage`` makes of it."""
    if values.dtype.kind != "f" or values.size == 0:
        return True
    # min and max carry a NaN through: no temporary array of the image's size.
    return bool(abs(float(values.min())) <= _LARGEST and abs(float(values.max())) <= _LARGEST)


def _read_header(data: bytes, name: str) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    stream = io.BytesIO(data)
    try:
        version = npy_format.read_magic(stream)
        read = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
        shape, _, dtype = read(stream, max_header_size=4096)
    except Exception as error:  # a parser fed with arbitrary bytes raises anything
        raise MalformedPayload(f"the .npy header of '{name}' cannot be read", field=name) from error
    if any(length < 0 for length in shape):
        raise MalformedPayload(f"the .npy header of '{name}' has a negative axis length", field=name)
    return tuple(shape), dtype, stream.tell()
