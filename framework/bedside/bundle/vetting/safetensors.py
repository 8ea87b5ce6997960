"""Checks a safetensors file's header: every tensor within the file, none on top of another.

The format: https://huggingface.co/docs/safetensors, "Format": eight bytes of header length, a JSON header, the data.
"""

import json
import struct
from math import prod
from pathlib import Path
from typing import Any

from bedside.bundle.vetting.findings import Refused, shown

_HEADER_BYTES = 100_000_000  # the limit of the reference implementation
_BITS = {"F64": 64, "I64": 64, "U64": 64, "C64": 64, "F32": 32, "I32": 32, "U32": 32, "F16": 16, "BF16": 16, "I16": 16}
_BITS |= {"U16": 16, "I8": 8, "U8": 8, "BOOL": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F4": 4}


def judge_safetensors(path: Path) -> int:
    """Return the number of tensors.

    Raises:
        Refused: the header contradicts itself or the file.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        head = stream.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else size
        if length > min(_HEADER_BYTES, size - 8):
            raise Refused("safetensors", "the header is longer than the file")
        text = stream.read(length)
    header = _parsed(text)
    spans = sorted(_span(name, entry) for name, entry in header.items() if name != "__metadata__")
    end = 0
    for begin, stop in spans:
        if begin != end:
            raise Refused("safetensors", "tensors overlap, or leave a hole between them")
        end = stop
    if end != size - 8 - length:
        raise Refused("safetensors", "the data is longer or shorter than the header says")
    return len(spans)


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        header = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        raise Refused("safetensors", "the header is no JSON") from None
    if not isinstance(header, dict):
        raise Refused("safetensors", "the header is no JSON object")
    return header


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) != len(pairs):
        raise ValueError
    return entries


def _span(name: str, entry: Any) -> tuple[int, int]:
    try:
        begin, end = entry["data_offsets"]
        shape, bits = entry["shape"], _BITS[entry["dtype"]]
    except (KeyError, TypeError, ValueError):
        raise Refused("safetensors", f"the tensor '{shown(name)}' is not described") from None
    numbers = [begin, end, *shape] if isinstance(shape, list) else [None]
    if not all(type(number) is int and number >= 0 for number in numbers):
        raise Refused("safetensors", f"the tensor '{shown(name)}' has a size that is no number")
    if prod(shape) * bits != (end - begin) * 8:
        raise Refused("safetensors", f"the tensor '{shown(name)}' has not the bytes that its shape needs")
    return begin, end
