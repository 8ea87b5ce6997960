"""A line of JSON with places to fill in, for lines that are written for every call of models that cost less.

A template is what the general renderer makes of placeholders, so both give the same line. Bytes and positions, not text
and names: that halves the time.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from operator import itemgetter

MOMENT = datetime(1999, 12, 31, 23, 59, 59, 999999, UTC)
"""Placeholder of the time; it is filled by two values: see :data:`MOMENT_PLACES`."""

MOMENT_PLACES: Mapping[str, bytes] = {"1999-12-31T23:59:59": b"%b", ".999999Z": b".%06dZ"}
"""The time to the second as text, and the microseconds."""

_FIRST_NUMBER = 900719925474000  # nothing else in a line has such numbers


def number(index: int) -> int:
    """Return the placeholder of a number, another for each index."""
    return _FIRST_NUMBER + index


def word(name: str) -> str:
    """Return the placeholder of an identifier."""
    return f"placeholder-of-{name}"


class Template:
    """A line to fill in.

    Args:
        line: rendered, with placeholders.
        places: placeholder as it stands in the line → conversion (``%b``, ``%d``, ``%.3f``), in the order in which the
            values will come. A value whose placeholder is not in the line is left out.
    """

    __slots__ = ("_format", "_pick")

    def __init__(self, line: bytes, places: Mapping[str, bytes]) -> None:
        filled = line.replace(b"%", b"%%")
        order: Sequence[tuple[int, int]] = sorted(
            (line.find(name.encode()), index) for index, name in enumerate(places) if name.encode() in line
        )
        for name, conversion in places.items():
            filled = filled.replace(name.encode(), conversion)
        self._format = filled
        self._pick = itemgetter(*(index for _, index in order))

    def fill(self, values: tuple[object, ...]) -> bytes:
        """Return the line with these values, one per place; identifiers as bytes."""
        line: bytes = self._format % self._pick(values)
        return line
