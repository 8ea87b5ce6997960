"""One log event to one line of ECS JSON, or one line for people. Allow-listed, typed, bounded."""

from collections.abc import Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson
import structlog

from bedside.observability.events import Event
from bedside.observability.fields import CLEAN
from bedside.observability.schema import AUDIT_RULES, ECS_VERSION, FIELDS, RULES, EventRule
from bedside.version import __version__

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Return the time of day in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Service:
    """``service.*``: who writes the log."""

    name: str
    environment: str

    @property
    def document(self) -> dict[str, str]:
        """Return ``service.*``."""
        return {"name": self.name, "version": __version__, "environment": self.environment, "type": "bedside"}


class Slot(NamedTuple):
    """Where a field goes: ``parents`` and ``leaf`` are its name in ECS, taken apart."""

    name: str
    parents: tuple[str, ...]
    leaf: str
    clean: Callable[[Any], Any]


def _slot(name: str) -> Slot:
    field = FIELDS[name]
    *parents, leaf = field.ecs.split(".")
    return Slot(name, tuple(parents), leaf, CLEAN[field.kind])


class Table(NamedTuple):
    """What the events of one stream may carry, ready for use."""

    slots: Mapping[str, Mapping[str, Slot]]
    categories: Mapping[str, list[str]]


def _table(rules: Mapping[str, EventRule]) -> Table:
    slots = {event: {name: _slot(name) for name in rule.fields} for event, rule in rules.items()}
    return Table(slots, {event: list(rule.category) for event, rule in rules.items()})


EVENTS, AUDIT = _table(RULES), _table(AUDIT_RULES)


def clean(event: str, fields: Mapping[str, Any], table: Table = EVENTS) -> tuple[str, list[tuple[Slot, Any]], int]:
    """Return the event's name, the values that may be written, and how many were dropped.

    A name that is not in the catalogue becomes ``event_unlisted``: it may be a sentence with somebody in it.
    """
    slots = table.slots.get(event)
    if slots is None:
        return Event.EVENT_UNLISTED.value, [], len(fields)
    kept: list[tuple[Slot, Any]] = []
    dropped = 0
    for name, value in fields.items():
        if value is None:
            continue
        slot = slots.get(name)
        written = None if slot is None else slot.clean(value)
        if slot is None or written is None:
            dropped += 1
        else:
            kept.append((slot, written))
    return event, kept, dropped


class EcsRenderer:
    """A structlog processor, the only one: event dictionary to a line of JSON in bytes.

    Keys are nested objects except ``log.level`` and ``ecs.version``, as the ECS logging libraries write them: dotted
    keys look the same to Elasticsearch's mapping, but not to its ingest pipelines or to ``jq`` (docs/decisions/0014).
    """

    def __init__(self, service: Service, clock: Clock = utc_now) -> None:
        self._clock = clock
        self._service = service.document

    def __call__(self, _logger: Any, level: str, event_dict: MutableMapping[str, Any]) -> bytes:
        """Render; the arguments are structlog's."""
        event, kept, dropped = clean(event_dict.pop("event", ""), event_dict)
        about: dict[str, Any] = {"kind": "event", "action": event, "category": EVENTS.categories[event]}
        line: dict[str, Any] = {
            "@timestamp": self._clock(),
            "log.level": level,
            "message": event,
            "ecs.version": ECS_VERSION,
            "event": about,
            "service": self._service,
        }
        return rendered(line, kept, dropped)


def rendered(line: dict[str, Any], kept: Iterable[tuple[Slot, Any]], dropped: int) -> bytes:
    """Return a line in bytes, with its values nested beside what it holds already."""
    nodes: dict[tuple[str, ...], dict[str, Any]] = {("event",): line["event"]}
    for slot, value in kept:
        node = nodes.get(slot.parents)
        if node is None:
            node = nodes[slot.parents] = _descend(line, slot.parents)
        node[slot.leaf] = value
    if dropped:
        line["labels"] = {"dropped_fields": str(dropped)}  # ECS: labels are keywords
    return orjson.dumps(line, option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE)


def _descend(node: dict[str, Any], parents: tuple[str, ...]) -> dict[str, Any]:
    for parent in parents:
        node = node.setdefault(parent, {})
    return node


class ConsoleRenderer:
    """The same for people: time, level, event, ``name=value``; as strictly allow-listed."""

    def __init__(self, *, colors: bool, clock: Clock = utc_now) -> None:
        self._clock = clock
        self._render = structlog.dev.ConsoleRenderer(colors=colors)

    def __call__(self, logger: Any, level: str, event_dict: MutableMapping[str, Any]) -> bytes:
        """Render; the arguments are structlog's."""
        event, kept, dropped = clean(event_dict.pop("event", ""), event_dict)
        shown = {slot.name: value for slot, value in kept}
        if dropped:
            shown["dropped_fields"] = dropped
        moment = self._clock().strftime("%H:%M:%S.%f")[:-3]
        text = self._render(logger, level, {"timestamp": moment, "level": level, "event": event, **shown})
        return (text.replace("\n", " | ") + "\n").encode()
