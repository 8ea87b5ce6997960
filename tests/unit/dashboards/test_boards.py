"""What the dashboards and alerts are about: events that are written, fields that these carry, numbers that come out."""

import json
import re
import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from scripts.pictures.evaluation import Event, Group, evaluate, fulfils, measured
from tests.assets.logs import make_logs
from tests.emitted import faults
from tests.unit.dashboards.conftest import GOLDEN

from bedside.dashboards import boards, export
from bedside.dashboards.alerts import ALERTS
from bedside.dashboards.boards import DASHBOARDS
from bedside.dashboards.conditions import kql, query
from bedside.dashboards.model import Alert, Dashboard, Measure, Panel, Where, percentile
from bedside.observability.schema import FIELDS, RULES

PANELS = [
    pytest.param(board, panel, id=f"{board.id}-{place.x}-{place.y}")
    for board in DASHBOARDS
    for panel, place in board.placed()
    if panel.kind != "markdown"
]
ALERT_IDS = [re.sub(r"\W+", "-", alert.name) for alert in ALERTS]


def fields_of(panel: Panel) -> Iterator[str]:
    """Yield the fields that a panel needs of each of its events."""
    yield from panel.by
    for measure in panel.measures:
        yield from filter(None, [measure.field, *(where.field for where in measure.where)])
    yield from (where.field for where in panel.where)


def test_what_is_checked_in_is_what_the_model_says() -> None:
    """`bedside dashboards export` was run, and nothing of an earlier export is left."""
    expected = dict(export.files())
    found = {path.relative_to(GOLDEN).as_posix(): path.read_text() for path in GOLDEN.rglob("*.*json")}
    assert {name for name in expected if found.get(name) != expected[name]} == set()
    assert set(found) == set(expected)


