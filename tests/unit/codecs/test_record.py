"""Records of named numbers."""

import math

import numpy as np
import orjson
import pytest

from bedside.bundle.contract import RECORD_MEDIA_TYPES, FeatureSpec, InputSpec
from bedside.codecs import Codecs
from bedside.codecs.record import decode_values
from bedside.errors import (
    BedsideError,
    MalformedPayload,
    MissingFeature,
    NonFiniteValue,
    PayloadTooLarge,
    UnknownFeature,
    WrongDatatype,
)
from bedside.types import DecodedRecord, RawPart, RawRecord

SPEC = InputSpec(
    "patient",
    "record",
    RECORD_MEDIA_TYPES,
    features=(FeatureSpec("age"), FeatureSpec("chol"), FeatureSpec("thal", nullable=True)),
)
GOOD = {"age": 63, "chol": 233.5, "thal": 6}


def decode(codecs: Codecs, body: bytes) -> DecodedRecord:
    """Decode a JSON body."""
    decoded = codecs.decode_part(RawPart(None, "application/json", body), SPEC)
    assert isinstance(decoded, DecodedRecord)
    return decoded


def test_values_come_in_the_contracts_order(codecs: Codecs) -> None:
    """Whatever the order of the members; what was sent is kept beside it."""
    record = decode(codecs, orjson.dumps(dict(reversed(GOOD.items()))))
    np.testing.assert_array_equal(record.values, np.array([63, 233.5, 6], np.float32))
    assert record.values.dtype == np.float32
    assert record.values.flags.writeable
    assert record.record == GOOD


@pytest.mark.parametrize("missing", [None, "?", ""])
def test_missing_values_are_nan_where_they_may_be(codecs: Codecs, missing: str | None) -> None:
    """Null and the data set's own ``?`` say the same thing."""
    assert math.isnan(decode(codecs, orjson.dumps({**GOOD, "thal": missing})).values[2])


@pytest.mark.parametrize("missing", [None, "?", ""])
def test_a_record_without_any_value_is_refused(codecs: Codecs, missing: str | None) -> None:
    """Each feature may be missing, all of them at once are no patient."""
    features = (FeatureSpec("age", nullable=True), FeatureSpec("chol", nullable=True))
    spec = InputSpec("patient", "record", RECORD_MEDIA_TYPES, features=features)
    with pytest.raises(MissingFeature, match="every feature") as caught:
        codecs.decode_record(RawRecord({"age": missing, "chol": None}), spec)
    assert caught.value.field == "patient"
    assert math.isnan(decode_values({"age": missing, "chol": 1}, spec).values[0])


@pytest.mark.parametrize(
    ("changes", "error", "field"),
    [
        ({"agee": 1}, UnknownFeature, "agee"),
        ({"DOE^JOHN": 1}, UnknownFeature, "patient"),
        ({"age": None}, MissingFeature, "age"),
        ({"age": "?"}, WrongDatatype, "age"),
        ({"age": "63"}, WrongDatatype, "age"),
        ({"thal": "63"}, WrongDatatype, "thal"),
        ({"age": True}, WrongDatatype, "age"),
        ({"thal": False}, WrongDatatype, "thal"),
        ({"age": [63]}, WrongDatatype, "age"),
        ({"age": {"value": 63}}, WrongDatatype, "age"),
        ({"thal": []}, WrongDatatype, "thal"),
        ({"age": 1e39}, NonFiniteValue, "age"),
        ({"chol": -1e39}, NonFiniteValue, "chol"),
    ],
)
def test_what_is_wrong_is_named(
    codecs: Codecs, changes: dict[str, object], error: type[BedsideError], field: str
) -> None:
    """Every refusal names the feature, and repeats no value of the caller."""
    with pytest.raises(error) as caught:
        decode(codecs, orjson.dumps({**GOOD, **changes}))
    assert caught.value.field == field
    assert "DOE" not in caught.value.detail


def test_a_feature_that_did_not_come_is_missing(codecs: Codecs) -> None:
    """Also one that may be missing must be named: forgetting it and not knowing it are two things."""
    for name in GOOD:
        with pytest.raises(MissingFeature) as caught:
            decode(codecs, orjson.dumps({key: value for key, value in GOOD.items() if key != name}))
        assert caught.value.field == name


@pytest.mark.parametrize(
    "body",
    [
        b'{"age": NaN, "chol": 1, "thal": 1}',
        b'{"age": 1e999, "chol": 1, "thal": 1}',
        b'{"age": 1,',
        b"[1, 2, 3]",
        b'{"age": 1, "age": 2, "chol": 1, "thal": 1}',
        b'{"age": 1, "\\u0061ge": 2, "chol": 1, "thal": 1}',
        b'{"P:1": 1, "P:1": 2}',
        b"\xff{}",
    ],
)
def test_what_is_no_json_object_is_malformed(codecs: Codecs, body: bytes) -> None:
    """Also NaN, which is not JSON, and a member that comes twice, which has no meaning to choose."""
    with pytest.raises(MalformedPayload) as caught:
        decode(codecs, body)
    assert caught.value.field in {"patient", "age"}


def test_duplicates_of_patient_names_are_not_repeated(codecs: Codecs) -> None:
    """Only plain identifiers are ever repeated."""
    with pytest.raises(MalformedPayload, match="not shown"):
        decode(codecs, b'{"Doe, John": 1, "Doe, John": 2}')


def test_colons_in_names_cost_a_closer_look_only(codecs: Codecs) -> None:
    """The quick count of colons is a filter, not a verdict."""
    with pytest.raises(UnknownFeature):
        decode(codecs, b'{"a:b": 1, "age": 1, "chol": 1, "thal": 1}')


def test_deep_nesting_is_refused(codecs: Codecs) -> None:
    """Nesting beyond the parser's depth is an error of the caller, not a crash."""
    with pytest.raises((MalformedPayload, WrongDatatype)):
        decode(codecs, b'{"age":' + b"[" * 1500 + b"]" * 1500 + b"}")


def test_long_json_is_refused_unparsed(codecs: Codecs) -> None:
    """The limit on JSON is much smaller than that on files."""
    with pytest.raises(PayloadTooLarge):
        decode(codecs, b'{"age": 1' + b" " * 5000 + b"}")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**400])
def test_records_parsed_elsewhere_are_checked_too(codecs: Codecs, value: float) -> None:
    """A transport's own JSON parser may let NaN through."""
    with pytest.raises(NonFiniteValue):
        codecs.decode_record(RawRecord({**GOOD, "age": value}), SPEC)


def test_specs_are_bound_once_each(codecs: Codecs) -> None:
    """Different specs of the same name do not get mixed up, however many there are."""
    for count in range(1, 1100):
        spec = InputSpec("patient", "record", features=tuple(FeatureSpec(f"f{i}") for i in range(count % 3 + 1)))
        record = codecs.decode_record(RawRecord({f"f{i}": i for i in range(count % 3 + 1)}), spec)
        assert record.values.shape == (count % 3 + 1,)
