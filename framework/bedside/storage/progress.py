"""What somebody at the terminal sees of a long fetch."""

from collections.abc import Callable
from time import monotonic

_PAUSE_SECONDS = 5.0
_MEGABYTE = 1_000_000

Announce = Callable[[str], None]


class Progress:
    """Says how far a fetch is, now and then.

    Args:
        announce: told each line.
        label: what is fetched.
        total: bytes in all.
    """

    def __init__(self, announce: Announce, label: str, total: int) -> None:
        self._announce = announce
        self._label = label
        self._total = total
        self._done = 0
        self._next = monotonic() + _PAUSE_SECONDS
        announce(f"fetching {label}: {_megabytes(total)}")

    def add(self, count: int) -> None:
        """Count bytes that have arrived."""
        self._done += count
        if monotonic() >= self._next:
            self._next = monotonic() + _PAUSE_SECONDS
            self._announce(f"fetching {self._label}: {_megabytes(self._done)} of {_megabytes(self._total)}")


def _megabytes(count: int) -> str:
    return f"{count / _MEGABYTE:.1f} MB"
