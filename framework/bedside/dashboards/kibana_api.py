"""The model as bodies for Kibana's HTTP interface: alerting rules (8.9 on), ``/api/dashboards`` (9.5 on)."""

import json
from typing import Any

from bedside.dashboards.conditions import kql, query
from bedside.dashboards.model import TIME_FIELD, Alert, Dashboard, DataView, Measure, Panel, Place

_TERMS = 10
_CHECK = "1m"


def rule(alert: Alert, view: DataView) -> dict[str, Any]:
    """Return the body of ``POST /api/alerting/rule/{id}``; connectors (mail, chat) are the site's to add."""
    counted: dict[str, Any] = {"groupBy": "all"}
    if alert.per:
        counted = {"groupBy": "top", "termField": alert.per, "termSize": _TERMS}
    params = {
        "searchType": "esQuery",
        "index": [view.pattern],
        "timeField": TIME_FIELD,
        "esQuery": json.dumps({"query": query(alert.where)}, sort_keys=True),
        "size": 10 if not alert.per else 0,
        "aggType": "count",
        **counted,
        "threshold": [alert.least],
        "thresholdComparator": ">=",
        "timeWindowSize": alert.minutes,
        "timeWindowUnit": "m",
        "excludeHitsFromPreviousRun": False,
    }
    return {
        "name": alert.name,
        "rule_type_id": ".es-query",
        "consumer": "stackAlerts",
        "enabled": True,
        "tags": ["bedside", alert.dashboard],
        "schedule": {"interval": _CHECK},
        "params": params,
        "actions": [],
    }


def dashboard(board: Dashboard, view: DataView) -> dict[str, Any]:
    """Return the body of ``PUT /api/dashboards/{id}``; the data view must be there."""
    controls = [
        {
            "type": "options_list_control",
            "width": "medium",
            "grow": True,
            "config": {"data_view_id": view.id, "field_name": control.field, "title": control.title},
        }
        for control in board.controls
    ]
    return {
        "title": board.title,
        "description": board.description,
        "time_range": {"from": f"now-{board.days}d", "to": "now"},
        "refresh_interval": {"pause": False, "value": 60000},
        "panels": [_panel(panel, place, view) for panel, place in board.placed()],
        "pinned_panels": controls,
    }


def _panel(panel: Panel, place: Place, view: DataView) -> dict[str, Any]:
    grid = {"x": place.x, "y": place.y, "w": place.w, "h": place.h}
    if panel.kind == "markdown":
        return {"grid": grid, "type": "markdown", "config": {"content": panel.text}}
    config = {"title": panel.title, "query": {"expression": kql(panel.where)}, **_chart(panel, view)}
    return {"grid": grid, "type": "vis", "config": config}


def _chart(panel: Panel, view: DataView) -> dict[str, Any]:
    source = {"type": "data_view_reference", "ref_id": view.id}
    measures = [_measured(measure) for measure in panel.measures]
    terms = [{"operation": "terms", "fields": [field], "limit": _TERMS} for field in panel.by]
    if panel.kind == "metric":
        return {"type": "metric", "data_source": source, "metrics": [{"type": "primary", **measures[0]}]}
    if panel.kind == "data_table":
        return {"type": "data_table", "data_source": source, "metrics": measures, "rows": terms}
    time = {"operation": "date_histogram", "field": TIME_FIELD}
    layer: dict[str, Any] = {"type": panel.kind, "data_source": source, "y": measures, "x": time}
    layer |= {"breakdown_by": terms[0]} if terms else {}
    return {"type": "xy", "layers": [layer]}


def _measured(measure: Measure) -> dict[str, Any]:
    column: dict[str, Any] = {"operation": measure.operation, "label": measure.label}
    if measure.field:
        column["field"] = measure.field
    if measure.operation == "percentile":
        column["percentile"] = measure.percentile
    if measure.where:
        column["filter"] = {"expression": kql(measure.where)}
    return column
