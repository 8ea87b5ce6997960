"""The rules of Kibana's export format: one that is broken fails the import, or leaves a panel blank without a word.

They hold for every dashboard that Elastic itself exports (docs/decisions/0123). A rule yields what is wrong.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

Object = dict[str, Any]
Types = Mapping[str, str]
Rule = Callable[[Sequence[Object], Types], Iterator[str]]

CORE = "8.8.0"
VERSIONS = {"index-pattern": "8.0.0", "dashboard": "8.9.0"}
DASHBOARD_KEYS = {
    *("title", "description", "timeRestore", "timeFrom", "timeTo", "refreshInterval", "version"),
    *("kibanaSavedObjectMeta", "optionsJSON", "panelsJSON", "controlGroupInput"),
}
NUMBERS = {"byte", "long", "double"}
OPERATIONS = {
    "date_histogram": {"date"},
    "terms": {"keyword", "long"},
    "unique_count": {"keyword", "long"},
    "count": set[str](),
    **dict.fromkeys(("average", "sum", "max", "percentile"), NUMBERS),
}
DATA_TYPES = {"date_histogram": "date", "terms": "string"}
XY = {
    *("layers", "legend", "fittingFunction", "preferredSeriesType", "valueLabels"),
    *("axisTitlesVisibilitySettings", "tickLabelsVisibilitySettings", "gridlinesVisibilitySettings"),
}


def dashboards(objects: Sequence[Object]) -> Iterator[Object]:
    """Yield the dashboards."""
    return (found for found in objects if found["type"] == "dashboard")


def panels(objects: Sequence[Object]) -> Iterator[tuple[Object, Object]]:
    """Yield each panel with its dashboard."""
    for board in dashboards(objects):
        for panel in json.loads(board["attributes"]["panelsJSON"]):
            yield board, panel


def lenses(objects: Sequence[Object]) -> Iterator[tuple[Object, Object, str, Object]]:
    """Yield dashboard, panel, id of the layer and layer of each panel of Lens."""
    for board, panel in panels(objects):
        if panel["type"] == "lens":
            layers = panel["embeddableConfig"]["attributes"]["state"]["datasourceStates"]["formBased"]["layers"]
            for layer_id, layer in layers.items():
                yield board, panel, layer_id, layer


def columns(objects: Sequence[Object]) -> Iterator[Object]:
    """Yield each column."""
    for _, _, _, layer in lenses(objects):
        yield from layer["columns"].values()


def nested_json_is_text(objects: Sequence[Object], _: Types) -> Iterator[str]:
    """Lists of panels and controls are strings that hold JSON, never JSON itself."""
    for board in dashboards(objects):
        attributes = board["attributes"]
        texts = [attributes["panelsJSON"], attributes["optionsJSON"], attributes["controlGroupInput"]["panelsJSON"]]
        texts += [attributes["controlGroupInput"]["ignoreParentSettingsJSON"]]
        texts += [attributes["kibanaSavedObjectMeta"]["searchSourceJSON"]]
        yield from ("not a string" for text in texts if not isinstance(text, str))


def versions_are_old_enough(objects: Sequence[Object], _: Types) -> Iterator[str]:
    """Kibana refuses what is newer than itself, and migrates what has no version from the beginning of time."""
    for found in objects:
        if (found.get("coreMigrationVersion"), found.get("typeMigrationVersion")) != (CORE, VERSIONS[found["type"]]):
            yield f"{found['id']}: versions"


def data_views_come_first(objects: Sequence[Object], _: Types) -> Iterator[str]:
    """What is referred to is there before what refers to it."""
    kinds = [found["type"] for found in objects]
    if kinds != sorted(kinds, key=lambda kind: kind != "index-pattern"):
        yield "order"


def ids_are_unique(objects: Sequence[Object], _: Types) -> Iterator[str]:
    """An object that has the id of another replaces it."""
    yield from (f"twice: {id_}" for id_, count in Counter(found["id"] for found in objects).items() if count > 1)
    for board in dashboards(objects):
        indices = Counter(panel["panelIndex"] for panel in json.loads(board["attributes"]["panelsJSON"]))
        yield from (f"twice: {index}" for index, count in indices.items() if count > 1)


def only_keys_of_the_first_version(objects: Sequence[Object], _: Types) -> Iterator[str]:
    """Kibana 8.9 forbids keys that it does not know."""
    for board in dashboards(objects):
        if set(board["attributes"]) != DASHBOARD_KEYS:
            yield f"{board['id']}: {set(board['attributes']) ^ DASHBOARD_KEYS}"


def references_resolve(objects: Sequence[Object], _: Types) -> Iterator[str]:
    """Every reference leads to an object of the same file."""
    known = {(found["type"], found["id"]) for found in objects}
    for found in objects:
        inner = [
            reference
            for board, panel in panels(objects)
            if board is found and panel["type"] == "lens"
            for reference in panel["embeddableConfig"]["attributes"]["references"]
        ]
        for reference in [*found["references"], *inner]:
            if (reference["type"], reference["id"]) not in known:
                yield f"{found['id']}: {reference['id']}"


def inner_references_stand_outside_too(objects: Sequence[Object], _: Types) -> Iterator[str]:
    """On the dashboard with the panel's index before it; and none without its panel."""
    for board in dashboards(objects):
        wanted = set()
        for panel in json.loads(board["attributes"]["panelsJSON"]):
            if panel["type"] == "lens":
                inner = panel["embeddableConfig"]["attributes"]["references"]
                wanted |= {f"{panel['panelIndex']}:{reference['name']}" for reference in inner}
        for id_ in json.loads(board["attributes"]["controlGroupInput"]["panelsJSON"]):
            wanted.add(f"controlGroup_{id_}:optionsListDataView")
        if {reference["name"] for reference in board["references"]} != wanted:
            yield f"{board['id']}: references"


