"""Looks through an ONNX model for data outside the bundle, without the ONNX library.

Protocol buffers are read by field number (onnx/onnx.proto); what is not listed below is skipped. ONNX's checker let
``external_data`` leave the model's folder more than once (CVE-2022-25882, CVE-2024-27318).
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from bedside.bundle.vetting.findings import Refused, shown

_LENGTH_DELIMITED = 2
_SKIPPED = {1: 8, 5: 4}  # fixed 64 and 32 bits
_DEPTH = 64
_LARGEST = 2**31 - 1  # protocol buffers end there; larger models have their data beside them

# message → field number → message inside it
_MESSAGES = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "external"},
    "external": {},
}


def judge_onnx(path: Path, root: Path) -> list[str]:
    """Return the files that hold the model's data, below ``root``.

    Raises:
        Refused: the file is no ONNX model, or names data outside the bundle.
    """
    if path.stat().st_size > _LARGEST:
        raise Refused("onnx", "is larger than a protocol buffer can be")
    data = memoryview(path.read_bytes())
    locations: list[str] = []
    try:
        for location in _locations(data, "model", 0):
            _judge_location(location, path, root)
            locations.append(location)
    except (IndexError, ValueError):
        raise Refused("onnx", "is no ONNX model from end to end") from None
    return sorted(set(locations))


def _judge_location(location: str, path: Path, root: Path) -> None:
    pure = PurePosixPath(location)
    inside = not pure.is_absolute() and ".." not in pure.parts and "\\" not in location and "\0" not in location
    if not inside or not (path.parent / location).resolve().is_relative_to(root.resolve()):
        raise Refused("onnx", f"its data is said to lie in '{shown(location)}', outside the bundle")


def _locations(data: memoryview, message: str, depth: int) -> Iterator[str]:
    if depth > _DEPTH:
        raise ValueError
    if message == "external":
        entry = dict(_fields(data))
        if bytes(entry.get(1, b"")) == b"location":
            yield bytes(entry.get(2, b"")).decode("utf-8")
        return
    for number, value in _fields(data):
        inner = _MESSAGES[message].get(number)
        if inner is not None:
            yield from _locations(value, inner, depth + 1)


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield the length-delimited fields of one message. Raises IndexError, ValueError where it is cut or broken."""
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        kind = key & 7
        if kind == _LENGTH_DELIMITED:
            length, position = _varint(data, position)
            if length > len(data) - position:
                raise ValueError
            yield key >> 3, data[position : position + length]
            position += length
        elif kind == 0:
            _, position = _varint(data, position)
        else:
            position += _SKIPPED.get(kind, len(data) + 1)  # groups have not been used since proto2
    if position != len(data):
        raise ValueError


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 64, 7):
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError
