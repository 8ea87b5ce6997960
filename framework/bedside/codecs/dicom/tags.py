"""Attributes of a data set, read so that what is absent or impossible gets a name of its own.

Values are never repeated in a message: whatever stands in the place of a number may be a patient's name.
"""

import re
from math import inf, isfinite
from typing import Any

from bedside.codecs.dicom.library import pydicom
from bedside.errors import InvalidTag, MissingTag

_UID = re.compile(r"[0-2](\.(0|[1-9][0-9]*))+")  # PS3.5 §9.1
_UID_LENGTH = 64

Dataset = pydicom.Dataset


def value_of(dataset: Any, keyword: str) -> Any:
    """Return a value, None where the attribute is absent, empty or undecodable."""
    try:
        value = dataset.get(keyword)
    except Exception:  # noqa: BLE001 - decoding arbitrary bytes raises anything
        return None
    return None if value is None or (hasattr(value, "__len__") and len(value) == 0) else value


def text(dataset: Any, keyword: str) -> str:
    """Return a single text value, empty where there is none; what a stray backslash has made several, with a space."""
    value = value_of(dataset, keyword)
    several = isinstance(value, pydicom.multival.MultiValue)
    return "" if value is None else " ".join(map(str, value)) if several else str(value)


def texts(dataset: Any, keyword: str) -> tuple[str, ...]:
    """Return the values of a text attribute."""
    value = value_of(dataset, keyword)
    if value is None:
        return ()
    return (
        (value,) if isinstance(value, str) else tuple(map(str, value)) if hasattr(value, "__iter__") else (str(value),)
    )


def numbers(dataset: Any, keyword: str, count: int, uid: str, default: float | None = None) -> tuple[float, ...]:
    """Return ``count`` finite numbers.

    Raises:
        MissingTag: absent, and there is no default.
        InvalidTag: not that many, or not numbers.
    """
    value = value_of(dataset, keyword)
    if value is None and keyword not in dataset:
        if default is None:
            raise MissingTag(f"{_name(keyword)} is missing", instances=[uid])
        return (default,) * count
    try:
        found = tuple(float(item) for item in (value if count > 1 else [value]))
    except (TypeError, ValueError, OverflowError):
        found = ()
    if len(found) != count or not all(map(isfinite, found)):
        raise InvalidTag(f"{_name(keyword)} does not hold {count} number(s)", instances=[uid])
    return found


def first_number(dataset: Any, keyword: str, uid: str) -> float | None:
    """Return the first of one or several finite numbers, None where there is none; raises InvalidTag."""
    value = value_of(dataset, keyword)
    if value is None:
        return None
    try:
        number = float(value if isinstance(value, str | float | int) else value[0])
    except (TypeError, ValueError, OverflowError, LookupError):
        number = inf
    if not isfinite(number):
        raise InvalidTag(f"{_name(keyword)} does not begin with a number", instances=[uid])
    return number


def integer(dataset: Any, keyword: str, uid: str, default: int | None = None) -> int:
    """Return a whole number; raises MissingTag, InvalidTag."""
    (number,) = numbers(dataset, keyword, 1, uid, None if default is None else float(default))
    if number != int(number):
        raise InvalidTag(f"{_name(keyword)} is not a whole number", instances=[uid])
    return int(number)


def uid_of(dataset: Any, keyword: str, instance: str = "") -> str:
    """Return a UID; raises MissingTag, InvalidTag."""
    value = text(dataset, keyword)
    instances = [instance] if instance else []
    if not value:
        raise MissingTag(f"{_name(keyword)} is missing", instances=instances)
    if len(value) > _UID_LENGTH or not _UID.fullmatch(value):
        raise InvalidTag(f"{_name(keyword)} is no UID", instances=instances)
    return value


def item(dataset: Any, keyword: str) -> Any:
    """Return the first item of a sequence, None where there is none."""
    value = value_of(dataset, keyword)
    try:
        first = value[0]
    except (TypeError, LookupError):
        return None
    return first if isinstance(first, Dataset) else None


def _name(keyword: str) -> str:
    tag = pydicom.datadict.tag_for_keyword(keyword) or 0
    return f"{pydicom.datadict.dictionary_description(tag)} ({tag >> 16:04X},{tag & 0xFFFF:04X})"