def every_layer_has_its_reference(objects: Sequence[Object], _: Types) -> Iterator[str]:
    """By the layer's id; else the panel cannot find its data view."""
    for _board, panel, layer_id, _layer in lenses(objects):
        names = {reference["name"] for reference in panel["embeddableConfig"]["attributes"]["references"]}
        if f"indexpattern-datasource-layer-{layer_id}" not in names:
            yield f"{panel['title']}: reference of its layer"


def grid_names_its_panel(objects: Sequence[Object], _: Types) -> Iterator[str]:
    """``gridData.i`` is the panel's index."""
    return (panel["title"] for _, panel in panels(objects) if panel["gridData"]["i"] != panel["panelIndex"])


def panels_are_inside_and_apart(objects: Sequence[Object], _: Types) -> Iterator[str]:
    """Within 48 columns, and none on another."""
    for board in dashboards(objects):
        grids = [panel["gridData"] for panel in json.loads(board["attributes"]["panelsJSON"])]
        for grid in grids:
            if grid["x"] < 0 or grid["y"] < 0 or min(grid["w"], grid["h"]) < 1 or grid["x"] + grid["w"] > 48:
                yield f"{board['id']}: outside"
        for one, other in combinations(grids, 2):
            beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
            above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
            if not (beside or above):
                yield f"{board['id']}: overlap"


def panels_are_by_value(objects: Sequence[Object], _: Types) -> Iterator[str]:
    """Lens or text, whole within the dashboard: nothing that must be imported before it."""
    for _board, panel in panels(objects):
        whole = {"lens": "attributes", "visualization": "savedVis"}
        if whole.get(panel["type"]) not in panel["embeddableConfig"] or "panelRefName" in panel:
            yield panel["title"]


def column_order_lists_the_columns(objects: Sequence[Object], _: Types) -> Iterator[str]:
    """Each once; what events are put into before what is computed of them."""
    for _board, panel, _id, layer in lenses(objects):
        order = layer["columnOrder"]
        if sorted(order) != sorted(layer["columns"]):
            yield f"{panel['title']}: columns"
            continue
        bucketed = [layer["columns"][id_]["isBucketed"] for id_ in order]
        if bucketed != sorted(bucketed, reverse=True):
            yield f"{panel['title']}: order"


def operations_are_lenss(objects: Sequence[Object], _: Types) -> Iterator[str]:
    """``average``, not ``avg``; and no formula, which would render nothing without its expansion."""
    return (column["label"] for column in columns(objects) if column["operationType"] not in OPERATIONS)


