"""Frames between the server and a model's process."""

import json
import pickle
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from bedside.errors import RunFailed
from bedside.runtime import wire
from bedside.types import (
    DecodedArray,
    DecodedInput,
    DecodedRecord,
    DecodedValue,
    OutputArray,
    OutputFile,
    Prediction,
    ValidatedInputs,
)

_DTYPES = st.sampled_from(["uint8", "int16", "int32", "int64", "float16", "float32", "float64", "bool", ">f4"])
_ARRAYS = _DTYPES.flatmap(lambda name: hnp.arrays(np.dtype(name), hnp.array_shapes(min_dims=0, max_dims=4, max_side=4)))
_AFFINES = st.none() | hnp.arrays(np.float64, (4, 4), elements=st.floats(-1e6, 1e6))
_TEXT = st.text(max_size=8)
_OUTPUTS = st.builds(OutputArray, name=_TEXT, stored=_ARRAYS, affine=_AFFINES, narrowed_from=st.none())
MOST_BYTES = 1 << 24
_FILES = st.builds(OutputFile, suffix=st.sampled_from([".txt", ".nii.gz"]), data=st.binary(max_size=64), name=_TEXT)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=8,
)
_PREDICTIONS = st.builds(
    Prediction,
    arrays=st.lists(_OUTPUTS, max_size=3).map(tuple),
    files=st.lists(_FILES, max_size=2).map(tuple),
    seconds=st.dictionaries(st.sampled_from(["preprocess", "inference"]), st.floats(0, 1e3)),
    values=st.dictionaries(_TEXT, _JSON, max_size=3),
)
_INPUTS = st.lists(
    st.builds(DecodedValue, name=st.sampled_from(["points", "label_prompt"]), value=_JSON)
    | st.builds(DecodedArray, name=st.sampled_from(["latent", "noise"]), values=_ARRAYS)
    | st.builds(
        DecodedRecord, name=st.just("features"), values=hnp.arrays(np.float32, st.integers(1, 4)), record=st.just({})
    ),
    unique_by=lambda item: item.name,
)


def reader(data: bytes) -> Callable[[int], bytes]:
    """Return a ``read(n)`` over ``data`` that raises EOFError at its end."""
    position = 0

    def read(length: int) -> bytes:
        nonlocal position
        if position + length > len(data):
            raise EOFError
        position += length
        return data[position - length : position]

    return read


def _equal(left: NDArray[np.float64] | None, right: NDArray[np.float64] | None) -> bool:
    return left is right if left is None or right is None else np.array_equal(left, right)


@given(_PREDICTIONS)
def test_a_prediction_survives_the_way_bit_for_bit(prediction: Prediction) -> None:
    """Names, types, shapes, values, geometry, files, JSON values and times arrive as they were sent."""
    header, buffers = wire.pack_prediction(prediction)
    frame = b"".join(wire.pack(header, buffers))
    arrived = wire.unpack_prediction(*wire.read_frame(reader(frame)), MOST_BYTES)
    assert [(a.name, a.array.dtype, a.array.shape, a.array.tobytes()) for a in arrived.arrays] == [
        (a.name, a.array.dtype, a.array.shape, a.array.tobytes()) for a in prediction.arrays
    ]
    assert all(_equal(a.affine, b.affine) for a, b in zip(arrived.arrays, prediction.arrays, strict=True))
    assert (arrived.files, arrived.seconds, arrived.values) == (prediction.files, prediction.seconds, prediction.values)


@given(st.lists(st.lists(st.binary(max_size=9), max_size=3), max_size=4))
def test_messages_that_were_joined_are_split_again(parts: list[list[bytes]]) -> None:
    """Each gets its own header and its own buffers back."""
    messages = [({"number": number}, buffers) for number, buffers in enumerate(parts)]
    frame = b"".join(wire.pack(*wire.join(messages)))
    arrived = wire.split(*wire.read_frame(reader(frame)))
    assert [(header["number"], buffers) for header, buffers in arrived] == [
        (header["number"], buffers) for header, buffers in messages
    ]


