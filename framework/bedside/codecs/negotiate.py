"""Content negotiation by the Accept header (RFC 9110 §12.5.1)."""

import re
from collections.abc import Sequence

from bedside.errors import NotAcceptable

_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # RFC 9110 §5.6.2
_RANGE = re.compile(rf"({_NAME})/({_NAME})")
_QVALUE = re.compile(r"0(\.\d{0,3})?|1(\.0{0,3})?")  # RFC 9110 §12.4.2


def negotiate(accept: str, available: Sequence[str]) -> str:
    """Return the available media type that the caller likes best.

    The most specific range that matches a type gives its quality; among equal ones our order decides. Elements that
    are not well-formed are passed over, and a header with no well-formed element counts as absent: the RFC lets a
    server disregard the field, and a sloppy client is better answered than refused. Parameters other than
    ``q`` are ignored, since none of our types has variants.

    Args:
        accept: the header's value; empty where there was none.
        available: media types, the preferred one first; not empty.

    Raises:
        NotAcceptable: everything available is excluded; ``available`` is told.
    """
    ranges = _parse(accept)
    if not ranges:
        return available[0]
    best, best_quality = "", 0.0
    for media_type in available:
        quality = _quality(media_type, ranges)
        if quality > best_quality:
            best, best_quality = media_type, quality
    if not best:
        raise NotAcceptable(f"this model answers with: {', '.join(available)}", available=tuple(available))
    return best


def _parse(accept: str) -> dict[tuple[str, str], float]:
    ranges: dict[tuple[str, str], float] = {}
    for element in accept.lower().split(","):
        name, *parameters = (part.strip() for part in element.split(";"))
        matched = _RANGE.fullmatch(name)
        quality = _q(parameters)
        if matched and quality is not None and not (matched[1] == "*" != matched[2]):
            key = (matched[1], matched[2])
            ranges[key] = max(quality, ranges.get(key, 0.0))
    return ranges


def _q(parameters: Sequence[str]) -> float | None:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            value = value.strip()
            return float(value) if _QVALUE.fullmatch(value) else None
    return 1.0


def _quality(media_type: str, ranges: dict[tuple[str, str], float]) -> float:
    main, _, sub = media_type.partition("/")
    for key in ((main, sub), (main, "*"), ("*", "*")):
        if key in ranges:
            return ranges[key]
    return 0.0
