"""Messages between the server and a model's process: a JSON header and raw buffers, never pickle.

A model's process runs code that came with a bundle. Unpickling what it sends would run that code in the server.

Frame: 4 bytes length of the header (big-endian), header (JSON, its ``buffers`` lists their lengths), buffers.
"""

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from math import inf
from typing import Any, TypeVar

import numpy as np
import orjson
from numpy.typing import NDArray

from bedside.errors import RunFailed
from bedside.types import (
    DecodedArray,
    DecodedRecord,
    DecodedValue,
    Json,
    OutputArray,
    OutputFile,
    Prediction,
    ValidatedInputs,
)

_LENGTH = struct.Struct("!I")
LENGTH_BYTES = _LENGTH.size
MAX_HEADER_BYTES = 16 * 1024 * 1024
_NUMBERS = "iuf"
_LARGE_BYTES = 1 << 20
_SLAB = 1 << 16
_MOST_STEPS = 1 << 31  # a column of the jobs' table holds no more

Message = dict[str, Any]
_Buffer = TypeVar("_Buffer", bound=bytes | bytearray)
Buffers = Sequence[bytes | memoryview]


def pack(header: Message, buffers: Buffers = ()) -> list[bytes | memoryview]:
    """Return the pieces of one frame, to be written one after the other."""
    data = orjson.dumps({**header, "buffers": [len(buffer) for buffer in buffers]})
    return [_LENGTH.pack(len(data)) + data, *buffers]


def header_length(data: bytes) -> int:
    """Return the length of the header that follows.

    Raises:
        ValueError: it is over the bound; the peer does not speak this protocol.
    """
    (length,) = _LENGTH.unpack(data)
    if length > MAX_HEADER_BYTES:
        raise ValueError("header too long")
    return int(length)


def parse_header(data: bytes) -> Message:
    """Return the header of a frame.

    Raises:
        ValueError: it is not a JSON object with buffer lengths.
    """
    header = orjson.loads(data)
    if not isinstance(header, dict) or not isinstance(header.get("buffers"), list):
        raise ValueError("not a frame header")  # noqa: TRY004 - a value of the wrong form, whatever its type
    if not all(isinstance(length, int) and length >= 0 for length in header["buffers"]):
        raise ValueError("not a length of a buffer")
    return header


def bounded_lengths(header: Message, most_bytes: int) -> list[int]:
    """Return the lengths of the buffers that follow.

    Raises:
        ValueError: together they are over the bound. A peer may announce what it likes; it gets no memory for it.
    """
    lengths: list[int] = header["buffers"]
    if sum(lengths) > most_bytes:
        raise ValueError("buffers too long")
    return lengths


def read_frame(read: Callable[[int], bytes]) -> tuple[Message, list[bytes]]:
    """Read one frame with a blocking ``read(n)`` that returns exactly n bytes or raises EOFError."""
    header = parse_header(read(header_length(read(LENGTH_BYTES))))
    return header, [read(length) for length in header["buffers"]]


def join(messages: Sequence[tuple[Message, Sequence[bytes]]]) -> tuple[Message, list[bytes]]:
    """Return several messages as one: the items of a batch cross the wire together, and so do their answers."""
    parts = [{**header, "count": len(buffers)} for header, buffers in messages]
    return {"parts": parts}, [buffer for _, buffers in messages for buffer in buffers]


def split(header: Message, buffers: Sequence[_Buffer]) -> list[tuple[Message, list[_Buffer]]]:
    """Return the messages that :func:`join` put together.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: nothing that :func:`join` gives.
    """
    rest = iter(buffers)
    messages = [(part, list(islice(rest, part["count"]))) for part in header["parts"]]
    if any(len(taken) != part["count"] for part, taken in messages) or next(rest, None) is not None:
        raise ValueError("not the number of buffers")
    return messages


def pack_inputs(paths: Mapping[str, str | list[str]], inputs: ValidatedInputs) -> tuple[Message, list[bytes]]:
    """Return header and buffers of one item: paths of staged images, vectors, JSON values, arrays."""
    records = [item for item in inputs.items if isinstance(item, DecodedRecord)]
    header: Message = {"paths": paths, "records": [item.name for item in records]}
    buffers = [item.values.tobytes() for item in records]
    # A buffer of its own: it may be larger than a header.
    values = {item.name: item.value for item in inputs.items if isinstance(item, DecodedValue)}
    buffers.append(orjson.dumps(values) if values else b"")
    arrays = [item for item in inputs.items if isinstance(item, DecodedArray)]
    if arrays:
        header["arrays"] = [{"name": a.name, "dtype": a.values.dtype.str, "shape": a.values.shape} for a in arrays]
    return header, [*buffers, *(item.values.tobytes() for item in arrays)]


