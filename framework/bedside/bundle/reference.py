"""What a bundle's answers were like where it was validated: ``golden/reference.json``, which drift is measured against.

Counts alone, by kind and name, and within by class or by the upper bound of a bin: of nobody, and small.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, NonNegativeInt, ValidationError

from bedside.errors import InvalidBundle
from bedside.observability.metrics import PROBABILITY_BUCKETS, VALUE_BUCKETS, VOLUME_BUCKETS

FILE = "golden/reference.json"
LEAST = 50
"""Answers that a reference is of at least."""

Kind = Literal["class", "confidence", "volume", "value"]
Counts = Mapping[tuple[str, str], Mapping[str, int]]
"""By kind and name: how many answers by class, or by the number of a bin."""

_BOUNDS: Mapping[str, tuple[str, ...]] = {
    kind: (*(f"{bound:g}" for bound in bounds), "+Inf")
    for kind, bounds in (("confidence", PROBABILITY_BUCKETS), ("volume", VOLUME_BUCKETS), ("value", VALUE_BUCKETS))
}


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    description: str = ""
    counts: dict[Kind, dict[str, dict[str, NonNegativeInt]]]


def parse_reference(text: str) -> Counts:
    """Return what a reference counts; nothing where there is none.

    Raises:
        InvalidBundle: it is no such document, is of fewer than 50 answers, or has bins that are not ours.
    """
    if not text:
        return {}
    try:
        document = _Document.model_validate(json.loads(text))
    except (ValidationError, ValueError, RecursionError):
        raise InvalidBundle(f"{FILE} is no document of counts (docs/bundles.md)", field=FILE) from None
    every = ((kind, name, bins) for kind, by in document.counts.items() for name, bins in by.items())
    found: Counts = {(kind, name): _places(kind, bins) for kind, name, bins in every}
    if any(sum(counts.values()) < LEAST for counts in found.values()):
        raise InvalidBundle(f"{FILE} is of fewer than {LEAST} answers", field=FILE)
    return found


def document_of(counts: Counts, description: str) -> dict[str, Any]:
    """Return counts as they stand in the file."""
    by_kind: dict[str, dict[str, dict[str, int]]] = {}
    for (kind, name), places in sorted(counts.items()):
        bounds = _BOUNDS.get(kind)
        bins = sorted(places.items(), key=lambda item: int(item[0])) if bounds else sorted(places.items())
        named = {bounds[int(place)] if bounds else place: count for place, count in bins}
        by_kind.setdefault(kind, {})[name] = named
    return {"description": description, "counts": by_kind}


def write_reference(root: Path, counts: Counts, description: str) -> Path:
    """Put a reference into a bundle, in the place of the one that it has; return the file.

    Raises:
        InvalidBundle: it is of fewer than 50 answers; the bundle stays as it was.
    """
    if not counts:
        raise InvalidBundle(f"{FILE}: the answers name no class, volume or value", field=FILE)
    text = json.dumps(document_of(counts, description), indent=2)
    parse_reference(text)
    path = root / FILE
    path.parent.mkdir(exist_ok=True)
    path.write_text(text + "\n", encoding="utf-8")
    return path


def _places(kind: str, bins: Mapping[str, int]) -> dict[str, int]:
    bounds = _BOUNDS.get(kind)
    if bounds is None:
        return dict(bins)
    if not bins.keys() <= set(bounds):
        raise InvalidBundle(f"{FILE} has other bins of a {kind} than: {', '.join(bounds)}", field=FILE)
    return {str(bounds.index(bound)): count for bound, count in bins.items()}
