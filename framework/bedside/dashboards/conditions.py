"""Conditions in Kibana's query language, and as Elasticsearch's own queries."""

from collections.abc import Iterable
from typing import Any

from bedside.dashboards.model import Where


def kql(conditions: Iterable[Where]) -> str:
    """Return the conditions in the Kibana Query Language; empty where there are none."""
    return " and ".join(map(_kql, conditions))


def _kql(where: Where) -> str:
    if where.least is not None:
        return f"{where.field} >= {where.least:g}"
    # In quotes an asterisk would be a letter.
    values = [value if "*" in value else f'"{value}"' for value in where.values] or ["*"]
    return f"{where.field}: {values[0]}" if len(values) == 1 else f"{where.field}: ({' or '.join(values)})"


def query(conditions: Iterable[Where]) -> dict[str, Any]:
    """Return the conditions as an Elasticsearch query."""
    return {"bool": {"filter": [_query(where) for where in conditions]}}


def _query(where: Where) -> dict[str, Any]:
    if where.least is not None:
        return {"range": {where.field: {"gte": where.least}}}
    if not where.values:
        return {"exists": {"field": where.field}}
    if any("*" in value for value in where.values):
        either = [{"wildcard": {where.field: {"value": value}}} for value in where.values]
        return {"bool": {"should": either, "minimum_should_match": 1}}
    return {"terms": {where.field: list(where.values)}}