def unpack_inputs(header: Message, buffers: Sequence[bytes]) -> dict[str, Any]:
    """Return the item dictionary of what :func:`pack_inputs` took apart; its arrays may be written to."""
    item: dict[str, Any] = dict(header["paths"])
    records, arrays = header["records"], header.get("arrays", ())
    for name, buffer in zip(records, buffers, strict=False):
        item[name] = np.frombuffer(buffer, dtype=np.float32).copy()
    values, *rest = buffers[len(records) :]
    if values:
        item.update(orjson.loads(values))
    for described, buffer in zip(arrays, rest, strict=True):
        array = np.frombuffer(buffer, dtype=np.dtype(described["dtype"]))
        item[described["name"]] = array.reshape(described["shape"]).copy()
    return item


def narrowed(array: NDArray[Any]) -> NDArray[Any]:
    """Return a large array as uint8 where that says the same bit for bit, else as it is.

    Models answer masks in float32, of four times the bytes: in the channel, and in the server until they are encoded.
    """
    if array.nbytes < _LARGE_BYTES or array.dtype.itemsize == 1 or array.dtype.kind not in _NUMBERS:
        return array
    flat, small = array.reshape(-1), np.empty(array.size, np.uint8)
    with np.errstate(invalid="ignore"):  # NaN; it does not come back
        for start in range(0, flat.size, _SLAB):
            slab, part = flat[start : start + _SLAB], small[start : start + _SLAB]
            part[:] = slab.astype(np.uint8)
            if part.astype(array.dtype).tobytes() != slab.tobytes():  # of floats, also -0.0 is another
                return array
    return small.reshape(array.shape)


def pack_prediction(prediction: Prediction) -> tuple[Message, list[bytes]]:
    """Return header and buffers of a prediction.

    Raises:
        RunFailed: one of its values is not JSON (NaN and infinity are not, RFC 8259 §6).
    """
    own = [np.asarray(item.array, order="C") for item in prediction.arrays]  # keeps a scalar without axes
    arrays = list(map(narrowed, own))
    header = {
        "arrays": [
            {
                "name": item.name,
                "dtype": array.dtype.str,
                "narrowed_from": None if array is whole else whole.dtype.str,
                "shape": array.shape,
                "affine": None if item.affine is None else item.affine.ravel().tolist(),
            }
            for item, array, whole in zip(prediction.arrays, arrays, own, strict=True)
        ],
        "files": [[file.suffix, file.name] for file in prediction.files],
        "seconds": dict(prediction.seconds),
    }
    values = _json(prediction.values) if prediction.values else b""
    return header, [*(array.tobytes() for array in arrays), *(file.data for file in prediction.files), values]


def _json(values: Mapping[str, Json]) -> bytes:
    try:
        # Not orjson: it would write null for a score that is NaN.
        return json.dumps(values, allow_nan=False).encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise RunFailed(cause=type(error).__name__, where="a result that is no JSON value") from error


def unpack_prediction(header: Message, buffers: Sequence[bytes | bytearray], most_bytes: int) -> Prediction:
    """Return the prediction that :func:`pack_prediction` took apart.

    Raises:
        ValueError, KeyError, TypeError: nothing that :func:`pack_prediction` gives, or its arrays take more than
            ``most_bytes`` together in the bundle's own types.
    """
    arrays = []
    for described, buffer in zip(header["arrays"], buffers, strict=False):
        array = np.frombuffer(buffer, dtype=np.dtype(described["dtype"])).reshape(described["shape"])
        flat = described["affine"]
        affine = None if flat is None else np.array(flat, dtype=np.float64).reshape(4, 4)
        arrays.append(OutputArray(str(described["name"]), array, affine, _own_type(described["narrowed_from"])))
    if sum(found.stored.size * found.dtype.itemsize for found in arrays) > most_bytes:
        raise ValueError("arrays too large")
    *rest, values = buffers[len(arrays) :]
    files = tuple(
        OutputFile(str(suffix), bytes(data), str(name))
        for (suffix, name), data in zip(header["files"], rest, strict=True)
    )
    seconds = {str(stage): _seconds(value) for stage, value in header["seconds"].items()}
    return Prediction(tuple(arrays), files, seconds, dict(orjson.loads(values)) if values else {})


def _own_type(name: str | None) -> np.dtype[Any] | None:
    found = None if name is None else np.dtype(name)
    if found is not None and found.kind not in _NUMBERS:
        raise ValueError("a type that nothing is narrowed from")
    return found


def unpack_progress(value: Any) -> tuple[int, int]:
    """Return steps done and in all. Raises ValueError, TypeError: they are none."""
    done, total = value
    if not (type(done) is int and type(total) is int and 0 <= done <= total < _MOST_STEPS):
        raise ValueError("no steps done and in all")
    return done, total


def _seconds(value: Any) -> float:
    spent = float(value)
    if not 0 <= spent < inf:
        raise ValueError("no time that anything can have taken")
    return spent
