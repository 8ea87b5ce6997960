"""What ``bedside dashboards export`` writes: the same files for the same model, letter for letter."""

import json
from collections.abc import Iterator
from pathlib import Path

from bedside.dashboards.alerts import ALERTS
from bedside.dashboards.boards import DASHBOARDS, LOGS
from bedside.dashboards.kibana_api import dashboard, rule
from bedside.dashboards.saved_objects import as_ndjson, saved_objects


def files() -> Iterator[tuple[str, str]]:
    """Yield the path of each file, relative to the folder, and its text."""
    yield "dashboards.ndjson", as_ndjson(list(saved_objects(DASHBOARDS, LOGS)))
    for board in DASHBOARDS:
        yield f"api/{board.id}.json", _pretty(dashboard(board, LOGS))
    for alert in ALERTS:
        yield f"rules/{alert.id}.json", _pretty(rule(alert, LOGS))


def export(folder: Path) -> Iterator[Path]:
    """Write every file below a folder; yield the paths."""
    for name, text in files():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        yield path


def _pretty(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
