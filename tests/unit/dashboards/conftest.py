"""What the tests of dashboards share: a month of made-up log lines, the exported objects, and the fields there are."""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from scripts.pictures.evaluation import flat
from tests.assets.logs import make_logs

from bedside.observability.schema import ALL_FIELDS

REPOSITORY = Path(__file__).resolve().parents[3]
GOLDEN = REPOSITORY / "deploy" / "elastic"


def parsed(lines: Iterator[bytes]) -> list[dict[str, Any]]:
    """Return log lines as Elasticsearch sees them: names with dots, times as times."""
    events = [dict(flat(json.loads(line))) for line in lines]
    return [event | {"@timestamp": datetime.fromisoformat(event["@timestamp"])} for event in events]


@pytest.fixture(scope="session")
def month() -> list[dict[str, Any]]:
    """Return the events of a made-up month."""
    return parsed(make_logs.lines())


@pytest.fixture
def exported() -> list[dict[str, Any]]:
    """Return the saved objects that are checked in."""
    return [json.loads(line) for line in (GOLDEN / "dashboards.ndjson").read_text().splitlines()]


@pytest.fixture(scope="session")
def field_types() -> dict[str, str]:
    """Return the Elasticsearch type of every field that a line may have."""
    return {field.ecs: field.type for field in ALL_FIELDS}
