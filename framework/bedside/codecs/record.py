"""Records of named numbers (tabular models): JSON objects in, float32 vectors in the contract's order.

The path of a correct record is short on purpose: it is most of what stage 4 costs a tabular model. Whatever it
cannot take is looked at again by :func:`_explain`, which finds the field and says what is wrong with it.
"""

import json
import struct
from collections.abc import Callable, Mapping
from math import isfinite, isnan
from operator import itemgetter
from typing import Any

import numpy as np
import orjson

from bedside.bundle.contract import FeatureSpec, InputSpec
from bedside.bundle.remembered import Remembered
from bedside.errors import MalformedPayload, MissingFeature, NonFiniteValue, UnknownFeature, WrongDatatype, echo
from bedside.types import DecodedRecord

_NUMBERS = frozenset((int, float))
_MISSING = (None, "?", "")
_LARGEST = float(np.finfo(np.float32).max)


def parse_object(data: bytes, name: str) -> Mapping[str, Any]:
    """Return the JSON object that ``data`` holds.

    Raises:
        MalformedPayload: not JSON (``NaN`` and ``Infinity`` are not, RFC 8259 §6), not an object, or a member
            comes twice: two ages in one record have no meaning that we could choose (RFC 8259 §4).
    """
    try:
        values = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise MalformedPayload(
            f"'{name}' is not valid JSON at line {error.lineno}, column {error.colno}; "
            "NaN and Infinity are not JSON, a missing value is null",
            field=name,
        ) from error
    if not isinstance(values, dict):
        raise MalformedPayload(f"'{name}' must be one JSON object with named values", field=name)
    # orjson keeps the last of two equal names. A flat object has as many colons as members, so one count tells
    # whether a closer look is needed; that look costs 20 times as much.
    if data.count(b":") != len(values):
        _refuse_duplicates(data, name)
    return values


def decode_values(values: Mapping[str, Any], spec: InputSpec) -> DecodedRecord:
    """Return the record's vector.

    Raises:
        UnknownFeature, MissingFeature, WrongDatatype, NonFiniteValue: naming the feature.
        MissingFeature: all are missing; naming the input.
    """
    bound = _bind(spec)
    try:
        row = bound.pick(values)
        if len(values) == len(row) and _NUMBERS.issuperset(map(type, row)):
            buffer = bytearray(bound.packer.size)
            bound.packer.pack_into(buffer, 0, *row)  # OverflowError beyond float32
            if isfinite(sum(row)):
                return DecodedRecord(spec.name, np.frombuffer(buffer, np.float32), values)
    except (KeyError, OverflowError, struct.error):  # struct.error: an integer beyond float64
        pass
    return _explain(values, spec)


class _Bound:
    """What decoding needs of a spec, made once: the names' getter and the vector's packer."""

    __slots__ = ("packer", "pick")

    def __init__(self, spec: InputSpec) -> None:
        names = [feature.name for feature in spec.features]
        self.pick: Callable[[Mapping[str, Any]], tuple[Any, ...]]
        # itemgetter of one name returns the bare value, and of none is an error.
        self.pick = itemgetter(*names) if len(names) > 1 else (lambda values: tuple(values[name] for name in names))
        self.packer = struct.Struct(f"={len(names)}f")


_bind = Remembered(_Bound)


def _explain(values: Mapping[str, Any], spec: InputSpec) -> DecodedRecord:
    known = [feature.name for feature in spec.features]
    for name in values:
        if name not in known:
            raise UnknownFeature(
                f"{echo(name, known)} is not a feature of '{spec.name}'", field=name if _is_shown(name) else spec.name
            )
    row = [to_number(values.get(feature.name), feature, sent=feature.name in values) for feature in spec.features]
    if all(map(isnan, row)):
        # Each may be missing; all of them together are no patient, and the answer would be the model's prejudice.
        raise MissingFeature(f"every feature of '{spec.name}' is missing; send what is known", field=spec.name)
    return DecodedRecord(spec.name, np.array(row, np.float32), values)


def to_number(value: object, feature: FeatureSpec, *, sent: bool = True) -> float:
    """Return one feature's value as a float that float32 can hold; NaN where it is missing and may be.

    Raises:
        MissingFeature, WrongDatatype, NonFiniteValue: naming the feature.
    """
    name = feature.name
    if not sent or (value is None and not feature.nullable):
        missing = "; send null if it is unknown" if feature.nullable else ""
        raise MissingFeature(f"feature '{name}' is missing{missing}", field=name)
    if value in _MISSING and feature.nullable and not isinstance(value, bool):
        return float("nan")
    if isinstance(value, bool) or not isinstance(value, int | float):
        expected = "a number, or null where it is unknown" if feature.nullable else "a number"
        raise WrongDatatype(f"feature '{name}' must be {expected}; {_kind_of(value)} came", field=name)
    if not -_LARGEST <= value <= _LARGEST:
        raise NonFiniteValue(f"feature '{name}' must be finite and within the range of float32", field=name)
    return float(value)


def _kind_of(value: object) -> str:
    kinds = {bool: "true or false", str: "text", list: "a list", dict: "an object", bytes: "text", type(None): "null"}
    return kinds.get(type(value), "something else")


def _is_shown(name: object) -> bool:
    return echo(name) != "(not shown)"


def _refuse_duplicates(data: bytes, name: str) -> None:
    def collect(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        members = dict(pairs)
        if len(members) != len(pairs):
            seen: set[str] = set()
            twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
            shown = echo(twice)
            raise MalformedPayload(f"{shown} comes twice in '{name}'", field=twice if shown != "(not shown)" else name)
        return members

    try:
        json.loads(data, object_pairs_hook=collect)
    except (ValueError, RecursionError) as error:
        raise MalformedPayload(f"'{name}' is not valid JSON", field=name) from error
