"""JSON values that a bundle's preprocessing gets as they are: points, clicks, class prompts, lists of labels.

Nothing is known of their structure, so only what would harm is refused: text that is no JSON, members that come twice,
and nesting so deep that whoever walks the value runs out of stack.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from bedside.bundle.contract import InputSpec
from bedside.errors import MalformedPayload, MissingInput, PayloadTooLarge, UnknownInput, UnsupportedMediaType, echo
from bedside.settings import LimitSettings
from bedside.types import DecodedValue, Json

_MEDIA_TYPES = ("application/json", "application/octet-stream", "")


def decode_value(data: bytes, media_type: str, spec: InputSpec, limits: LimitSettings) -> DecodedValue:
    """Return the JSON value that ``data`` holds; a field without a media type is taken as JSON.

    Raises:
        UnsupportedMediaType: declared as something else.
        PayloadTooLarge: more than ``limits.json_bytes``.
        MalformedPayload: no JSON (``NaN`` and ``Infinity`` are none, RFC 8259 §6), nested too deeply, or an object in
            which a member comes twice.
    """
    name = spec.name
    if media_type not in _MEDIA_TYPES:
        raise UnsupportedMediaType(f"'{name}' must be sent as application/json", field=name)
    if len(data) > limits.json_bytes:
        raise PayloadTooLarge(f"'{name}' has {len(data)} bytes of JSON, the limit is {limits.json_bytes}", field=name)
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise MalformedPayload(
            f"'{name}' is not valid JSON at line {error.lineno}, column {error.colno}", field=name
        ) from None
    require_depth(value, name, limits.json_depth)
    if data.count(b":") and _comes_twice(data):
        raise MalformedPayload(f"a member comes twice in one object of '{name}'", field=name)
    return DecodedValue(name, value)


def decode_document(
    values: Mapping[str, Any], specs: Sequence[InputSpec], limits: LimitSettings
) -> tuple[DecodedValue, ...]:
    """Return the members of one parsed JSON object as the values of these inputs.

    Raises:
        UnknownInput: a member is no input. MissingInput: an input that is no JSON value must come as well.
        MalformedPayload: a value is nested too deeply.
    """
    by_name = {spec.name: spec for spec in specs if spec.kind == "value"}
    for spec in specs:
        if spec.kind != "value" and not spec.optional:
            raise MissingInput(
                f"input '{spec.name}' is no JSON value: send multipart/form-data with a field per input",
                field=spec.name,
            )
    decoded = []
    for name, value in values.items():
        if name not in by_name:
            shown = echo(name, by_name)
            raise UnknownInput(
                f"{shown} is no input that can be sent as JSON; expected: {', '.join(by_name) or 'none'}",
                field=name if shown != "(not shown)" else "body",
            )
        require_depth(value, name, limits.json_depth)
        decoded.append(DecodedValue(name, value))
    return tuple(decoded)


def require_depth(value: Json, name: str, limit: int) -> None:
    """Refuse a value of more than ``limit`` levels of lists and objects. Raises MalformedPayload."""
    level = [value] if isinstance(value, list | dict) else []
    for _ in range(limit):
        level = [inner for outer in level for inner in _inside(outer) if isinstance(inner, list | dict)]
    if level:
        raise MalformedPayload(f"'{name}' is nested deeper than {limit} levels", field=name)


def _inside(value: list[Any] | dict[str, Any]) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def _comes_twice(data: bytes) -> bool:
    # orjson keeps the last of two equal names; two lists of points have no meaning that we could choose (RFC 8259 §4).
    twice = False

    def collect(pairs: list[tuple[str, Any]]) -> None:
        nonlocal twice
        twice = twice or len(dict(pairs)) != len(pairs)

    json.loads(data, object_pairs_hook=collect)
    return twice
