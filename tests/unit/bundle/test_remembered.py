"""Derived once per spec, and never another spec's."""

import pytest

from bedside.bundle import remembered
from bedside.bundle.contract import InputSpec
from bedside.bundle.remembered import Remembered


def spec(name: str) -> InputSpec:
    """Return a spec."""
    return InputSpec(name, "record", ())


def test_a_spec_is_looked_at_once() -> None:
    """The second time gives the same object."""
    made: list[str] = []

    def make(given: InputSpec) -> list[str]:
        made.append(given.name)
        return [given.name]

    of, one = Remembered(make), spec("a")
    assert of(one) is of(one)
    assert made == ["a"]


def test_equal_specs_are_not_confused_with_later_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is forgotten is made anew, also where a new spec has an old one's address."""
    monkeypatch.setattr(remembered, "MOST_KNOWN", 2)
    of = Remembered[InputSpec, str](lambda given: given.name)
    for number in range(50):
        assert of(spec(f"input_{number}")) == f"input_{number}"
    assert len(of._known) <= 2
