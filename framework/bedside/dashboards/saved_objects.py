"""The model as Kibana's saved objects: newline-delimited JSON that versions 8.9 to 9.x import.

The versions written into the objects are the oldest that have what is used: Kibana migrates upwards, refuses what is
newer than itself, and migrates objects without versions through every step there ever was. Formulas are not used: they
would have to be written out as the expression that Lens makes of them.
"""

import json
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

from bedside.dashboards.conditions import kql
from bedside.dashboards.model import HEADINGS, TIME_FIELD, Control, Dashboard, DataView, Measure, Panel, Place

CORE_MIGRATION = "8.8.0"
DASHBOARD_MIGRATION = "8.9.0"
DATA_VIEW_MIGRATION = "8.0.0"
_NAMESPACE = uuid.UUID("5f8b2a52-4a1d-5f0e-9c59-0d5f0b6b1c11")
_TERMS = 10
_SHOWN = {"line": "lnsXY", "bar_stacked": "lnsXY", "metric": "lnsMetric", "data_table": "lnsDatatable"}
_PERCENT = {"id": "percent", "params": {"pattern": "0.0%"}}
_SPAN = {"inputFormat": "seconds", "outputFormat": "humanizePrecise", "outputPrecision": 1, "useShortSuffix": True}
_FORMATS: dict[str, Any] = {
    "event.duration": {"id": "duration", "params": {"inputFormat": "nanoseconds", "outputFormat": "asMilliseconds"}},
    "inference.outcome_ok": _PERCENT,
    "inference.truth.correct": _PERCENT,
    "inference.truth.share": _PERCENT,
    "inference.truth.expected": _PERCENT,
    "inference.truth.shortfall": _PERCENT,
    "inference.delivery.change_failed": _PERCENT,
    "inference.gate.disagreed": _PERCENT,
    "inference.delivery.lead_seconds": {"id": "duration", "params": _SPAN},
    "inference.delivery.restored_seconds": {"id": "duration", "params": _SPAN},
    "http.request.body.bytes": {"id": "bytes"},
    "http.response.body.bytes": {"id": "bytes"},
}

Object = dict[str, Any]


def saved_objects(dashboards: Sequence[Dashboard], view: DataView) -> Iterator[Object]:
    """Yield the data view, then the dashboards."""
    yield _data_view(view)
    for dashboard in dashboards:
        yield _Board(dashboard, view).object()


def as_ndjson(objects: Sequence[Object]) -> str:
    """Return the objects as Kibana exports them, one in a line."""
    return "".join(_text(found) + "\n" for found in objects)


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _identity(*names: object) -> str:
    """Return a UUID that is the same for the same names, so that importing again changes nothing."""
    return str(uuid.uuid5(_NAMESPACE, "/".join(map(str, names))))


def _data_view(view: DataView) -> Object:
    empty = dict.fromkeys(("fieldAttrs", "runtimeFieldMap", "typeMeta"), "{}")
    attributes = {
        "title": view.pattern,
        "name": view.name,
        "timeFieldName": TIME_FIELD,
        "allowNoIndex": True,
        "fieldFormatMap": _text(_FORMATS),
        "fields": "[]",
        "sourceFilters": "[]",
        **empty,
    }
    return _object("index-pattern", view.id, DATA_VIEW_MIGRATION, attributes, [])


def _object(kind: str, id_: str, version: str, attributes: Object, references: list[Object]) -> Object:
    return {
        "type": kind,
        "id": id_,
        "coreMigrationVersion": CORE_MIGRATION,
        "typeMigrationVersion": version,
        "managed": False,
        "references": references,
        "attributes": attributes,
    }


class _Board:
    """Writes one dashboard; gathers the references that its panels and controls make."""

    def __init__(self, dashboard: Dashboard, view: DataView) -> None:
        self._dashboard = dashboard
        self._view = view
        self._references: list[Object] = []

    def object(self) -> Object:
        """Return the saved object."""
        board = self._dashboard
        panels = [self._panel(panel, place) for panel, place in board.placed()]
        attributes = {
            "title": board.title,
            "description": board.description,
            "version": 1,
            "timeRestore": True,
            "timeFrom": f"now-{board.days}d",
            "timeTo": "now",
            "refreshInterval": {"pause": False, "value": 60000},
            "kibanaSavedObjectMeta": {"searchSourceJSON": _text({"query": _query(""), "filter": []})},
            "optionsJSON": _text(
                dict.fromkeys(("useMargins", "syncCursor", "syncTooltips"), True)
                | dict.fromkeys(("syncColors", "hidePanelTitles"), False)
            ),
            "panelsJSON": _text(panels),
            "controlGroupInput": self._controls(board.controls),
        }
        return _object("dashboard", board.id, DASHBOARD_MIGRATION, attributes, self._references)

    def _refer(self, name: str) -> Object:
        return {"type": "index-pattern", "id": self._view.id, "name": name}

    def _controls(self, controls: Sequence[Control]) -> Object:
        panels = {}
        for order, control in enumerate(controls):
            id_ = _identity(self._dashboard.id, "control", control.field)
            self._references.append(self._refer(f"controlGroup_{id_}:optionsListDataView"))
            given = {"id": id_, "fieldName": control.field, "title": control.title, "enhancements": {}}
            panels[id_] = {
                "order": order,
                "width": "medium",
                "grow": True,
                "type": "optionsListControl",
                "explicitInput": given,
            }
        ignored = ("ignoreFilters", "ignoreQuery", "ignoreTimerange", "ignoreValidations")
        return {
            "controlStyle": "oneLine",
            "chainingSystem": "HIERARCHICAL",
            "panelsJSON": _text(panels),
            "ignoreParentSettingsJSON": _text(dict.fromkeys(ignored, False)),
        }

    def _panel(self, panel: Panel, place: Place) -> Object:
        index = _identity(self._dashboard.id, place.x, place.y)
        shown = _markdown(panel) if panel.kind == "markdown" else self._lens(panel, index)
        grid = {"x": place.x, "y": place.y, "w": place.w, "h": place.h, "i": index}
        return {"panelIndex": index, "gridData": grid, "title": panel.title, **shown}

    def _lens(self, panel: Panel, index: str) -> Object:
        layer = _identity(index, "layer")
        name = f"indexpattern-datasource-layer-{layer}"
        self._references.append(self._refer(f"{index}:{name}"))
        columns = _columns(panel, layer)
        data = {"columns": columns, "columnOrder": list(columns), "incompleteColumns": {}, "sampling": 1}
        state = {
            "query": _query(kql(panel.where)),
            "filters": [],
            "internalReferences": [],
            "adHocDataViews": {},
            "datasourceStates": {"formBased": {"layers": {layer: data}}},
            "visualization": _visualization(panel, layer, columns),
        }
        attributes = {
            "title": "",
            "type": "lens",
            "visualizationType": _SHOWN[panel.kind],
            "references": [self._refer(name)],
            "state": state,
        }
        settings = {"hidePanelTitles": False, "enhancements": {}, "attributes": attributes}
        return {"type": "lens", "embeddableConfig": settings}


