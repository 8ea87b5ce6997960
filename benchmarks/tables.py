"""Words and tables of docs/benchmarks.md: medians and spreads of rounds."""

from collections.abc import Iterable, Sequence
from math import isnan
from statistics import median

Rows = Iterable[Sequence[str]]


def table(head: Sequence[str], rows: Rows) -> str:
    """Return a Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(cells) + " |" for cells in rows]
    return "\n".join(lines)


def spread(found: Sequence[float], digits: int) -> str:
    """Return the median, the least and the most; NaN counts as absent."""
    values = [value for value in found if not isnan(value)]
    if not values:
        return "-"
    return f"{median(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def quartiles(values: Sequence[float], digits: int) -> str:
    """Return the median and the quartiles."""
    ordered = sorted(values)
    low, high = ordered[len(ordered) // 4], ordered[(3 * len(ordered)) // 4]
    return f"{median(ordered):.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def verdict(kept: bool) -> str:  # noqa: FBT001 - a verdict is one
    """Return the mark of a goal."""
    return "✓" if kept else "✗"
