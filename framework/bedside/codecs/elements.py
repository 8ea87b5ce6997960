"""Elements of Open Inference Protocol tensors: datatypes, shapes, and the numbers themselves.

The protocol's rule is strict (``data`` holds exactly prod(shape) elements of ``datatype``), and here it is kept:
servers that do not check it answer 200 with a wrong number.
"""

import base64
import binascii
import math
import struct
from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bedside.errors import MalformedPayload, WrongDatatype, WrongShape
from bedside.types import RawTensor

NUMPY_OF: dict[str, np.dtype[Any]] = {
    "UINT8": np.dtype("<u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("<i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
"""Numeric datatypes (Open Inference Protocol, "Tensor Data Types") and their little-endian NumPy types."""

_INTEGERS = frozenset((int,))
_FLOATS = frozenset((int, float, type(None)))  # null, as JSON has no NaN: "missing" where a feature may be
_DEEPEST = 32
_LENGTH_BYTES = 4
_DOUBLE_BYTES = 8
_FEW = 64  # elements


def element_count(tensor: RawTensor) -> int:
    """Return prod(shape).

    Raises:
        WrongShape: there is no axis, or one is zero, negative or not an integer.
    """
    if not tensor.shape or not _INTEGERS.issuperset(map(type, tensor.shape)) or min(tensor.shape) < 1:
        raise WrongShape(f"the shape of '{tensor.name}' must be a list of positive integers", field=tensor.name)
    return math.prod(tensor.shape)


def read_numbers(tensor: RawTensor) -> NDArray[Any]:
    """Return the tensor as an array of its own shape and datatype.

    Raises:
        WrongDatatype: not a numeric datatype of the protocol, or elements that are not of it (true, text, 1.5 as
            INT32, 300 as INT8).
        WrongShape: the number of elements is not prod(shape).
    """
    dtype = _dtype(tensor)
    count = element_count(tensor)
    if isinstance(tensor.data, bytes):
        _require_count(tensor, count * dtype.itemsize, len(tensor.data), "bytes")
        return np.frombuffer(tensor.data, dtype).reshape(tensor.shape)
    flat = _flatten(tensor)
    _require_count(tensor, count, len(flat), "elements")
    return _from_numbers(tensor, flat, dtype).reshape(tensor.shape)


def read_bytes(tensor: RawTensor) -> list[bytes | str]:
    """Return the elements of a BYTES tensor: text from JSON, bytes from the binary tensor extension and from gRPC.

    Raises:
        WrongDatatype: an element of the JSON form is no text.
        WrongShape: the number of elements is not prod(shape).
        MalformedPayload: the binary form is cut short or too long.
    """
    count = element_count(tensor)
    if not isinstance(tensor.data, bytes):
        flat = _flatten(tensor)
        _require_count(tensor, count, len(flat), "elements")
        # bytes: the typed contents of gRPC; JSON has none
        if not all(type(element) is str for element in flat) and not all(type(element) is bytes for element in flat):
            raise WrongDatatype(
                f"'{tensor.name}' is declared as BYTES; in JSON its elements are text", field=tensor.name
            )
        return flat
    elements: list[bytes | str] = []
    for element in _split(tensor.data, tensor.name):
        if len(elements) == count:
            raise WrongShape(f"'{tensor.name}' must have {count} elements; more came", field=tensor.name)
        elements.append(element)
    _require_count(tensor, count, len(elements), "elements")
    return elements


def file_bytes(element: bytes | str, name: str) -> bytes:
    """Return the file in one element of a BYTES tensor; in JSON a file is base64 text (RFC 4648 §4)."""
    if isinstance(element, bytes):
        return element
    try:
        return base64.b64decode(element, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedPayload(f"'{name}' must be a file in base64", field=name) from error


def all_finite(array: NDArray[Any]) -> bool:
    """Tell whether no element is NaN or infinite."""
    if array.dtype.kind != "f":
        return True
    if array.size <= _FEW and array.dtype.itemsize <= _DOUBLE_BYTES:  # NumPy needs longer to begin
        return all(map(math.isfinite, array.ravel().tolist()))
    return bool(np.isfinite(array).all())


def _dtype(tensor: RawTensor) -> np.dtype[Any]:
    dtype = NUMPY_OF.get(tensor.datatype)
    if dtype is None:
        hint = "; send BF16 values as FP32" if tensor.datatype == "BF16" else ""
        raise WrongDatatype(
            f"the datatype of '{tensor.name}' must be one of {', '.join(NUMPY_OF)}{hint}", field=tensor.name
        )
    return dtype


def _require_count(tensor: RawTensor, expected: int, came: int, unit: str) -> None:
    if expected != came:
        raise WrongShape(
            f"'{tensor.name}' must have {expected} {unit} for its shape {list(tensor.shape)}; {came} came",
            field=tensor.name,
        )


def _flatten(tensor: RawTensor) -> list[Any]:
    flat: Any = tensor.data
    for axis in range(1, _DEEPEST):  # the protocol allows nested lists and flat ones, row-major both
        kinds = set(map(type, flat))
        if list not in kinds:
            return list(flat)
        if len(kinds) > 1:
            break
        if {*map(len, flat)} != {*tensor.shape[axis : axis + 1]}:
            # As many elements in other rows would make another image: width and height that were exchanged, for one.
            raise WrongShape(f"the lists of '{tensor.name}' are not as long as its shape says", field=tensor.name)
        flat = list(chain.from_iterable(flat))
    raise WrongShape(f"'{tensor.name}' must have lists of equal depth", field=tensor.name)


def _from_numbers(tensor: RawTensor, flat: list[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    allowed = _FLOATS if dtype.kind == "f" else _INTEGERS
    if not allowed.issuperset(map(type, flat)):
        kind = "numbers" if dtype.kind == "f" else "integers"
        raise WrongDatatype(
            f"'{tensor.name}' is declared as {tensor.datatype}; its elements must be {kind}", field=tensor.name
        )
    if dtype.kind == "f" and len(flat) <= _FEW:
        try:
            return np.frombuffer(struct.pack(f"<{len(flat)}{dtype.char}", *flat), dtype)
        except (OverflowError, struct.error):  # null, and what the slower way looks at
            pass
    try:
        with np.errstate(over="ignore"):  # infinity is found, and named, where the values are checked
            return np.array(flat, np.float64 if dtype.kind == "f" else dtype).astype(dtype, copy=False)
    except OverflowError as error:
        raise WrongDatatype(f"'{tensor.name}' has elements beyond {tensor.datatype}", field=tensor.name) from error


def _split(data: bytes, name: str) -> Iterator[bytes]:
    """Split the binary form of BYTES: 4 little-endian bytes of length before each element."""
    position = 0
    while position < len(data):
        start = position + _LENGTH_BYTES
        position = start + int.from_bytes(data[position:start], "little")
        if start > len(data) or position > len(data):
            raise MalformedPayload(f"the binary data of '{name}' are cut short", field=name)
        yield data[start:position]