def columns_are_complete(objects: Sequence[Object], _: Types) -> Iterator[str]:
    """Without a scale a chart stays blank; data type and bucketing follow from the operation."""
    scales = {"date": "interval", "string": "ordinal", "number": "ratio"}
    for column in columns(objects):
        kind = DATA_TYPES.get(column["operationType"], "number")
        told = (column.get("dataType"), column.get("scale"), column.get("isBucketed"))
        if told != (kind, scales[kind], kind != "number"):
            yield f"{column['label']}: {told}"
        if column["operationType"] == "percentile" and not 0 < column["params"].get("percentile", 0) < 100:
            yield f"{column['label']}: percentile"


def fields_exist_and_fit(objects: Sequence[Object], types: Types) -> Iterator[str]:
    """Every field is written by the product, with a type on which the operation works."""
    for column in columns(objects):
        field, operation = column["sourceField"], column["operationType"]
        fits = field == "___records___" if operation == "count" else types.get(field) in OPERATIONS.get(operation, ())
        if not fits:
            yield f"{operation} of {field}"
    for board in dashboards(objects):
        for control in json.loads(board["attributes"]["controlGroupInput"]["panelsJSON"]).values():
            if types.get(control["explicitInput"]["fieldName"]) != "keyword":
                yield f"control of {control['explicitInput']['fieldName']}"


def queries_name_fields_that_exist(objects: Sequence[Object], types: Types) -> Iterator[str]:
    """A query for a field that is not there finds nothing, and says nothing."""
    for _board, panel, _id, layer in lenses(objects):
        queries = [panel["embeddableConfig"]["attributes"]["state"]["query"]]
        queries += [column["filter"] for column in layer["columns"].values() if "filter" in column]
        for query in queries:
            yield from (field for field in fields_of(query["query"]) if field not in types)
            if query["language"] != "kuery":
                yield query["language"]


def fields_of(kql: str) -> list[str]:
    """Return the names of fields in a query."""
    return re.findall(r"([\w.@]+)(?=: | >= )", re.sub(r'"[^"]*"', '""', kql))


def terms_are_ranked_by_a_column(objects: Sequence[Object], _: Types) -> Iterator[str]:
    """One that exists, and that is a number."""
    for _board, panel, _id, layer in lenses(objects):
        for column in layer["columns"].values():
            if column["operationType"] == "terms":
                ranked = layer["columns"].get(column["params"]["orderBy"].get("columnId"), {})
                if ranked.get("dataType") != "number":
                    yield f"{panel['title']}: order of {column['label']}"


def visualizations_show_their_columns(objects: Sequence[Object], _: Types) -> Iterator[str]:
    """Every accessor is a column, every column is shown, and charts have what they cannot draw without."""
    for _board, panel, layer_id, layer in lenses(objects):
        attributes = panel["embeddableConfig"]["attributes"]
        shown = attributes["state"]["visualization"]
        kind = attributes["visualizationType"]
        if kind == "lnsXY" and XY - set(shown):
            yield f"{panel['title']}: {XY - set(shown)}"
            continue
        drawn = shown["layers"][0] if kind == "lnsXY" else shown
        if drawn.get("layerId") != layer_id or drawn.get("layerType") != "data":
            yield f"{panel['title']}: layer"
        accessors = [drawn.get("xAccessor"), drawn.get("splitAccessor"), drawn.get("metricAccessor")]
        accessors += drawn.get("accessors", []) + [column["columnId"] for column in drawn.get("columns", [])]
        if {accessor for accessor in accessors if accessor} != set(layer["columns"]):
            yield f"{panel['title']}: accessors"


RULES: tuple[Rule, ...] = (
    nested_json_is_text,
    versions_are_old_enough,
    data_views_come_first,
    ids_are_unique,
    only_keys_of_the_first_version,
    references_resolve,
    inner_references_stand_outside_too,
    every_layer_has_its_reference,
    grid_names_its_panel,
    panels_are_inside_and_apart,
    panels_are_by_value,
    column_order_lists_the_columns,
    operations_are_lenss,
    columns_are_complete,
    fields_exist_and_fit,
    queries_name_fields_that_exist,
    terms_are_ranked_by_a_column,
    visualizations_show_their_columns,
)