def test_the_made_up_lines_are_lines_of_the_product() -> None:
    """Each is held against the schema, so that what is shown of them could be shown of a server."""
    lines = list(make_logs.lines())
    first = {json.loads(line)["message"]: line for line in lines}
    checked = [*first.values(), *lines[:: len(lines) // 200]]
    assert [fault for line in checked for fault in faults(line)] == []


def test_every_question_has_its_dashboard_and_its_alerts() -> None:
    """Few enough panels to be read; each dashboard has an alert that leads to it."""
    assert len({board.id for board in DASHBOARDS}) == 4
    for board in DASHBOARDS:
        assert len([panel for panel, _ in board.placed() if panel.kind != "markdown"]) <= 15
    assert {alert.dashboard for alert in ALERTS} == {board.id for board in DASHBOARDS}


@pytest.mark.parametrize(("board", "panel"), PANELS)
def test_the_events_of_a_panel_carry_its_fields(board: Dashboard, panel: Panel) -> None:
    """A panel over a field that its event never has would be empty for ever."""
    named = {FIELDS[name].ecs: name for name in FIELDS}
    actions = [value for where in panel.where if where.field == "event.action" for value in where.values]
    for action in actions:
        lacking = [field for field in fields_of(panel) if field in named and named[field] not in RULES[action].fields]
        assert lacking == [], (board.id, panel.title)


@pytest.mark.parametrize(("board", "panel"), PANELS)
def test_no_panel_is_empty(board: Dashboard, panel: Panel, month: list[Event]) -> None:
    """Over a month in which everything happened, each shows numbers."""
    end = max(event["@timestamp"] for event in month)
    edges = [end - timedelta(days=30 - number) for number in range(31)]
    groups = evaluate(panel, month, edges)
    assert groups, panel.title
    assert all(any(value for value in group.values) for group in groups[:1]), panel.title
    if panel.over_time:
        assert any(value for line in groups[0].over_time for value in line)


@pytest.mark.parametrize("alert", ALERTS, ids=ALERT_IDS)
def test_an_alert_finds_what_it_is_about(alert: Alert, month: list[Event], field_types: dict[str, str]) -> None:
    """Its conditions are fulfilled by events that the product writes, and its fields have the type that they need."""
    for where in alert.where:
        assert field_types[where.field] in (("long", "double") if where.least else ("keyword",))
    assert not alert.per or field_types[alert.per] == "keyword"
    if "30 seconds" not in alert.name:
        assert any(fulfils(event, alert.where) for event in month)


@pytest.mark.parametrize("alert", ALERTS, ids=ALERT_IDS)
def test_an_alert_has_an_id_that_kibana_takes_and_something_to_do(alert: Alert) -> None:
    """Rules want UUIDs; an alert without an action is noise."""
    assert uuid.UUID(alert.id).version == 4
    assert alert.least >= 1
    assert alert.minutes >= 5
    assert re.fullmatch(r".{20,}\.", alert.action)
    body = json.loads((GOLDEN / "rules" / f"{alert.id}.json").read_text())
    assert json.loads(body["params"]["esQuery"]) == {"query": query(alert.where)}
    assert body["params"]["timeWindowSize"] == alert.minutes
    assert (body["params"]["groupBy"] == "top") == bool(alert.per)


def test_alerts_are_told_apart() -> None:
    """By name, of which the id is made."""
    assert len({alert.name for alert in ALERTS}) == len(ALERTS) == len({alert.id for alert in ALERTS})


@pytest.mark.parametrize("board", DASHBOARDS, ids=lambda board: board.id)
def test_both_forms_show_the_same(board: Dashboard, exported: list[dict[str, Any]]) -> None:
    """Places, titles, queries and fields of the Dashboards API are those of the saved object."""
    saved = next(found for found in exported if found["id"] == board.id)["attributes"]
    api = json.loads((GOLDEN / "api" / f"{board.id}.json").read_text())
    assert api["title"] == saved["title"]
    panels = json.loads(saved["panelsJSON"])
    assert [panel["grid"] for panel in api["panels"]] == [
        {key: value for key, value in panel["gridData"].items() if key != "i"} for panel in panels
    ]
    for ours, theirs in zip(api["panels"], panels, strict=True):
        if ours["type"] == "markdown":
            assert ours["config"]["content"] == theirs["embeddableConfig"]["savedVis"]["params"]["markdown"]
            continue
        state = theirs["embeddableConfig"]["attributes"]["state"]
        assert ours["config"]["query"]["expression"] == state["query"]["query"]
        (layer,) = state["datasourceStates"]["formBased"]["layers"].values()
        fields = {column["sourceField"] for column in layer["columns"].values()} - {"___records___"}
        assert set(re.findall(r'"fields?": \[?"([^"]+)"', json.dumps(ours["config"]))) == fields


@pytest.mark.parametrize(
    ("where", "text", "event", "holds"),
    [
        (Where("a.b", ("x",)), 'a.b: "x"', {"a.b": "x"}, True),
        (Where("a.b", ("x", "y")), 'a.b: ("x" or "y")', {"a.b": "y"}, True),
        (Where("a.b", ("x",)), 'a.b: "x"', {"a.b": "xx"}, False),
        (Where("a.b", ("*x*",)), "a.b: *x*", {"a.b": "pixels"}, True),
        (Where("a.b", ("*x*",)), "a.b: *x*", {"a.b": "dots"}, False),
        (Where("a.b"), "a.b: *", {"a.b": 0}, True),
        (Where("a.b"), "a.b: *", {"a": 0}, False),
        (Where("a.b", least=3), "a.b >= 3", {"a.b": 3}, True),
        (Where("a.b", least=3), "a.b >= 3", {"a.b": 2}, False),
    ],
)
def test_a_condition_means_the_same_everywhere(where: Where, text: str, event: Event, holds: bool) -> None:  # noqa: FBT001
    """In Kibana's language, in Elasticsearch's, and here."""
    assert kql([where]) == text
    assert fulfils(event, [where]) is holds
    assert where.field in json.dumps(query([where]))


def test_conditions_are_all_required() -> None:
    """Side by side they are joined by and."""
    both = (Where("a", ("x",)), Where("b"))
    assert kql(both) == 'a: "x" and b: *'
    assert not fulfils({"a": "x"}, both)
    assert query(both)["bool"]["filter"] == [{"terms": {"a": ["x"]}}, {"exists": {"field": "b"}}]


@pytest.mark.parametrize(
    ("measure", "expected"),
    [
        (Measure("n"), 4),
        (Measure("n", where=(Where("k", ("x",)),)), 2),
        (Measure("n", "sum", "v"), 6.0),
        (Measure("n", "average", "v"), 2.0),
        (Measure("n", "max", "v"), 3.0),
        (Measure("n", "unique_count", "k"), 2),
        (percentile(50, "v"), 2.0),
        (Measure("n", "average", "none"), None),
    ],
)
def test_measures_are_elasticsearchs(measure: Measure, expected: float | None) -> None:
    """Events without the field do not count; a sum of nothing is 0, an average of nothing is none."""
    events: list[Event] = [{"k": "x", "v": 1}, {"k": "x", "v": 2}, {"k": "y", "v": 3}, {}]
    assert measured(measure, events) == expected


def test_a_panel_shows_the_ten_largest() -> None:
    """As Lens does, with what is missing left out."""
    panel = Panel("", "data_table", (Measure("n"),), by=("k",))
    events: list[Event] = [{"k": f"{number:02}"} for number in range(12) for _ in range(number + 1)]
    found = evaluate(panel, [*events, {}])
    assert found[0] == Group(("11",), (12,))
    assert len(found) == 10


def test_every_data_stream_of_ours_is_looked_at() -> None:
    """The names that shippers give them begin like the pattern."""
    assert boards.LOGS.pattern == "logs-bedside*"