@pytest.mark.parametrize("counts", [[2], [0], [1, 1], [-1], ["x"], []])
def test_messages_whose_buffers_do_not_add_up_are_refused(counts: list[Any]) -> None:
    """A process that lies about them does not give one item another's answer."""
    with pytest.raises((ValueError, TypeError)):
        wire.split({"parts": [{"count": count} for count in counts]}, [b"only"])


@given(_INPUTS)
def test_an_item_survives_the_way_bit_for_bit(items: list[DecodedInput]) -> None:
    """Vectors, JSON values and arrays arrive as they were sent, and so do the paths of staged files."""
    paths: dict[str, str | list[str]] = {"ct": "/staging/input0.nii", "mr": ["/staging/input1.nii", "/input2.nii"]}
    frame = b"".join(wire.pack(*wire.pack_inputs(paths, ValidatedInputs(tuple(items)))))
    arrived = wire.unpack_inputs(*wire.read_frame(reader(frame)))
    assert {name: arrived.pop(name) for name in paths} == paths
    assert list(arrived) == sorted((item.name for item in items), key=list(arrived).index)
    for item in items:
        if isinstance(item, DecodedArray | DecodedRecord):
            found = arrived[item.name]
            assert (found.dtype, found.shape) == (item.values.dtype, item.values.shape)
            assert found.tobytes() == item.values.tobytes()
            assert found.flags.writeable
        elif isinstance(item, DecodedValue):
            assert arrived[item.name] == item.value


def test_an_array_in_fortran_order_arrives_with_its_values() -> None:
    """The layout in memory is not part of the answer."""
    array = np.asfortranarray(np.arange(6).reshape(2, 3))
    header, buffers = wire.pack_prediction(Prediction((OutputArray("pred", array),)))
    (arrived,) = wire.unpack_prediction(header, buffers, MOST_BYTES).arrays
    np.testing.assert_array_equal(arrived.array, array)


@given(st.binary(max_size=200))
def test_garbage_is_refused_and_never_run(garbage: bytes) -> None:
    """Whatever a process writes, reading it gives a frame, ValueError or the end of the stream."""
    try:
        header, buffers = wire.read_frame(reader(garbage))
    except (ValueError, EOFError):
        return
    assert len(buffers) == len(header["buffers"])


def test_a_pickle_is_refused() -> None:
    """Nothing of a model's process is ever unpickled."""
    data = pickle.dumps({"buffers": []})
    with pytest.raises(ValueError, match="UTF-8"):
        wire.read_frame(reader(struct.pack("!I", len(data)) + data))


def test_a_header_over_the_bound_is_refused_before_it_is_read() -> None:
    """A length of four gigabytes allocates nothing."""
    with pytest.raises(ValueError, match="header too long"):
        wire.header_length(struct.pack("!I", wire.MAX_HEADER_BYTES + 1))


@pytest.mark.parametrize(
    "header", [[], {}, {"buffers": 3}, {"buffers": [-1]}, {"buffers": ["1"]}, {"buffers": [1.5]}, {"buffers": [None]}]
)
def test_a_header_without_lengths_is_refused(header: object) -> None:
    """A header is an object whose ``buffers`` are lengths."""
    with pytest.raises(ValueError, match="not a"):
        wire.parse_header(json.dumps(header).encode())


@pytest.mark.parametrize(("lengths", "most"), [([], 0), ([8], 8), ([3, 5], 8), ([0, 0], 0)])
def test_buffers_up_to_the_bound_are_read(lengths: list[int], most: int) -> None:
    """The bound is for all buffers of a frame together, and may be reached."""
    header = wire.parse_header(json.dumps({"buffers": lengths}).encode())
    assert wire.bounded_lengths(header, most) == lengths


