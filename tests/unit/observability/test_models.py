"""What happens to models."""

from collections.abc import Callable

import pytest
from tests.unit.observability.conftest import Capture
from tests.unit.observability.test_metrics import value

from bedside.observability.metrics import Metrics
from bedside.observability.models import ModelObserver

Build = Callable[..., Capture]


MODEL = "spleen_ct", "1", "sha256:00ff"


@pytest.mark.parametrize(
    ("state", "event", "level", "ready"),
    [
        ("LOADING", "model_loading", "info", 0),
        ("READY", "model_ready", "info", 1),
        ("UNAVAILABLE", "model_load_failed", "error", 0),
        ("UNLOADED", "model_unloaded", "info", 0),
    ],
)
def test_each_change_is_an_event_and_a_gauge(capture: Build, state: str, event: str, level: str, ready: int) -> None:
    """With name, version and digest."""
    captured, metrics = capture(), Metrics()
    ModelObserver(metrics).changed(MODEL, state, 2.5, ())
    assert (captured.record["message"], captured.record["log.level"]) == (event, level)
    assert captured.record["inference"]["bundle"] == {"name": "spleen_ct", "version": "1", "digest": "sha256:00ff"}
    assert captured.record["inference"].get("load_ms") == (2500.0 if ready else None)
    assert value(metrics, "bedside_model_ready", model="spleen_ct", version="1") == ready


def test_a_bundle_that_nothing_has_read_yet_has_no_digest(capture: Build) -> None:
    """Its event has no field that the schema must drop."""
    captured = capture()
    ModelObserver(Metrics()).changed(("spleen_ct", "1", ""), "LOADING", 0.0, ())
    assert captured.record["inference"]["bundle"] == {"name": "spleen_ct", "version": "1"}
    assert "labels" not in captured.record


def test_what_was_changed_for_a_bundle_is_told(capture: Build) -> None:
    """By the names of the compatibility shims."""
    captured = capture()
    ModelObserver(Metrics()).changed(MODEL, "READY", 2.5, ("numpy-removed-names", "cuda-in-configuration"))
    assert captured.record["inference"]["bundle"]["shims"] == "numpy-removed-names+cuda-in-configuration"


@pytest.mark.parametrize("code", [-9, 1, None])
def test_crash_is_an_error_and_counted(capture: Build, code: int | None) -> None:
    """The exit code tells the signal, for example that of the out-of-memory killer."""
    captured, metrics = capture(), Metrics()
    ModelObserver(metrics).crashed("spleen_ct", "1", code)
    assert captured.record["message"] == "model_process_crashed"
    assert captured.record.get("process", {}).get("exit_code") == code
    assert value(metrics, "bedside_model_crashes_total", model="spleen_ct") == 1


def test_where_a_bundle_runs_is_told(capture: Build) -> None:
    """For one that asks for the event loop: where, what a record took in milliseconds, and why not there."""
    captured = capture()
    ModelObserver(Metrics()).runs_inline(("heart", "1", "sha256:00ff"), 0.00003)
    assert captured.record["message"] == "model_execution_chosen"
    assert captured.record["inference"]["execution"] == {"name": "inline", "record_ms": 0.03}


def test_why_a_bundle_runs_in_a_process_is_told(capture: Build) -> None:
    """By a keyword; without a time where none was taken."""
    captured = capture()
    ModelObserver(Metrics()).not_inline(("heart", "1", "sha256:00ff"), "switched_off", None)
    assert captured.record["inference"]["execution"] == {"name": "process", "why_process": "switched_off"}
