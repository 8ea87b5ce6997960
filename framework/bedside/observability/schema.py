"""The schema of what the server emits, read from ``schema.yaml``, and what is made of it for others.

Fields and events are data here; ``events.py`` gives the events the names that mypy checks.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from importlib.resources import files
from typing import Any, Literal

import yaml

KEYWORD_CHARACTERS = 256
MOMENT_PATTERN = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)"
"""A moment with its time and zone (RFC 3339 §5.6): a date of birth is none."""
KEYWORD_PATTERN = rf"[A-Za-z0-9_.:/+<>-]{{1,{KEYWORD_CHARACTERS}}}"
"""An identifier: ``DOE^JOHN``, an e-mail address or a sentence is none."""
TEXT_CHARACTERS = 4096

DOTTED = frozenset({"log.level", "ecs.version"})
"""Names that are keys of their own, as the ECS logging libraries write them; all others are nested objects."""

Stream = Literal["events", "audit"]


class Kind(Enum):
    """What a value must be; named as Elasticsearch's types where there is one."""

    KEYWORD = "keyword"
    TEXT = "text"
    LINES = "lines"
    LONG = "long"
    DOUBLE = "double"
    BOOLEAN = "boolean"
    DATE = "date"


_KINDS = {"byte": "long", "match_only_text": "text"}
_METRIC_UNITS = {"milliseconds": "ms", "nanoseconds": "nanos", "seconds": "s", "bytes": "byte"}


@dataclass(frozen=True, slots=True)
class Field:
    """One field.

    Attributes:
        ecs: name in the output.
        name: name in the code; "" where only the renderer writes it.
        type: type in Elasticsearch.
        kind: what a value must be.
        unit: "" where there is none.
        description: what it says.
        values: all values that there are; empty where they are not listed.
        always: it is in every line.
    """

    ecs: str
    name: str
    type: str
    kind: Kind
    unit: str
    description: str
    values: tuple[str, ...]
    always: bool


@dataclass(frozen=True, slots=True)
class EventRule:
    """What an event may carry.

    Attributes:
        description: what has happened.
        category: ``event.category`` of ECS.
        levels: those that it is written with.
        required: names in the code of fields that it always has.
        fields: names in the code of all fields that it may have.
    """

    description: str
    category: tuple[str, ...]
    levels: tuple[str, ...]
    required: frozenset[str]
    fields: frozenset[str]


def _field(ecs: str, entry: Mapping[str, Any]) -> Field:
    if entry["person"] is not False:
        raise ValueError(f"schema.yaml: {ecs} may identify a person; nothing that is emitted may")
    kind = Kind(entry.get("kind") or _KINDS.get(entry["type"], entry["type"]))
    values = tuple(entry.get("values", ()))
    unit, always = entry.get("unit", ""), entry.get("always", False)
    return Field(ecs, entry.get("code", ""), entry["type"], kind, unit, entry["description"], values, always)


def _rule(entry: Mapping[str, Any], everywhere: Iterable[str]) -> EventRule:
    required = frozenset(entry.get("required", ()))
    allowed = frozenset({*everywhere, *required, *entry.get("optional", ())})
    return EventRule(entry["description"], (entry["category"],), tuple(entry.get("level", ())), required, allowed)


def _load() -> Mapping[str, Any]:
    text = files("bedside.observability").joinpath("schema.yaml").read_bytes()
    loaded: Mapping[str, Any] = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe
    return loaded


_document = _load()
CHAIN = ("audit_chain", "audit_sequence", "audit_previous")
"""Fields of every audit record."""
ECS_VERSION: str = _document["ecs_version"]
ALL_FIELDS = tuple(_field(ecs, entry) for ecs, entry in _document["fields"].items())
FIELDS: Mapping[str, Field] = {field.name: field for field in ALL_FIELDS if field.name}
"""Fields that the code gives values to, by their name in the code."""
RULES: Mapping[str, EventRule] = {name: _rule(entry, ["logger_name"]) for name, entry in _document["events"].items()}
"""Events of the log."""
AUDIT_RULES: Mapping[str, EventRule] = {name: _rule(entry, CHAIN) for name, entry in _document["audit"].items()}
"""Records of the audit trail."""
STAGES = tuple(name.removesuffix("_ms") for name, field in FIELDS.items() if field.ecs.startswith("inference.stage."))
"""Stages that may be timed: those of the spine (docs/architecture.md) and, inside ``run``, those of the bundle."""


