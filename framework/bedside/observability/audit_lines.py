"""One audit record to one line of ECS JSON, allow-listed like the log.

Calls are many and alike, so theirs are filled into templates, which are what the general way makes of placeholders (as
in ``inference_line.py``; a test compares them).
"""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, NamedTuple

from bedside.observability.events import AuditAction
from bedside.observability.fields import CLEAN
from bedside.observability.rendering import AUDIT, Service, clean, rendered
from bedside.observability.schema import ECS_VERSION, Kind
from bedside.observability.template import MOMENT, MOMENT_PLACES, Template, number, word
from bedside.types import Principal

_MOST_TEMPLATES = 1024
_VARYING = ("request_id", "input_hash", "rows")
_PLACES = {
    **MOMENT_PLACES,
    **{word(name): b"%b" for name in ("request_id", "input_hash")},
    str(number(0)): b"%d",
    str(number(1)): b"%d",
    word("audit_previous"): b"%b",
}
_FACTS = {
    **{name: word(name) for name in ("request_id", "input_hash", "audit_previous")},
    "rows": number(0),
    "audit_sequence": number(1),
}
_keyword = CLEAN[Kind.KEYWORD]
Clock = Callable[[], float]


class Record(NamedTuple):
    """What is recorded.

    Attributes:
        action: what happened.
        who: did it; None where nobody is known.
        same: facts that many calls share, by their names in the code.
        varying: ``request_id``, ``input_hash`` and ``rows`` of a call.
    """

    action: AuditAction
    who: Principal | None
    same: Mapping[str, Any]
    varying: Mapping[str, Any] = MappingProxyType({})


class AuditLines:
    """Renders the records of one chain, each at the moment that it is rendered.

    Args:
        service: who writes.
        caller: pseudonym of issuer and subject.
        clock: seconds since the epoch.
    """

    def __init__(self, service: Service, caller: Callable[[str, str], str], clock: Clock = time.time) -> None:
        self._service = service.document
        self._caller = caller
        self._clock = clock
        self._templates: dict[tuple[object, ...], Template] = {}
        self._second = -1, b""

    def __call__(self, record: Record, chain: str, sequence: int, previous: str) -> bytes:
        """Return the line of a record at its place in a chain."""
        action, who, same, varying = record
        moment = self._clock()
        if tuple(varying) != _VARYING or not (varying["input_hash"] and _keyword(varying["request_id"])):
            place = {"audit_sequence": sequence, "audit_previous": previous}
            return self._general(
                action, datetime.fromtimestamp(moment, UTC), who, {**same, **varying, "audit_chain": chain, **place}
            )
        key = (action, chain, who and who.issuer, who and who.subject, *same.values())
        template = self._templates.get(key) or self._template(key, record, chain)
        second = int(moment)
        if second != self._second[0]:
            self._second = second, datetime.fromtimestamp(second, UTC).isoformat()[:19].encode()
        request_id, input_hash, rows = varying.values()
        when = self._second[1], int((moment - second) * 1e6)
        return template.fill((*when, request_id.encode(), input_hash.encode(), rows, sequence, previous.encode()))

    def _general(self, action: AuditAction, when: datetime, who: Principal | None, facts: dict[str, Any]) -> bytes:
        if who is not None:
            facts["user_hash"] = self._caller(who.issuer, who.subject)
        event, kept, dropped = clean(action, facts, AUDIT)
        line = {
            "@timestamp": when,
            "message": event,
            "ecs.version": ECS_VERSION,
            "event": {"kind": "event", "action": event, "category": AUDIT.categories[event]},
            "service": self._service,
        }
        return rendered(line, kept, dropped)

    def _template(self, key: tuple[object, ...], record: Record, chain: str) -> Template:
        facts = {**record.same, "audit_chain": chain, **_FACTS}
        template = Template(self._general(record.action, MOMENT, record.who, facts), _PLACES)
        if len(self._templates) >= _MOST_TEMPLATES:
            self._templates.clear()
        self._templates[key] = template
        return template
