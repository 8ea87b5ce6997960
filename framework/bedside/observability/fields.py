"""What the values of fields must be: the schema says which kind, here is what passes. Nothing else leaves the process.

A value of another type is dropped. Identifiers (``KEYWORD``) are also bound to an alphabet: ``DOE^JOHN``, an e-mail
address or a sentence is no identifier, so that a patient's name in the wrong variable stays inside.
"""

import math
import re
from collections.abc import Callable
from typing import Any

from bedside.observability.schema import KEYWORD_CHARACTERS, KEYWORD_PATTERN, MOMENT_PATTERN, TEXT_CHARACTERS, Kind

_KEYWORD = re.compile(KEYWORD_PATTERN)
_NO_KEYWORD = re.compile(r"[^A-Za-z0-9_.:/+<>-]")
_MOMENT = re.compile(MOMENT_PATTERN, re.ASCII)


def as_keyword(name: str) -> str:
    """Return a bundle's name for something (``no disease``) as the log takes it: an identifier (``no_disease``)."""
    return _NO_KEYWORD.sub("_", name)[:KEYWORD_CHARACTERS]


def _keyword(value: Any) -> str | None:
    return value if isinstance(value, str) and _KEYWORD.fullmatch(value) else None


def _text(value: Any) -> str | None:
    if not isinstance(value, str):
        return None
    text = value[:TEXT_CHARACTERS]
    # Line breaks and escape sequences would forge lines or colours on a terminal (CWE-117).
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def _lines(value: Any) -> str | None:
    if not isinstance(value, tuple | list):
        return None
    return "\n".join(line for item in value if (line := _text(item)) is not None)[:TEXT_CHARACTERS]


def _long(value: Any) -> int | None:
    # orjson takes 64 bits; a boolean is no number here although Python says so.
    return value if type(value) is int and -(2**63) <= value < 2**63 else None


def _double(value: Any) -> float | None:
    if type(value) is float and math.isfinite(value):
        return value
    number = _long(value)
    return None if number is None else float(number)


def _boolean(value: Any) -> bool | None:
    return value if type(value) is bool else None


def _moment(value: Any) -> str | None:
    return value if isinstance(value, str) and _MOMENT.fullmatch(value) else None


CLEAN: dict[Kind, Callable[[Any], Any]] = {
    Kind.KEYWORD: _keyword,
    Kind.TEXT: _text,
    Kind.LINES: _lines,
    Kind.LONG: _long,
    Kind.DOUBLE: _double,
    Kind.BOOLEAN: _boolean,
    Kind.DATE: _moment,
}
"""Return the value as it may be written, or None where it may not."""
