"""What a part of the benchmarks is: how it is measured, and what docs/benchmarks.md says of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.services import Workspace

Raw = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Options:
    """How much is measured.

    Attributes:
        rounds: interleaved rounds.
        quick: a smoke run, whose figures mean nothing.
        only: part of a contestant's name; others are left out.
        say: told how it goes.
    """

    rounds: int
    quick: bool
    only: str
    say: Callable[[str], None]


def _always() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Part:
    """One section.

    Attributes:
        name: on the command line and in the results.
        measure: returns raw results, which JSON can hold.
        render: returns the section as Markdown.
        available: tells whether what it needs is here.
    """

    name: str
    measure: Callable[[Workspace, Options], dict[str, Any]]
    render: Callable[[Raw], str]
    available: Callable[[], bool] = _always
