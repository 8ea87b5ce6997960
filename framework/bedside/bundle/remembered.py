"""What is derived from a contract or a part of one, derived once: hashing it would cost more than the call."""

from collections.abc import Callable
from typing import Generic, TypeVar

MOST_KNOWN = 1024

S = TypeVar("S")
T = TypeVar("T")


class Remembered(Generic[S, T]):
    """A function that remembers its results by the identity of its argument, which never changes."""

    __slots__ = ("_known", "_make")

    def __init__(self, make: Callable[[S], T]) -> None:
        self._make = make
        self._known: dict[int, tuple[S, T]] = {}

    def __call__(self, of: S) -> T:
        """Return what was made of this very object."""
        found = self._known.get(id(of))
        if found is not None and found[0] is of:
            return found[1]
        if len(self._known) >= MOST_KNOWN:  # models come and go; what is kept here is alive, so its id stays its own
            self._known.clear()
        made = self._make(of)
        self._known[id(of)] = (of, made)
        return made
