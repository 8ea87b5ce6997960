"""One event to one line."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedside.observability.events import CATALOGUE, Event
from bedside.observability.rendering import ConsoleRenderer, EcsRenderer, Service, utc_now
from bedside.observability.schema import ECS_VERSION, FIELDS
from bedside.version import __version__

MOMENT = datetime(2026, 11, 21, 9, 30, 0, 5000, tzinfo=UTC)
PLANTED = ("DOE^JOHN", "jane.doe@hospital.example", "/data/DOE^JOHN.nii.gz", "x" * 5000 + "DOE^JOHN")


def _render(**event: Any) -> dict[str, Any]:
    written: dict[str, Any] = json.loads(_line(**event))
    return written


def _line(**event: Any) -> bytes:
    return EcsRenderer(Service("bedside", "test"), lambda: MOMENT)(None, "info", event)


def test_line_has_the_base_fields_of_ecs() -> None:
    """Time, level, message, version of ECS, event and service are in every line."""
    line = _render(event=Event.SERVER_STOPPING)
    assert line == {
        "@timestamp": "2026-11-21T09:30:00.005000Z",
        "log.level": "info",
        "message": "server_stopping",
        "ecs.version": ECS_VERSION,
        "event": {"kind": "event", "action": "server_stopping", "category": ["process"]},
        "service": {"name": "bedside", "version": __version__, "environment": "test", "type": "bedside"},
    }


def test_fields_are_nested_beside_the_base_fields() -> None:
    """``event.outcome`` joins ``event``, and two fields of one parent share it."""
    line = _render(event=Event.INFERENCE_COMPLETED, outcome="success", input_bytes=3, output_bytes=4, request_id="ab")
    assert line["event"]["outcome"] == "success"
    assert line["event"]["action"] == "inference_completed"
    assert line["http"] == {"request": {"body": {"bytes": 3}, "id": "ab"}, "response": {"body": {"bytes": 4}}}


def test_service_is_not_shared_between_lines() -> None:
    """A line's fields do not show up in the next one."""
    renderer = EcsRenderer(Service("bedside", "test"), lambda: MOMENT)
    renderer(None, "info", {"event": Event.INFERENCE_COMPLETED, "outcome": "success"})
    assert "outcome" not in json.loads(renderer(None, "info", {"event": Event.SERVER_STOPPED}))["event"]


def test_unknown_fields_are_dropped_and_counted() -> None:
    """What no rule names stays inside, also where another event may carry it."""
    line = _render(event=Event.SERVER_STARTED, patient="DOE^JOHN", file_name="a", model="m", port=8000)
    assert line["labels"] == {"dropped_fields": "3"}
    assert line["server"] == {"port": 8000}


def test_field_that_is_none_is_left_out_and_not_counted() -> None:
    """None says that there is nothing to say."""
    assert "labels" not in _render(event=Event.SERVER_STARTED, port=None)


@pytest.mark.parametrize("value", [object(), {1: 2}, {"a"}, b"x", float("nan"), 2**70, "\ud800", ValueError("x")])
def test_value_that_cannot_be_written_is_dropped(value: Any) -> None:
    """Nothing makes a line fail: it would fail the request that it is about."""
    line = _render(event=Event.INFERENCE_COMPLETED, model=value, rows=value, run_ms=value)
    assert line["labels"] == {"dropped_fields": "3"}


@pytest.mark.parametrize("planted", PLANTED)
def test_planted_name_appears_nowhere(planted: str) -> None:
    """Whichever field a name gets into by mistake, known or not, no identifier takes it."""
    for event, rule in CATALOGUE.items():
        fields = {name: planted for name in FIELDS if name not in {"text", "frames"}}
        line = _line(event=event, unknown=planted, **fields)
        assert b"DOE" not in line
        assert b"jane" not in line
        assert rule.category[0].encode() in line


@pytest.mark.parametrize("event", ["patient DOE^JOHN has arrived", "", "inference_completed\n"])
def test_event_that_is_not_listed_stays_inside(event: str) -> None:
    """A sentence instead of an event's name is replaced, with all its fields."""
    line = _render(event=event, model="m")
    assert line["message"] == "event_unlisted"
    assert line["labels"] == {"dropped_fields": "1"}


@given(st.dictionaries(st.sampled_from(sorted(FIELDS)), st.text() | st.integers() | st.floats() | st.lists(st.text())))
def test_every_line_is_one_line_of_json(fields: dict[str, Any]) -> None:
    """Whatever the values, there is one line feed, at the end, and the line parses."""
    for event in (Event.INFERENCE_COMPLETED, Event.LIBRARY_MESSAGE):
        line = _line(event=event, **fields)
        assert line.count(b"\n") == 1
        assert line.endswith(b"\n")
        assert json.loads(line)["message"] == event


def test_console_line_is_as_strict() -> None:
    """People see time, level, event and allowed fields in one line; the rest is counted."""
    render = ConsoleRenderer(colors=False, clock=lambda: MOMENT)
    fields = {
        "event": Event.LIBRARY_MESSAGE,
        "frames": ("a:1 f", "b:2 g"),
        "text": "a\x1b[2J\nb",
        "patient": "DOE^JOHN",
    }
    line = render(None, "warning", fields).decode()
    assert line.startswith("09:30:00.005")
    assert line.count("\n") == 1
    assert "library_message" in line
    assert "dropped_fields=1" in line
    assert "DOE" not in line
    assert "\x1b" not in line


def test_console_line_without_dropped_fields_counts_none() -> None:
    """Zero is not worth a word."""
    line = ConsoleRenderer(colors=False)(None, "info", {"event": Event.SERVER_STARTED, "port": 80})
    assert b"dropped" not in line


def test_clock_is_in_utc() -> None:
    """Time stamps of several hospitals can be compared."""
    assert utc_now().tzinfo is UTC
