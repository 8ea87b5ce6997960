"""The schema of what is emitted, and what is made of it."""

import copy
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from tests import emitted
from tests.emitted import faults

from bedside.observability import schema
from bedside.observability.inference_line import InferenceLines
from bedside.observability.rendering import EcsRenderer, Service
from bedside.observability.schema import AUDIT_RULES, FIELDS, RULES, Kind, Stream, component_template, json_schema

SAMPLES: dict[Kind, Any] = {
    Kind.KEYWORD: "a",
    Kind.TEXT: "a b",
    Kind.LINES: ("a:1 f",),
    Kind.LONG: 1,
    Kind.DOUBLE: 0.5,
    Kind.BOOLEAN: True,
    Kind.DATE: "2026-11-21T16:00:00+00:00",
}
WELL: dict[str, Any] = {
    "request_id": "ab",
    "transport": "rest",
    "operation": "predict",
    "outcome": "success",
    "outcome_ok": 1,
    "duration_ns": 5,
    "rows": 1,
    "input_bytes": 2,
    "output_bytes": 3,
}


def sample(name: str) -> Any:
    """Return a value that a field may have."""
    field = FIELDS[name]
    return field.values[0] if field.values else SAMPLES[field.kind]


def line(event: str, level: str, fields: dict[str, Any]) -> bytes:
    """Return what the general renderer writes."""
    renderer = EcsRenderer(Service("bedside", "test"), lambda: datetime(2026, 11, 21, tzinfo=UTC))
    return renderer(None, level, {"event": event, **fields})


@pytest.mark.parametrize("event", RULES)
def test_the_renderer_writes_what_the_schema_says(event: str) -> None:
    """With all fields and with the required alone; none is dropped, none is missing."""
    rule = RULES[event]
    for names in (rule.fields, rule.required):
        written = line(event, rule.levels[0], {name: sample(name) for name in names})
        assert not faults(written)
        assert b"dropped_fields" not in written


def test_the_short_way_keeps_the_schema() -> None:
    """The line of a call that went well is made another way."""
    same = {name: WELL[name] for name in ("transport", "operation", "outcome", "outcome_ok")}
    varying = {name: value for name, value in WELL.items() if name not in same}
    written = InferenceLines(Service("bedside", "test")).render(same, varying, {"run": 0.5})
    assert written is not None
    assert not faults(written)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("patient",), "DOE"),
        (("inference", "patient"), "DOE"),
        (("inference", "operation"), "DOE^JOHN"),
        (("event", "duration"), "5"),
        (("event", "outcome"), "maybe"),
        (("http", "request", "body", "bytes"), None),
        (("log.level",), "debug"),
        (("message",), "inference_begun"),
        (("@timestamp",), "yesterday"),
    ],
    ids=lambda value: ".".join(value) if isinstance(value, tuple) else repr(value),
)
def test_the_schema_finds_what_it_does_not_know(path: tuple[str, ...], value: Any) -> None:
    """A field too many, an identifier that is none, another type, another word."""
    document = json.loads(line("inference_completed", "info", WELL))
    assert not faults(json.dumps(document).encode())
    node = document
    for parent in path[:-1]:
        node = node.setdefault(parent, {})
    node[path[-1]] = value
    assert faults(json.dumps(document).encode())


@pytest.mark.parametrize("name", sorted(RULES["inference_completed"].required))
def test_the_schema_finds_what_is_missing(name: str) -> None:
    """A dashboard that counts on a field must find it."""
    kept = {other: value for other, value in WELL.items() if other != name}
    assert faults(line("inference_completed", "info", kept))
    assert not faults(line("inference_completed", "info", kept), complete=False)


@pytest.mark.parametrize("stream", ["events", "audit"])
def test_the_json_schema_is_one(stream: Stream) -> None:
    """By its own meta-schema."""
    Draft202012Validator.check_schema(json_schema(stream))


@pytest.mark.parametrize(("stream", "rules"), [("events", RULES), ("audit", AUDIT_RULES)])
def test_the_template_maps_every_field_of_its_stream(stream: Stream, rules: Any) -> None:
    """By its type; what is ours takes nothing else."""
    properties = component_template(stream)["template"]["mappings"]["properties"]
    for name in {name for rule in rules.values() for name in rule.fields}:
        node: Any = {"properties": properties}
        for part in FIELDS[name].ecs.split("."):
            node = node["properties"][part]
        assert node["type"] == FIELDS[name].type
    assert properties["inference"]["dynamic"] is False


def test_the_template_tells_units() -> None:
    """In the words that Elasticsearch's ``meta`` has for them."""
    properties = component_template()["template"]["mappings"]["properties"]
    assert properties["event"]["properties"]["duration"] == {"type": "long", "meta": {"unit": "nanos"}}
    assert properties["log"]["properties"]["level"]["type"] == "keyword"


def test_the_log_has_no_field_of_the_audit_trail_alone() -> None:
    """They are streams of their own, with retention and readers of their own."""
    properties = component_template()["template"]["mappings"]["properties"]
    assert "input" not in properties["inference"]["properties"]
    assert "level" not in component_template("audit")["template"]["mappings"]["properties"].get("log", {})


def test_a_field_that_may_identify_a_person_is_refused() -> None:
    """Whoever adds one has to say so, and then the server does not start."""
    entry = copy.deepcopy(schema._document["fields"]["http.request.id"])
    assert schema._field("a.b", entry).name == "request_id"
    entry["person"] = True
    with pytest.raises(ValueError, match="may identify a person"):
        schema._field("a.b", entry)


def test_every_key_of_the_file_is_known() -> None:
    """A misspelt one would say nothing."""
    document = yaml.safe_load(yaml.safe_dump(dict(schema._document)))
    assert set(document) == {"ecs_version", "fields", "events", "audit"}
    known = {"code", "type", "kind", "unit", "values", "always", "person", "description"}
    assert {key for entry in document["fields"].values() for key in entry} == known
    allowed = {"level", "category", "description", "required", "optional"}
    assert {key for entry in document["events"].values() for key in entry} <= allowed


def test_a_server_that_writes_a_line_of_its_own_is_found(tmp_path: Path) -> None:
    """Whichever test started it."""
    with (tmp_path / "log").open("wb") as stream:
        words = [sys.executable, "-c", 'print(\'{"message": "hello"}\')', "bedside", "serve"]
        subprocess.run(words, stdout=stream, check=True, timeout=60)
    with pytest.raises(AssertionError, match="hello"):
        emitted._check_ended()
