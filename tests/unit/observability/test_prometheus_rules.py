"""The shipped rules ask for metrics and labels that the server has, and alerts say what to do."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from bedside import errors
from bedside.observability.accounting import slug
from bedside.observability.metrics import Metrics
from bedside.types import Finding, Quantity

FOLDER = Path(__file__).resolve().parents[3] / "deploy" / "prometheus"
TESTS = ("rules_test.yaml", "rules_drift_test.yaml")
INSTALL = "needs promtool: apt-get install prometheus, or make test-servers"

promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason=INSTALL)


def rules() -> list[dict[str, Any]]:
    """Return every rule."""
    document = yaml.safe_load((FOLDER / "rules.yaml").read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


def exposition() -> str:
    """Return the metrics of a server that everything has happened to."""
    metrics = Metrics()
    metrics.count_lost_lines(lambda: 1)
    metrics.count_lost_records(lambda: 1)
    metrics.show_shipping(*[lambda: 1] * 3)
    metrics.show_audit_shipping(*[lambda: 1] * 4)
    metrics.show_spans(lambda: 1, lambda: 1)
    metrics.refusal("queue_full").inc()
    model = metrics.for_model("ct", "1")
    model.finished("rest", "success", 0.2, {"queue": 0.1, "run": 0.1}, {"request_id": "0" * 32})
    model.answered([Finding(("normal", 0.9))])
    model.answered([Finding(None, (Quantity("volume", "spleen", 200.0), Quantity("value", "age", 63.0)))])
    metrics.drift.labels("ct", "1", "class", "").set(0.01)
    metrics.shortfall.labels("ct", "1", "accuracy", "all").set(0.0)
    metrics.excess.labels("ct", "1", "volume", "spleen").set(0.0)
    metrics.truths.labels("ct", "1", "normal", "normal", "true").inc()
    metrics.truth_errors.labels("ct", "1", "volume", "spleen").observe(3.0)
    metrics.count_lost_predictions(lambda: 1)
    model.ready.set(1)
    metrics.crashes.labels("ct").inc()
    metrics.process_starts.labels("ct").inc()
    metrics.golden_cases.labels("ct", "1", "failed").inc()
    metrics.queue_length.labels("ct").set(1)
    return metrics.expose("")[0].decode()


def test_rules_ask_for_metrics_that_there_are() -> None:
    """Each name is exported, or recorded by another rule."""
    known = set(re.findall(r"^(bedside_\w+)", exposition(), re.MULTILINE)) | {rule.get("record") for rule in rules()}
    expressions = " ".join(re.sub(r'"[^"]*"', '""', rule["expr"]) for rule in rules())
    asked = set(re.findall(r"(?:\w+:)*bedside_[\w:]+", expressions))
    assert asked
    assert asked <= known


def test_reasons_are_errors_and_no_callers_fault() -> None:
    """A slug that no error has would never be counted; a caller's mistake wakes nobody."""
    tree = {
        slug(name): kind
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.BedsideError)
    }
    reasons = {
        reason
        for rule in rules()
        for part in re.findall(r'reason=~"([^"]+)"', rule["expr"])
        for reason in part.split("|")
    }
    assert reasons <= set(tree)
    assert not any(issubclass(tree[reason], errors.RequestError) for reason in reasons)


def test_the_same_faults_in_every_window() -> None:
    """The four ratios differ in nothing but their window."""
    windows = [rule["expr"] for rule in rules() if "faults:ratio" in rule.get("record", "")]
    assert len({re.sub(r"\[\w+\]", "[]", expression) for expression in windows}) == 1
    assert len(windows) == 4


@pytest.mark.parametrize("alert", [rule for rule in rules() if "alert" in rule], ids=lambda rule: rule["alert"])
def test_an_alert_says_how_bad_it_is_and_what_to_do(alert: dict[str, Any]) -> None:
    """Whoever is woken has something to begin with."""
    assert alert["labels"]["severity"] in {"page", "ticket"}
    assert set(alert["annotations"]) == {"summary", "action"}
    assert re.fullmatch(r".{20,}\.", alert["annotations"]["action"])


def test_every_alert_is_tried() -> None:
    """As one that is raised, and as one that a quiet night does not raise."""
    quiet, *tests = [test for file in TESTS for test in yaml.safe_load((FOLDER / file).read_text())["tests"]]
    names = {rule["alert"] for rule in rules() if "alert" in rule}
    assert {case["alertname"] for case in quiet["alert_rule_test"]} == names
    raised = {case["alertname"] for test in tests for case in test.get("alert_rule_test", ()) if "exp_alerts" in case}
    assert raised | set(re.findall(r'alertname="(\w+)"', str(tests))) == names


@promtool
@pytest.mark.parametrize("command", [("check", "rules", "rules.yaml"), ("test", "rules", *TESTS)], ids=str)
def test_promtool_accepts_the_rules(command: tuple[str, ...]) -> None:
    """Their syntax, and what they make of made-up series."""
    done = subprocess.run(["promtool", *command], cwd=FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@promtool
def test_promtool_finds_no_fault_with_the_metrics() -> None:
    """Names, units and help by Prometheus' conventions."""
    command = ["promtool", "check", "metrics"]
    done = subprocess.run(command, input=exposition(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