def _query(expression: str) -> Object:
    return {"query": expression, "language": "kuery"}


def _markdown(panel: Panel) -> Object:
    visualization = {
        "type": "markdown",
        "title": "",
        "description": "",
        "params": {"fontSize": 12, "openLinksInNewTab": False, "markdown": panel.text},
        "uiState": {},
        "data": {"aggs": [], "searchSource": {"query": _query(""), "filter": []}},
    }
    settings = {"hidePanelTitles": True, "enhancements": {}, "savedVis": visualization}
    return {"type": "visualization", "embeddableConfig": settings}


def _columns(panel: Panel, layer: str) -> dict[str, Object]:
    """Return the columns in Lens' order: what events are put into, then what is computed of them."""
    measures = {_identity(layer, "measure", number): measure for number, measure in enumerate(panel.measures)}
    ranked = next(iter(measures))
    columns = {_identity(layer, "by", number): _terms(field, ranked) for number, field in enumerate(panel.by)}
    if panel.over_time:
        columns[_identity(layer, "time")] = _time()
    return columns | {id_: _measured(measure) for id_, measure in measures.items()}


def _column(label: str, kind: str, operation: str, field: str, params: Object) -> Object:
    return {
        "label": label,
        "customLabel": True,
        "dataType": kind,
        "operationType": operation,
        "sourceField": field,
        "isBucketed": kind != "number",
        "scale": {"number": "ratio", "string": "ordinal", "date": "interval"}[kind],
        "params": params,
    }


def _time() -> Object:
    params = {"interval": "auto", "includeEmptyRows": True, "dropPartials": False}
    return _column("time", "date", "date_histogram", TIME_FIELD, params)


def _terms(field: str, ranked: str) -> Object:
    params = {
        "size": _TERMS,
        "orderBy": {"type": "column", "columnId": ranked},
        "orderDirection": "desc",
        "otherBucket": False,
        "missingBucket": False,
        "parentFormat": {"id": "terms"},
        "include": [],
        "exclude": [],
        "includeIsRegex": False,
        "excludeIsRegex": False,
    }
    return _column(HEADINGS.get(field, field), "string", "terms", field, params)


def _measured(measure: Measure) -> Object:
    params: Object = {"percentile": measure.percentile} if measure.operation == "percentile" else {}
    if measure.operation in {"count", "sum", "unique_count"}:
        params["emptyAsNull"] = False
    column = _column(measure.label, "number", measure.operation, measure.field or "___records___", params)
    return column | ({"filter": _query(kql(measure.where))} if measure.where else {})


def _visualization(panel: Panel, layer: str, columns: dict[str, Object]) -> Object:
    buckets = [id_ for id_, column in columns.items() if column["dataType"] == "string"]
    measures = [id_ for id_, column in columns.items() if column["dataType"] == "number"]
    of_layer: Object = {"layerId": layer, "layerType": "data"}
    if panel.kind == "metric":
        return {**of_layer, "metricAccessor": measures[0]}
    if panel.kind == "data_table":
        shown = [{"columnId": id_, "isTransposed": False} for id_ in columns]
        return {**of_layer, "columns": shown, "paging": {"enabled": True, "size": 10}}
    axis = next(id_ for id_, column in columns.items() if column["dataType"] == "date")
    split = {"splitAccessor": buckets[0]} if buckets else {}
    of_layer |= {"seriesType": panel.kind, "xAccessor": axis, "accessors": measures, **split}
    sides = {"x": True, "yLeft": True, "yRight": True}
    return {
        "preferredSeriesType": panel.kind,
        "legend": {"isVisible": True, "position": "bottom"},
        "valueLabels": "hide",
        "fittingFunction": "None",
        "axisTitlesVisibilitySettings": dict.fromkeys(sides, False),
        "tickLabelsVisibilitySettings": sides,
        "gridlinesVisibilitySettings": sides,
        "labelsOrientation": dict.fromkeys(sides, 0),
        "layers": [of_layer],
    }