@pytest.mark.parametrize(("lengths", "most"), [([9], 8), ([4, 5], 8), ([1] * 9, 8), ([2**62, 2**62], 2**31), ([1], 0)])
def test_buffers_over_the_bound_are_refused_before_they_are_read(lengths: list[int], most: int) -> None:
    """Whatever a process announces, no memory is taken for it."""
    header = wire.parse_header(json.dumps({"buffers": lengths}).encode())
    with pytest.raises(ValueError, match="buffers too long"):
        wire.bounded_lengths(header, most)


@pytest.mark.parametrize("dtype", ["O", "V8", "M8[s]x", "no type"])
def test_an_array_of_objects_cannot_arrive(dtype: str) -> None:
    """An element type that is not plain numbers is refused; pointers of another process mean nothing here."""
    header = {
        "arrays": [{"name": "pred", "dtype": dtype, "narrowed_from": None, "shape": [3], "affine": None}],
        "files": [],
    }
    with pytest.raises((ValueError, TypeError)):
        wire.unpack_prediction(header, [bytes(8)], MOST_BYTES)


@pytest.mark.parametrize("value", [float("nan"), [float("inf")], {"box": np.float32(1)}, {1, 2}])
def test_a_result_that_is_no_json_fails_where_it_was_made(value: Any) -> None:
    """Nobody downstream could tell a score that is NaN from one that is missing."""
    with pytest.raises(RunFailed):
        wire.pack_prediction(Prediction((), values={"score": value}))


def test_values_may_be_larger_than_a_header() -> None:
    """A list of a million landmarks is no reason for a process to end."""
    points = list(range(wire.MAX_HEADER_BYTES // 6))
    prediction = Prediction((), values={"points": points})
    frame = b"".join(wire.pack(*wire.pack_prediction(prediction)))
    assert wire.unpack_prediction(*wire.read_frame(reader(frame)), MOST_BYTES).values == {"points": points}


def test_a_mask_crosses_in_a_quarter_of_its_bytes() -> None:
    """A label map in float32 is numbers that a byte holds; whoever asks for the array gets it bit for bit."""
    mask = np.zeros((128, 64, 64), np.float32)
    mask[32:64] = 117
    header, buffers = wire.pack_prediction(Prediction((OutputArray("pred", mask),)))
    (arrived,) = wire.unpack_prediction(header, buffers, mask.nbytes).arrays
    assert len(buffers[0]) == mask.size
    assert (arrived.stored.dtype.name, arrived.dtype.name) == ("uint8", "float32")
    assert (arrived.array.dtype, arrived.array.tobytes()) == (mask.dtype, mask.tobytes())


@pytest.mark.parametrize("value", [0.5, -0.0, -1.0, 256.0, float("nan"), float("inf")])
def test_one_number_that_no_byte_holds_keeps_the_array_as_it_is(value: float) -> None:
    """Answers are what the bundle answered, whatever it saves to say them shortly."""
    array = np.zeros((128, 64, 64), np.float32)
    array[-1, -1, -1] = value
    assert wire.narrowed(array) is array


@pytest.mark.parametrize("dtype", ["int16", "int64", ">f4", "float64"])
def test_any_type_of_numbers_is_narrowed(dtype: str) -> None:
    """Savers write labels as they like."""
    array = np.full((128, 64, 64), 255, dtype)
    assert wire.narrowed(array).astype(dtype).tobytes() == array.tobytes()


@pytest.mark.parametrize(("own", "most"), [("<f8", 63), ("U9999", 1 << 24), ("O", 1 << 24)])
def test_narrow_arrays_cannot_grow_beyond_the_bound(own: str, most: int) -> None:
    """Eight bytes that say that they were gigabytes are refused."""
    described = {"name": "pred", "dtype": "|u1", "narrowed_from": own, "shape": [8], "affine": None}
    with pytest.raises(ValueError, match=r"arrays too large|a type that"):
        wire.unpack_prediction({"arrays": [described], "files": [], "seconds": {}}, [bytes(8), b""], most)
