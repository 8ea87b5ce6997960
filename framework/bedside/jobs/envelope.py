"""A request's inputs as one block of bytes, as they came and before they were decoded.

Eight bytes of length, a JSON list that describes the inputs, then their bytes one after the other. File names were
dropped by the transport that took the request.
"""

import hashlib
import io
from collections.abc import Iterable, Sequence
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


def unpack(chunks: Iterable[bytes]) -> list[RawInput]:
    """Return what :func:`pack` was given; a study is in memory once, not as an envelope besides.

    Args:
        chunks: the bytes, in pieces.

    Raises:
        SpoolFailed: the bytes are no envelope.
    """
    source = _Chunks(chunks)
    try:
        described = orjson.loads(source.take(int.from_bytes(source.take(_LENGTH_BYTES), "big")))
        return [_read(item, source) for item in described]
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


def _read(item: dict[str, Any], source: "_Chunks") -> RawInput:
    if "record" in item:
        return RawRecord(item["record"])
    return RawPart(item["name"], item["media_type"], source.take(item["bytes"]))


class _Chunks:
    """Bytes that come in pieces, taken in others."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = memoryview(b"")

    def take(self, count: int) -> bytes:
        """Return the next bytes. Raises ValueError where there are fewer."""
        taken = io.BytesIO()  # gives its own bytes away, so that they are never there twice
        while taken.tell() < count:
            self._rest = self._rest or memoryview(next(self._chunks, b""))
            if not self._rest:
                raise ValueError("shorter than described")
            self._rest = self._rest[taken.write(self._rest[: count - taken.tell()]) :]
        return taken.getvalue()
