"""The account of a call: one event, its metrics, nothing of its input."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.observability.conftest import Capture
from tests.unit.observability.test_metrics import value

from bedside.dataplane.call import Call
from bedside.errors import BedsideError, DeadlineExceeded, InvalidToken, QueueFull, RunFailed, WrongShape
from bedside.observability.accounting import Accountant, slug
from bedside.observability.metrics import Metrics
from bedside.types import Finding, Principal, Quantity

Build = Callable[..., Capture]
KEY = b"0123456789abcdef"
NAME = "DOE^JOHN"


def finished(**changes: Any) -> Call:
    """Return a call that went well."""
    facts: dict[str, Any] = {
        "started": time.perf_counter() - 0.25,
        "model": "spleen_ct",
        "version": "1",
        "digest": "sha256:00ff",
        "device": "cuda:0",
        "principal": Principal("doe@example.org", "https://issuer.invalid", frozenset(), 0.0),
        "rows": 1,
        "input_bytes": 100,
        "output_bytes": 50,
        "stages": {"authenticate": 0.0001, "run": 0.2, "inference": 0.15, "patient": 1.0},
    }
    return Call("abc", "rest", "predict", **(facts | changes))


def test_call_leaves_one_event_with_its_facts(capture: Build) -> None:
    """Who, what, which model, how long, where the time went."""
    captured = capture()
    Accountant(Metrics(), KEY).account(finished())
    record = captured.record
    assert record["message"] == "inference_completed"
    assert record["log.level"] == "info"
    assert record["event"]["outcome"] == "success"
    assert 0.25e9 <= record["event"]["duration"] < 60e9
    assert record["http"] == {
        "request": {"id": "abc", "body": {"bytes": 100}},
        "response": {"body": {"bytes": 50}},
    }
    assert record["inference"] == {
        "operation": "predict",
        "bundle": {"name": "spleen_ct", "version": "1", "digest": "sha256:00ff"},
        "device": "cuda:0",
        "batch_size": 1,
        "outcome_ok": 1,
        "stage": {"authenticate_ms": 0.1, "run_ms": 200.0, "inference_ms": 150.0},
    }
    assert "labels" not in record


def test_call_is_counted(capture: Build) -> None:
    """Requests by outcome, failures by reason."""
    capture()
    metrics = Metrics()
    accountant = Accountant(metrics, KEY)
    accountant.account(finished())
    accountant.account(finished(error=QueueFull()))
    labels = {"model": "spleen_ct", "version": "1", "transport": "rest"}
    assert value(metrics, "bedside_requests_total", **labels, outcome="success") == 1
    assert value(metrics, "bedside_requests_total", **labels, outcome="failure") == 1
    assert value(metrics, "bedside_refused_total", reason="queue_full") == 1


def test_what_was_predicted_is_counted_and_not_logged(capture: Build) -> None:
    """The log holds no answers; of a call that failed after all, nothing is counted."""
    captured = capture()
    metrics = Metrics()
    accountant = Accountant(metrics, KEY)
    rows = [Finding(("pneumonia", 0.9)), Finding(), Finding(("pneumonia", 0.6))]
    accountant.account(finished(findings=rows))
    accountant.account(finished(findings=rows, error=DeadlineExceeded()))
    labels = {"model": "spleen_ct", "version": "1", "prediction": "pneumonia"}
    assert value(metrics, "bedside_prediction_probability_count", **labels) == 2
    assert value(metrics, "bedside_prediction_probability_bucket", **labels, le="0.6") == 1
    assert "pneumonia" not in captured.text


def test_volumes_are_counted_and_not_logged(capture: Build) -> None:
    """Of a call that failed after all, nothing."""
    captured = capture()
    metrics = Metrics()
    accountant = Accountant(metrics, KEY)
    spleen = (Finding(None, (Quantity("volume", "spleen", 201.25),)),)
    accountant.account(finished(findings=spleen))
    accountant.account(finished(findings=spleen, error=DeadlineExceeded()))
    labels = {"model": "spleen_ct", "version": "1", "label": "spleen"}
    assert value(metrics, "bedside_prediction_volume_ml_count", **labels) == 1
    assert "201.25" not in captured.text


def test_call_that_was_refused_early_has_no_model(capture: Build) -> None:
    """Nothing is known of it but that it came, and no drop is counted."""
    captured = capture()
    metrics = Metrics()
    Accountant(metrics, KEY).account(Call("abc", "rest", "predict", error=InvalidToken()))
    assert "bundle" not in captured.record["inference"]
    assert "user" not in captured.record
    assert "labels" not in captured.record
    assert value(metrics, "bedside_request_seconds_count", model="unknown", version="unknown") == 1


@pytest.mark.parametrize(
    ("error", "level", "code"),
    [
        (WrongShape("x", field="image"), "info", "wrong_shape"),
        (QueueFull(), "warning", "queue_full"),
        (DeadlineExceeded(), "error", "deadline_exceeded"),
        (RunFailed(), "error", "run_failed"),
        (BedsideError(), "error", "bedside_error"),
    ],
)
def test_level_says_whose_fault_it_is(capture: Build, error: BedsideError, level: str, code: str) -> None:
    """The caller's is normal, what passes is worth a look, ours wakes somebody up."""
    captured = capture()
    Accountant(Metrics(), KEY).account(finished(error=error))
    assert captured.record["log.level"] == level
    assert captured.record["error"] == {"type": type(error).__name__, "code": code}
    assert captured.record["event"]["outcome"] == "failure"


def test_failure_of_a_model_tells_class_and_place(capture: Build) -> None:
    """Never the detail, which is for the caller, and never the exception's text."""
    captured = capture()
    error = RunFailed(f"detail {NAME}", field=NAME, cause="ValueError", where="scripts/net.py:12 forward")
    Accountant(Metrics(), KEY).account(finished(error=error))
    assert captured.record["error"]["stack_trace"] == "scripts/net.py:12 forward"
    assert captured.record["inference"]["error"] == {"cause": "ValueError"}
    assert NAME not in captured.text


def test_caller_is_a_pseudonym(capture: Build) -> None:
    """The same for one caller, another for another, another with another key; never the subject."""
    captured = capture()
    metrics = Metrics()
    one, other = Accountant(metrics, KEY), Accountant(metrics, b"another key of ours")
    for accountant, subject in ((one, "a@b.org"), (one, "a@b.org"), (one, "c@d.org"), (other, "a@b.org")):
        accountant.account(finished(principal=Principal(subject, "https://issuer.invalid", frozenset(), 0.0)))
    hashes = [record["user"]["hash"] for record in captured.records]
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3
    assert all(len(text) == 16 for text in hashes)
    assert "b.org" not in captured.text


def test_account_that_fails_does_not_fail_the_call(capture: Build) -> None:
    """It is counted instead."""
    capture()
    metrics = Metrics()
    Accountant(metrics, KEY).account(finished(stages={"run": "slow"}))
    assert value(metrics, "bedside_unaccounted_requests_total") == 1


@pytest.mark.parametrize("fact", ["request_id", "transport", "operation", "version", "digest", "device"])
def test_name_in_any_fact_stays_inside(capture: Build, fact: str) -> None:
    """Even where a transport made a mistake, no identifier has a caret or a blank."""
    captured = capture()
    call = finished()
    setattr(call, fact, NAME)
    Accountant(Metrics(), KEY).account(call)
    assert NAME not in captured.text
    assert captured.record["labels"] == {"dropped_fields": "1"}


def test_slug_is_the_class_name() -> None:
    """As it stands in labels."""
    assert slug("WrongChannelCount") == "wrong_channel_count"
