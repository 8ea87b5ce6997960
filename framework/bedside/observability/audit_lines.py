"""One audit record to one line of ECS JSON, allow-listed like the log.

Calls are many and alike, so theirs are filled into templates, which are what the general way makes of placeholders (as
in ``inference_line.py``; a test compares them).
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from bedside.observability.events import AuditAction
from bedside.observability.fields import CLEAN
from bedside.observability.rendering import AUDIT, Service, clean, rendered
from bedside.observability.schema import ECS_VERSION, Kind
from bedside.types import Principal

_MOST_TEMPLATES = 1024
_MOMENT = datetime(1999, 12, 31, 23, 59, 59, 999999, UTC)
_WORDS = {name: f"placeholder-of-{name}" for name in ("request_id", "input_hash", "audit_previous")}
_NUMBERS = {"rows": 900719925474000, "audit_sequence": 900719925474001}  # nothing else in the line has such numbers
_VARYING = ("request_id", "input_hash", "rows")
_keyword = CLEAN[Kind.KEYWORD]


class Record(NamedTuple):
    """What is recorded.

    Attributes:
        action: what happened.
        moment: when, in seconds since the epoch.
        who: did it; None where nobody is known.
        same: facts that many calls share, by their names in the code.
        varying: ``request_id``, ``input_hash`` and ``rows`` of a call.
    """

    action: AuditAction
    moment: float
    who: Principal | None
    same: Mapping[str, Any]
    varying: Mapping[str, Any]


class AuditLines:
    """Renders the records of one chain.

    Args:
        service: who writes.
        caller: pseudonym of issuer and subject.
    """

    def __init__(self, service: Service, caller: Callable[[str, str], str]) -> None:
        self._service = service.document
        self._caller = caller
        self._templates: dict[tuple[object, ...], str] = {}
        self._second = -1, ""

    def __call__(self, record: Record, chain: str, sequence: int, previous: str) -> bytes:
        """Return the line of a record at its place in a chain."""
        action, moment, who, same, varying = record
        if tuple(varying) != _VARYING or not (varying["input_hash"] and _keyword(varying["request_id"])):
            place = {"audit_sequence": sequence, "audit_previous": previous}
            return self._general(
                action, datetime.fromtimestamp(moment, UTC), who, {**same, **varying, "audit_chain": chain, **place}
            )
        key = (action, chain, who and who.issuer, who and who.subject, *same.values())
        template = self._templates.get(key) or self._template(key, record, chain)
        second = int(moment)
        if second != self._second[0]:
            self._second = second, datetime.fromtimestamp(second, UTC).isoformat()[:19]
        values = {"moment": f"{self._second[1]}.{int((moment - second) * 1e6):06d}", **varying}
        values["audit_sequence"], values["audit_previous"] = sequence, previous
        return (template % values).encode()

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

    def _template(self, key: tuple[object, ...], record: Record, chain: str) -> str:
        facts = {**record.same, "audit_chain": chain, **_WORDS, **_NUMBERS}
        line = self._general(record.action, _MOMENT, record.who, facts).decode().replace("%", "%%")
        line = line.replace(_MOMENT.isoformat().replace("+00:00", "Z"), "%(moment)sZ")
        for name, word in _WORDS.items():
            line = line.replace(word, f"%({name})s")
        for name, number in _NUMBERS.items():
            line = line.replace(str(number), f"%({name})d")
        if len(self._templates) >= _MOST_TEMPLATES:
            self._templates.clear()
        self._templates[key] = line
        return line