def _rules(stream: Stream) -> Mapping[str, EventRule]:
    return RULES if stream == "events" else AUDIT_RULES


def _base(stream: Stream) -> list[Field]:
    kept = [field for field in ALL_FIELDS if not field.name]
    return kept if stream == "events" else [field for field in kept if field.always and field.ecs != "log.level"]


def component_template(stream: Stream = "events") -> dict[str, Any]:
    """Return the body of Elasticsearch's component template with the mappings of one stream.

    The root stays open to what shippers and ``ecs@mappings`` add (``host.*``, ``kubernetes.*``). What is ours is
    closed: a field that the schema does not know is kept in the source and never indexed.
    """
    used = {name for rule in _rules(stream).values() for name in rule.fields}
    properties: dict[str, Any] = {}
    for field in [*_base(stream), *(FIELDS[name] for name in sorted(used))]:
        *parents, leaf = field.ecs.split(".")
        node = properties
        for parent in parents:
            node = node.setdefault(parent, {"properties": {}})["properties"]
        node[leaf] = _mapping(field)
    for ours in {"inference", "bedside"} & properties.keys():
        properties[ours]["dynamic"] = False
    meta = {"managed_by": "bedside", "ecs_version": ECS_VERSION}
    return {"template": {"mappings": {"properties": properties}}, "_meta": meta}


def _mapping(field: Field) -> dict[str, Any]:
    mapping: dict[str, Any] = {"type": field.type}
    if field.type == "keyword":
        mapping["ignore_above"] = 1024 if field.kind is Kind.KEYWORD else TEXT_CHARACTERS
    if field.unit in _METRIC_UNITS:
        mapping["meta"] = {"unit": _METRIC_UNITS[field.unit]}
    return mapping


def json_schema(stream: Stream = "events", *, complete: bool = True) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of one line of a stream.

    Args:
        stream: the log or the audit trail.
        complete: ask for the required fields and the event's levels too, not only that no field is too many or of
            another type.
    """
    rules = _rules(stream)
    cases = [
        {"if": {"properties": {"message": {"const": event}}}, "then": _event_schema(stream, event, complete=complete)}
        for event in rules
    ]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "required": ["message"],
        "properties": {"message": {"enum": list(rules)}},
        "allOf": cases,
    }


def _event_schema(stream: Stream, event: str, *, complete: bool) -> dict[str, Any]:
    rule = _rules(stream)[event]
    root = _object()
    for field in [*_base(stream), *(FIELDS[name] for name in sorted(rule.fields))]:
        must = field.always or (stream == "audit" and field.name in CHAIN) or (complete and field.name in rule.required)
        value = (
            _value_schema(field, event, rule) if complete or field.ecs != "log.level" else {"enum": list(field.values)}
        )
        _place(root, field, value, must=must)
    return root


def _object() -> dict[str, Any]:
    return {"type": "object", "properties": {}, "required": [], "additionalProperties": False}


def _place(node: dict[str, Any], field: Field, value: dict[str, Any], *, must: bool) -> None:
    *parents, leaf = [field.ecs] if field.ecs in DOTTED else field.ecs.split(".")
    for parent in parents:
        if must and parent not in node["required"]:
            node["required"].append(parent)
        node = node["properties"].setdefault(parent, _object())
    node["properties"][leaf] = value
    if must:
        node["required"].append(leaf)


def _value_schema(field: Field, event: str, rule: EventRule) -> dict[str, Any]:
    special: dict[str, dict[str, Any]] = {
        "message": {"const": event},
        "event.action": {"const": event},
        "event.category": {"const": list(rule.category)},
        "log.level": {"enum": list(rule.levels)},
        "@timestamp": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z$"},
        "service.name": {"type": "string"},  # the operator's
    }
    if field.ecs in special:
        return special[field.ecs]
    if field.values:
        return {"enum": list(field.values)}
    return _KIND_SCHEMAS[field.kind]


_KIND_SCHEMAS: Mapping[Kind, dict[str, Any]] = {
    Kind.KEYWORD: {"type": "string", "pattern": f"^{KEYWORD_PATTERN}$"},
    Kind.TEXT: {"type": "string", "maxLength": TEXT_CHARACTERS},
    Kind.LINES: {"type": "string", "maxLength": TEXT_CHARACTERS},
    Kind.LONG: {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
    Kind.DOUBLE: {"type": "number"},
    Kind.BOOLEAN: {"type": "boolean"},
    Kind.DATE: {"type": "string", "pattern": f"^{MOMENT_PATTERN}$"},
}
