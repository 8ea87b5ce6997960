"""What a dashboard is before it is Kibana's: panels over log events, in rows on a grid of 48 columns.

Only what every version from Kibana 8.9 on draws from a plain aggregation: no formulas, no scripts, no ES|QL.
"""

import hashlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

COLUMNS = 48
"""Width of Kibana's grid."""

TIME_FIELD = "@timestamp"

Operation = Literal["count", "average", "sum", "max", "percentile", "unique_count"]
Kind = Literal["line", "bar_stacked", "metric", "data_table", "markdown"]


HEADINGS = {
    "inference.bundle.name": "model",
    "inference.bundle.version": "version",
    "inference.bundle.digest": "digest",
    "inference.prediction.name": "answered",
    "inference.truth.name": "truth",
    "inference.truth.measure": "measure",
    "inference.error.cause": "exception",
    "inference.operation": "operation",
    "inference.admission.rules": "rules not met",
    "inference.delivery.commit": "commit",
    "inference.delivery.environment": "environment",
    "inference.gate.decision": "decision",
    "error.code": "reason",
    "event.action": "event",
    "event.outcome": "outcome",
    "log.level": "severity",
    "network.protocol": "transport",
    "user.hash": "caller (pseudonym)",
}
"""What people read above a field's values."""


@dataclass(frozen=True, slots=True)
class Where:
    """One condition on a field.

    Attributes:
        field: its name in ECS.
        values: one of these; with an asterisk, a pattern. Without values and ``least``, the field is there.
        least: a number that the field's value reaches.
    """

    field: str
    values: tuple[str, ...] = ()
    least: float | None = None


def event(*actions: str) -> Where:
    """Return the condition that the event is one of these."""
    return Where("event.action", actions)


@dataclass(frozen=True, slots=True)
class Measure:
    """One number out of many events: an operation on a field, over the events that fulfil ``where``."""

    label: str
    operation: Operation = "count"
    field: str = ""
    percentile: int = 0
    where: tuple[Where, ...] = ()


def percentile(rank: int, field: str, label: str = "") -> Measure:
    """Return the measure of a percentile: 95 of 100 values are not above the 95th."""
    return Measure(label or f"p{rank}", "percentile", field, rank)


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel.

    Attributes:
        title: what it shows, and its unit where its field's format does not show one.
        kind: ``line`` and ``bar_stacked`` go over time and are split by ``by[0]``; ``data_table`` has a row for each
            combination of ``by``.
        measures: what is computed; several only where nothing is split.
        where: conditions that events must all fulfil.
        by: fields whose values make series or rows.
        text: of ``markdown``.
    """

    title: str
    kind: Kind
    measures: tuple[Measure, ...] = ()
    where: tuple[Where, ...] = ()
    by: tuple[str, ...] = ()
    text: str = ""

    @property
    def over_time(self) -> bool:
        """Tell whether its horizontal axis is time."""
        return self.kind in {"line", "bar_stacked"}


@dataclass(frozen=True, slots=True)
class Row:
    """Panels side by side, all of one height in units of the grid (20 pixels) and of one width."""

    height: int
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a panel is on the grid."""

    x: int
    y: int
    w: int
    h: int


@dataclass(frozen=True, slots=True)
class Control:
    """A list at the top of a dashboard that narrows it to values of one field."""

    title: str
    field: str


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One dashboard; ``id`` is in its address in Kibana and never changes."""

    id: str
    title: str
    description: str
    rows: tuple[Row, ...]
    controls: tuple[Control, ...] = ()
    days: int = 1

    def placed(self) -> Iterator[tuple[Panel, Place]]:
        """Yield the panels with their places, row by row."""
        y = 0
        for row in self.rows:
            edges = [COLUMNS * number // len(row.panels) for number in range(len(row.panels) + 1)]
            for panel, (left, right) in zip(row.panels, pairwise(edges), strict=True):
                yield panel, Place(left, y, right - left, row.height)
            y += row.height


@dataclass(frozen=True, slots=True)
class DataView:
    """The indices that dashboards look at, and how some fields are shown."""

    id: str
    name: str
    pattern: str


@dataclass(frozen=True, slots=True)
class Alert:
    """Events that somebody should know of: at least ``least`` within ``minutes``.

    Attributes:
        name: what has happened.
        dashboard: id of the dashboard on which to look.
        where: conditions that events must all fulfil.
        least: this many within the window raise it.
        minutes: length of the window.
        per: field with whose values events are counted apart; empty for all together.
        action: what to do, for the runbook.
    """

    name: str
    dashboard: str
    where: tuple[Where, ...]
    least: int
    minutes: int
    action: str
    per: str = ""

    @property
    def id(self) -> str:
        """Return a UUID of version 4 made of the name: Kibana takes no other ids for rules."""
        return str(uuid.UUID(bytes=hashlib.sha256(self.name.encode()).digest()[:16], version=4))
