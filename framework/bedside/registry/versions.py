"""Order among versions, and which one answers where a caller names none (docs/repository.md)."""

from collections.abc import Iterable

Key = tuple[bool, tuple[tuple[int, int, str], ...]]


def version_key(version: str) -> Key:
    """Return what versions are ordered by: releases above candidates, then by number (semver.org §11).

    ``1.0.0-rc.1`` comes before ``1.0.0``. Unlike in semver's own order it also comes before ``0.9.0``: a candidate
    answers unasked only where there is nothing else.
    """
    core, dash, candidate = version.partition("+")[0].partition("-")
    parts = [*core.split("."), *(candidate.split(".") if dash else ())]
    numbers = tuple((2, int(part), "") if _is_number(part) else (0, 0, part) for part in parts)
    return not dash, (*numbers, (1, 0, ""))


def highest(versions: Iterable[str]) -> str:
    """Return the highest of at least one version."""
    return max(versions, key=version_key)


def _is_number(part: str) -> bool:
    return part.isascii() and part.isdecimal()
