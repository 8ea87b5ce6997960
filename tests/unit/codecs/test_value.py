"""JSON values: what is no JSON, or would harm, is refused by name; the rest arrives as it was sent."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedside.bundle.contract import InputSpec
from bedside.codecs import Codecs
from bedside.codecs.value import decode_document, decode_value
from bedside.errors import (
    BedsideError,
    MalformedPayload,
    MissingInput,
    PayloadTooLarge,
    RequestError,
    UnknownInput,
    UnsupportedMediaType,
)
from bedside.settings import LimitSettings
from bedside.types import RawPart

POINTS = InputSpec("points", "value")
LIMITS = LimitSettings(json_depth=8, json_bytes=4096)
_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)


@given(_VALUES)
def test_a_value_arrives_as_it_was_sent(value: Any) -> None:
    """Lists, objects, numbers, texts, true, false and null."""
    assert decode_value(json.dumps(value).encode(), "", POINTS, LimitSettings()).value == value


@given(st.binary(max_size=200) | st.text('[]{}",:0e-', max_size=200).map(str.encode))
def test_whatever_comes_is_json_or_refused_by_name(data: bytes) -> None:
    """Bytes never raise anything but an error that the caller can mend, with the input's name."""
    refused = None
    try:
        decode_value(data, "application/json", POINTS, LIMITS)
    except RequestError as error:
        refused = error
    assert refused is None or refused.field == "points"


@pytest.mark.parametrize(
    ("data", "media_type", "error"),
    [
        (b"", "", MalformedPayload),
        (b"[1,", "", MalformedPayload),
        (b"NaN", "", MalformedPayload),
        (b"[Infinity]", "", MalformedPayload),
        (b"\xff", "", MalformedPayload),
        (b'{"a": 1, "a": 2}', "", MalformedPayload),
        (b'[{"b": {"a": 1, "a": 2}}]', "", MalformedPayload),
        (b"[" * 9 + b"]" * 9, "", MalformedPayload),
        (b"[" * 2000 + b"]" * 2000, "", MalformedPayload),
        (b'{"a":' * 9 + b"1" + b"}" * 9, "", MalformedPayload),
        (b"[" + b"1," * 2048 + b"1]", "", PayloadTooLarge),
        (b"[]", "image/png", UnsupportedMediaType),
        (b"[]", "text/plain", UnsupportedMediaType),
    ],
)
def test_what_cannot_be_used_is_refused(data: bytes, media_type: str, error: type[BedsideError]) -> None:
    """By the name of the input, and without a word of what was sent."""
    with pytest.raises(error) as caught:
        decode_value(data, media_type, POINTS, LIMITS)
    assert (type(caught.value), caught.value.field) == (error, "points")


@pytest.mark.parametrize("data", [b"[" * 8 + b"]" * 8, b'["a:b", {"c": "d:e"}]', b"3", b'"liver"', b"null"])
def test_what_keeps_the_limits_passes(data: bytes) -> None:
    """Eight levels are eight; a colon in a text is no member."""
    assert Codecs(LIMITS).decode_part(RawPart("points", "", data), POINTS)


def test_a_document_has_a_member_per_input() -> None:
    """Optional ones may be left out, and no other may come."""
    specs = (POINTS, InputSpec("labels", "value", optional=True), InputSpec("image", "image", optional=True))
    assert [item.name for item in decode_document({"points": [1]}, specs, LIMITS)] == ["points"]
    assert decode_document({}, (), LIMITS) == ()
    for member, field in (("point", "point"), ("DOE^JOHN", "body"), ("image", "image")):
        with pytest.raises(UnknownInput) as caught:
            decode_document({member: 1}, specs, LIMITS)
        assert caught.value.field == field
        assert "DOE" not in caught.value.detail
    with pytest.raises(MalformedPayload, match="deeper than 8"):
        decode_document({"points": [[[[[[[[[1]]]]]]]]]}, specs, LIMITS)


def test_a_document_cannot_stand_for_an_image() -> None:
    """The caller learns what else must come, and how."""
    with pytest.raises(MissingInput, match="multipart/form-data") as caught:
        decode_document({"points": []}, (POINTS, InputSpec("image", "image")), LIMITS)
    assert caught.value.field == "image"
