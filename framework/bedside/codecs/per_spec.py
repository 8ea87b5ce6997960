"""What a codec derives from an input's spec, derived once: hashing a spec would cost more than decoding a record."""

from collections.abc import Callable
from typing import Generic, TypeVar

from bedside.bundle.contract import InputSpec

MOST_SPECS = 1024

T = TypeVar("T")


class PerSpec(Generic[T]):
    """A function of a spec that remembers its results by the spec's identity."""

    __slots__ = ("_known", "_make")

    def __init__(self, make: Callable[[InputSpec], T]) -> None:
        self._make = make
        self._known: dict[int, tuple[InputSpec, T]] = {}

    def __call__(self, spec: InputSpec) -> T:
        """Return what was made of this very spec."""
        found = self._known.get(id(spec))
        if found is not None and found[0] is spec:
            return found[1]
        if len(self._known) >= MOST_SPECS:  # models come and go; specs kept here are alive, so their ids stay theirs
            self._known.clear()
        made = self._make(spec)
        self._known[id(spec)] = (spec, made)
        return made
