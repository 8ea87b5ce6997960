"""The exported saved objects keep the rules of the format, and each rule refuses what it is there to refuse."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.unit.dashboards import saved_object_rules as rules

Objects = list[dict[str, Any]]
Json = dict[str, Any]


@contextmanager
def panel(objects: Objects, kind: str = "lnsXY") -> Iterator[Json]:
    """Give the first panel of a kind to be changed, and put it back into its string."""
    for board in rules.dashboards(objects):
        found = json.loads(board["attributes"]["panelsJSON"])
        for one in found:
            if one["type"] == "lens" and one["embeddableConfig"]["attributes"]["visualizationType"] == kind:
                yield one
                board["attributes"]["panelsJSON"] = json.dumps(found)
                return


def attributes(one: Json) -> Json:
    """Return what Lens keeps of a panel."""
    found: Json = one["embeddableConfig"]["attributes"]
    return found


def layer(one: Json) -> Json:
    """Return the only layer of a panel."""
    found: Json
    (found,) = attributes(one)["state"]["datasourceStates"]["formBased"]["layers"].values()
    return found


def column(one: Json, operation: str) -> Json:
    """Return a panel's first column of an operation."""
    return next(found for found in layer(one)["columns"].values() if found["operationType"] == operation)


def board(objects: Objects) -> Json:
    """Return the first dashboard."""
    return next(rules.dashboards(objects))


def not_text(objects: Objects) -> None:
    """Leave the panels as JSON."""
    given = board(objects)["attributes"]
    given["panelsJSON"] = json.loads(given["panelsJSON"])


def newer(objects: Objects) -> None:
    """Claim the version of sections."""
    board(objects)["typeMigrationVersion"] = "10.3.0"


def unversioned(objects: Objects) -> None:
    """Leave the version out."""
    del board(objects)["coreMigrationVersion"]


def dashboards_first(objects: Objects) -> None:
    """Put the data view last."""
    objects.append(objects.pop(0))


def same_object(objects: Objects) -> None:
    """Give two dashboards one id."""
    objects[-1]["id"] = objects[-2]["id"]


def same_panel(objects: Objects) -> None:
    """Give two panels one index."""
    given = board(objects)["attributes"]
    found = json.loads(given["panelsJSON"])
    found[1]["panelIndex"] = found[1]["gridData"]["i"] = found[0]["panelIndex"]
    given["panelsJSON"] = json.dumps(found)


def unknown_key(objects: Objects) -> None:
    """Add what 9.1 brought."""
    board(objects)["attributes"]["sections"] = []


def dangling(objects: Objects) -> None:
    """Refer to a data view that is not in the file."""
    board(objects)["references"][0]["id"] = "logs"


def dangling_inside(objects: Objects) -> None:
    """The same within a panel."""
    with panel(objects) as one:
        attributes(one)["references"][0]["id"] = "logs"


def unlisted(objects: Objects) -> None:
    """Leave a panel's reference out of the dashboard's."""
    board(objects)["references"].pop()


def left_over(objects: Objects) -> None:
    """Keep the reference of a panel that is gone."""
    board(objects)["references"].append({"type": "index-pattern", "id": "bedside-logs", "name": "gone:layer"})


def other_layer(objects: Objects) -> None:
    """Rename a layer's reference, inside and outside."""
    with panel(objects) as one:
        attributes(one)["references"][0]["name"] = "indexpattern-datasource-layer-other"


def other_grid(objects: Objects) -> None:
    """Let the grid name another panel."""
    with panel(objects) as one:
        one["gridData"]["i"] = "1"


def overlapping(objects: Objects) -> None:
    """Move a panel onto another."""
    with panel(objects) as one:
        one["gridData"]["y"] -= 1


def too_wide(objects: Objects) -> None:
    """Let a panel end in column 49."""
    with panel(objects) as one:
        one["gridData"]["w"] = 49 - one["gridData"]["x"]


def by_reference(objects: Objects) -> None:
    """Refer to a visualization of the library."""
    with panel(objects) as one:
        one["panelRefName"] = "panel_1"


def legacy(objects: Objects) -> None:
    """Use a kind of panel that Kibana 9 no longer makes."""
    with panel(objects) as one:
        one["type"] = "search"


def unordered_column(objects: Objects) -> None:
    """Forget a column in the order."""
    with panel(objects) as one:
        layer(one)["columnOrder"].pop()


def measures_first(objects: Objects) -> None:
    """Put the measure before the time."""
    with panel(objects) as one:
        layer(one)["columnOrder"].reverse()


def avg(objects: Objects) -> None:
    """Abbreviate an operation."""
    with panel(objects, "lnsMetric") as one:
        column(one, "count")["operationType"] = "avg"


def formula(objects: Objects) -> None:
    """Use a formula without its expansion."""
    with panel(objects, "lnsMetric") as one:
        column(one, "count")["operationType"] = "formula"


def no_scale(objects: Objects) -> None:
    """Leave out what the chart's axis needs."""
    with panel(objects) as one:
        del column(one, "date_histogram")["scale"]


