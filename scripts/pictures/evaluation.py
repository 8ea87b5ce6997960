"""What a panel would show, computed here: for pictures of the dashboards, and for tests that none is empty.

Elasticsearch answers percentiles by an approximation (t-digest); these are exact.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from bedside.dashboards.model import TIME_FIELD, Measure, Panel, Where

MOST = 10
"""Values of a field that a panel shows: those with the largest first measure."""

Event = Mapping[str, Any]
"""One log event, as ``field: value`` with dots in names."""


@dataclass(frozen=True, slots=True)
class Group:
    """One bar, row or series: the values of the panel's ``by``, its measures, and the same by time."""

    keys: tuple[str, ...]
    values: tuple[float | None, ...]
    over_time: tuple[tuple[float | None, ...], ...] = ()


def flat(line: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the fields of a log line with the names that Elasticsearch gives them."""
    for name, value in line.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def evaluate(panel: Panel, events: Iterable[Event], edges: Sequence[datetime] = ()) -> list[Group]:
    """Return what the panel shows of some events, the largest first.

    Args:
        panel: any but text.
        events: with ``@timestamp`` as a datetime.
        edges: bounds of the intervals of time, ascending; for panels that go over time.
    """
    groups: dict[tuple[str, ...], list[Event]] = defaultdict(list)
    for event in events:
        if fulfils(event, panel.where) and all(field in event for field in panel.by):
            groups[tuple(str(event[field]) for field in panel.by)].append(event)
    found = [_group(panel, keys, inside, edges) for keys, inside in groups.items()]
    found.sort(key=lambda group: (-(group.values[0] or 0), group.keys))
    return found[:MOST]


def _group(panel: Panel, keys: tuple[str, ...], events: Sequence[Event], edges: Sequence[datetime]) -> Group:
    values = tuple(measured(measure, events) for measure in panel.measures)
    if not panel.over_time:
        return Group(keys, values)
    slots: list[list[Event]] = [[] for _ in edges[1:]]
    bounds = [edge.timestamp() for edge in edges]
    for event in events:
        slot = int(np.searchsorted(bounds, event[TIME_FIELD].timestamp(), side="right")) - 1
        if 0 <= slot < len(slots):
            slots[slot].append(event)
    over_time = tuple(tuple(measured(measure, slot) for slot in slots) for measure in panel.measures)
    return Group(keys, values, over_time)


def measured(measure: Measure, events: Iterable[Event]) -> float | None:
    """Return the measure of some events, None where none of them has the field."""
    counted = [event for event in events if fulfils(event, measure.where)]
    if measure.operation == "count":
        return len(counted)
    values = [event[measure.field] for event in counted if measure.field in event]
    if measure.operation == "unique_count":
        return len(set(values))
    if measure.operation == "sum":
        return float(sum(values))
    if not values:
        return None
    if measure.operation == "percentile":
        return float(np.percentile(values, measure.percentile))
    return float(max(values)) if measure.operation == "max" else float(np.mean(values))


def fulfils(event: Mapping[str, Any], conditions: Iterable[Where]) -> bool:
    """Tell whether an event, as ``field: value`` with dots in names, fulfils all conditions."""
    return all(_fulfils(event.get(where.field), where) for where in conditions)


def _fulfils(value: Any, where: Where) -> bool:
    if value is None:
        return False
    if where.least is not None:
        return bool(value >= where.least)
    patterns = [".*".join(map(re.escape, wanted.split("*"))) for wanted in where.values]
    return not patterns or any(re.fullmatch(pattern, str(value)) for pattern in patterns)
