"""What the tests of dashboards share: a month of made-up log lines, the exported objects, and the fields there are."""

import importlib.util
import json
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bedside.dashboards.evaluation import flat
from bedside.observability.schema import ALL_FIELDS

REPOSITORY = Path(__file__).resolve().parents[3]
if str(REPOSITORY) not in sys.path:
    sys.path.insert(0, str(REPOSITORY))  # tests of this folder share modules, whichever way pytest was started
GOLDEN = REPOSITORY / "deploy" / "elastic"


def loaded(path: Path) -> ModuleType:
    """Import a script that is in no package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def parsed(lines: Iterator[bytes]) -> list[dict[str, Any]]:
    """Return log lines as Elasticsearch sees them: names with dots, times as times."""
    events = [dict(flat(json.loads(line))) for line in lines]
    return [event | {"@timestamp": datetime.fromisoformat(event["@timestamp"])} for event in events]


@pytest.fixture(scope="session")
def month() -> list[dict[str, Any]]:
    """Return the events of a made-up month."""
    return parsed(loaded(REPOSITORY / "tests" / "assets" / "logs" / "make_logs.py").lines())


@pytest.fixture
def exported() -> list[dict[str, Any]]:
    """Return the saved objects that are checked in."""
    return [json.loads(line) for line in (GOLDEN / "dashboards.ndjson").read_text().splitlines()]


@pytest.fixture(scope="session")
def field_types() -> dict[str, str]:
    """Return the Elasticsearch type of every field that a line may have."""
    return {field.ecs: field.type for field in ALL_FIELDS}
