"""Inputs as bytes and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedside.errors import SpoolFailed
from bedside.jobs.envelope import digest, pack, unpack
from bedside.types import RawInput, RawPart, RawRecord, RawTensor

_parts = st.builds(RawPart, st.none() | st.text(max_size=20), st.text(max_size=20), st.binary(max_size=100))
_records = st.builds(
    RawRecord,
    st.dictionaries(st.text(max_size=8), st.floats(allow_nan=False, allow_infinity=False) | st.none() | st.text()),
)


@given(inputs=st.lists(_parts | _records, max_size=4), size=st.integers(1, 40))
def test_inputs_come_back_as_they_were(inputs: list[RawInput], size: int) -> None:
    """Names, media types and bytes, in order, whatever the pieces that they are read in."""
    whole = pack(inputs)
    assert unpack([whole]) == inputs
    assert unpack(whole[at : at + size] for at in range(0, len(whole), size)) == inputs


def test_the_same_inputs_have_the_same_digest() -> None:
    """Whatever the order of a record's members."""
    one, two = RawRecord({"age": 1, "chol": 2}), RawRecord({"chol": 2, "age": 1})
    assert digest(pack([one])) == digest(pack([two]))
    assert digest(pack([one])) != digest(pack([RawRecord({"age": 1})]))


@given(noise=st.binary(max_size=300))
def test_noise_is_refused_or_read(noise: bytes) -> None:
    """Never another error."""
    try:
        unpack([noise])
    except SpoolFailed:
        return


def test_what_is_cut_off_is_refused() -> None:
    """At every length."""
    whole = pack([RawPart("image", "image/png", b"0123456789")])
    for length in range(len(whole)):
        with pytest.raises(SpoolFailed):
            unpack([whole[:length]])


def test_tensors_are_not_taken() -> None:
    """Jobs take files and records."""
    with pytest.raises(TypeError):
        pack([RawTensor("x", "FP32", (1,), [1.0])])
