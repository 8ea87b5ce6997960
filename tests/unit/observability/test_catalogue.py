"""The catalogue of events and fields."""

import re
from typing import Any

import pytest

from bedside.observability.events import Event
from bedside.observability.fields import CLEAN
from bedside.observability.schema import ALL_FIELDS, AUDIT_RULES, FIELDS, RULES, STAGES, TEXT_CHARACTERS, Kind

PLANTED = ["DOE^JOHN", "John Doe", "doe@example.org", "1.2.840.113619\n", "Müller", "", "x" * 257, "a;b", "a=b"]


def test_names_in_the_code_are_those_of_the_schema() -> None:
    """A type checker sees a misspelt event; this sees one that the schema or the code lacks."""
    assert [event.value for event in Event] == list(RULES)


def test_every_field_is_known_used_and_has_a_name_of_its_own() -> None:
    """A field without a type could not be written; nothing is left over, and no two fields overwrite each other."""
    used = {name for rule in (*RULES.values(), *AUDIT_RULES.values()) for name in rule.fields}
    assert used == set(FIELDS)
    names = [field.ecs for field in ALL_FIELDS]
    assert len(set(names)) == len(names)


def test_no_field_is_both_a_value_and_an_object() -> None:
    """Elasticsearch refuses documents in which ``a`` is a value and ``a.b`` another."""
    names = {field.ecs for field in ALL_FIELDS}
    assert not [(name, other) for name in names for other in names if other.startswith(f"{name}.")]


@pytest.mark.parametrize("event", list(Event))
def test_names_are_static_identifiers(event: Event) -> None:
    """They are searched, counted and alerted on."""
    assert re.fullmatch(r"[a-z]+(_[a-z]+)+", event.value)


@pytest.mark.parametrize("field", FIELDS.values(), ids=FIELDS.keys())
def test_fields_are_described(field: Any) -> None:
    """And those that measure have a unit."""
    assert field.description.endswith((".", "…"))
    assert bool(field.unit) == field.name.endswith(("_ms", "_ns", "_bytes", "seconds"))


def test_every_stage_has_a_field() -> None:
    """The stages of docs/architecture.md."""
    assert {f"inference.stage.{stage}_ms" for stage in STAGES} <= {field.ecs for field in FIELDS.values()}


@pytest.mark.parametrize("value", [*PLANTED, None, 7, b"bytes", ["a"]])
def test_keywords_are_identifiers(value: Any) -> None:
    """A name, an address or a sentence in the wrong variable stays inside."""
    assert CLEAN[Kind.KEYWORD](value) is None


@pytest.mark.parametrize(
    "value", ["spleen_ct", "0.5.9+cpu", "sha256:00ff", "cuda:0", "builtins.ValueError", "<lambda>"]
)
def test_identifiers_are_keywords(value: str) -> None:
    """Names, versions, digests, devices, classes."""
    assert CLEAN[Kind.KEYWORD](value) == value


def test_text_is_bounded_and_has_no_control_characters() -> None:
    """CWE-117: no forged lines, no escape sequences, no lone surrogates that JSON cannot hold."""
    assert CLEAN[Kind.TEXT]("a\nb\x1b[31mc\u2028d\ud800") == "a b [31mc d "
    assert len(CLEAN[Kind.TEXT]("x" * 9999)) == TEXT_CHARACTERS
    assert CLEAN[Kind.TEXT](7) is None


def test_lines_are_text_each() -> None:
    """Only our own line breaks stay."""
    assert CLEAN[Kind.LINES](("a\nb", "c", 7)) == "a b\nc"
    assert CLEAN[Kind.LINES]("a") is None


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (Kind.LONG, [0, -1, 2**63 - 1], [True, 1.0, "1", 2**63, -(2**63) - 1]),
        (Kind.DATE, ["2026-11-21T16:00:00+00:00", "2026-11-21T16:00:00.5Z"], ["2026-11-21", "19500101", "DOE^JOHN", 7]),
        (Kind.DOUBLE, [0.5, 1], [True, float("nan"), float("inf"), "0.5", 2**64]),
        (Kind.BOOLEAN, [True, False], [0, 1, "true"]),
    ],
)
def test_numbers_and_booleans_are_what_they_say(kind: Kind, good: list[Any], bad: list[Any]) -> None:
    """Elasticsearch's mapping is strict; a value of another type would lose the whole event."""
    assert [CLEAN[kind](value) for value in good] == good
    assert {CLEAN[kind](value) for value in bad} == {None}