def no_percentile(objects: Objects) -> None:
    """Leave the percentile's rank out."""
    with panel(objects, "lnsDatatable") as one:
        found = next(iter(layer(one)["columns"].values()))
        found |= {"operationType": "percentile", "params": {}, "dataType": "number", "scale": "ratio"}
        found["isBucketed"] = False


def unknown_field(objects: Objects) -> None:
    """Split by a field that nobody writes."""
    with panel(objects, "lnsDatatable") as one:
        column(one, "terms")["sourceField"] = "inference.model"


def average_of_a_keyword(objects: Objects) -> None:
    """Average an identifier."""
    with panel(objects) as one:
        column(one, "count").update(operationType="average", sourceField="user.hash")


def control_of_a_number(objects: Objects) -> None:
    """List the values of a number."""
    given = board(objects)["attributes"]["controlGroupInput"]
    found = json.loads(given["panelsJSON"])
    next(iter(found.values()))["explicitInput"]["fieldName"] = "event.duration"
    given["panelsJSON"] = json.dumps(found)


def unknown_field_in_query(objects: Objects) -> None:
    """Ask for a field that nobody writes."""
    with panel(objects) as one:
        attributes(one)["state"]["query"]["query"] = 'inference.model: "ct"'


def lucene(objects: Objects) -> None:
    """Ask in another language."""
    with panel(objects) as one:
        attributes(one)["state"]["query"]["language"] = "lucene"


def ranked_by_nothing(objects: Objects) -> None:
    """Rank values by a column that is not there."""
    with panel(objects, "lnsDatatable") as one:
        column(one, "terms")["params"]["orderBy"]["columnId"] = "gone"


def no_legend(objects: Objects) -> None:
    """Leave out what a chart renders blank without."""
    with panel(objects) as one:
        del attributes(one)["state"]["visualization"]["legend"]


def unknown_accessor(objects: Objects) -> None:
    """Show a column that is not there."""
    with panel(objects) as one:
        attributes(one)["state"]["visualization"]["layers"][0]["accessors"] = ["gone"]


def shown_layer(objects: Objects) -> None:
    """Show another layer."""
    with panel(objects, "lnsMetric") as one:
        attributes(one)["state"]["visualization"]["layerId"] = "gone"


MUTATIONS: list[tuple[rules.Rule, Callable[[Objects], None]]] = [
    (rules.nested_json_is_text, not_text),
    (rules.versions_are_old_enough, newer),
    (rules.versions_are_old_enough, unversioned),
    (rules.data_views_come_first, dashboards_first),
    (rules.ids_are_unique, same_object),
    (rules.ids_are_unique, same_panel),
    (rules.only_keys_of_the_first_version, unknown_key),
    (rules.references_resolve, dangling),
    (rules.references_resolve, dangling_inside),
    (rules.inner_references_stand_outside_too, unlisted),
    (rules.inner_references_stand_outside_too, left_over),
    (rules.every_layer_has_its_reference, other_layer),
    (rules.grid_names_its_panel, other_grid),
    (rules.panels_are_inside_and_apart, overlapping),
    (rules.panels_are_inside_and_apart, too_wide),
    (rules.panels_are_by_value, by_reference),
    (rules.panels_are_by_value, legacy),
    (rules.column_order_lists_the_columns, unordered_column),
    (rules.column_order_lists_the_columns, measures_first),
    (rules.operations_are_lenss, avg),
    (rules.operations_are_lenss, formula),
    (rules.columns_are_complete, no_scale),
    (rules.columns_are_complete, no_percentile),
    (rules.fields_exist_and_fit, unknown_field),
    (rules.fields_exist_and_fit, average_of_a_keyword),
    (rules.fields_exist_and_fit, control_of_a_number),
    (rules.queries_name_fields_that_exist, unknown_field_in_query),
    (rules.queries_name_fields_that_exist, lucene),
    (rules.terms_are_ranked_by_a_column, ranked_by_nothing),
    (rules.visualizations_show_their_columns, no_legend),
    (rules.visualizations_show_their_columns, unknown_accessor),
    (rules.visualizations_show_their_columns, shown_layer),
]


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.__name__)
def test_the_export_keeps_every_rule(rule: rules.Rule, exported: Objects, field_types: dict[str, str]) -> None:
    """Nothing to complain of in what is checked in."""
    assert list(rule(exported, field_types)) == []


@pytest.mark.parametrize(("rule", "mutate"), MUTATIONS, ids=[mutate.__name__ for _, mutate in MUTATIONS])
def test_each_rule_refuses_what_it_is_for(
    rule: rules.Rule, mutate: Callable[[Objects], None], exported: Objects, field_types: dict[str, str]
) -> None:
    """A rule that nothing breaks would be no rule."""
    mutate(exported)
    assert list(rule(exported, field_types))


def test_every_rule_has_something_that_it_refuses() -> None:
    """And every rule is applied."""
    assert {rule for rule, _ in MUTATIONS} == set(rules.RULES)
