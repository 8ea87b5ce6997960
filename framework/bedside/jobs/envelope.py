"""A request's inputs as one block of bytes, as they came and before they were decoded.

Eight bytes of length, a JSON list that describes the inputs, then their bytes one after the other. File names were
dropped by the transport that took the request.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from bedside.errors import SpoolFailed
from bedside.types import RawInput, RawPart, RawRecord

_LENGTH_BYTES = 8


def pack(inputs: Sequence[RawInput]) -> bytes:
    """Return parts and records as bytes.

    Raises:
        TypeError: a tensor: jobs take files and records.
    """
    described = orjson.dumps([_described(item) for item in inputs], option=orjson.OPT_SORT_KEYS)
    data = [item.data for item in inputs if isinstance(item, RawPart)]
    return b"".join((len(described).to_bytes(_LENGTH_BYTES, "big"), described, *data))


def unpack(data: bytes) -> list[RawInput]:
    """Return what :func:`pack` was given.

    Raises:
        SpoolFailed: the bytes are no envelope.
    """
    start = _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES], "big")
    try:
        described = orjson.loads(data[_LENGTH_BYTES:start])
        return list(_read(described, data, start))
    except (ValueError, KeyError, TypeError) as error:
        raise SpoolFailed("a job's input is not readable") from error


def digest(envelope: bytes) -> str:
    """Return the hex SHA-256 of an envelope: the same inputs have the same."""
    return hashlib.sha256(envelope).hexdigest()


def _described(item: RawInput) -> dict[str, Any]:
    if isinstance(item, RawPart):
        return {"name": item.name, "media_type": item.media_type, "bytes": len(item.data)}
    if isinstance(item, RawRecord):
        return {"record": dict(item.values)}
    raise TypeError("a job takes files and records, no tensors")


def _read(described: Sequence[dict[str, Any]], data: bytes, start: int) -> Iterator[RawInput]:
    for item in described:
        if "record" in item:
            yield RawRecord(item["record"])
            continue
        end = start + item["bytes"]
        if end > len(data):
            raise ValueError("shorter than described")
        yield RawPart(item["name"], item["media_type"], data[start:end])
        start = end
