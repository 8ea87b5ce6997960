"""A real server's audit trail: whole after an orderly end, and told to be short after none."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from tests.acceptance.conftest import APPS, golden_cases, golden_file, start, stop
from tests.emitted import faults

from bedside.observability.audit_reading import Verifier, read_anchors, records

CALLS = 20


@pytest.mark.parametrize("durability", [pytest.param("interval", marks=pytest.mark.slow), "strict"])
def test_a_killed_server_leaves_a_trail_that_is_short_at_its_end_alone(tmp_path: Path, durability: str) -> None:
    """SIGKILL under load: the chain holds; strict, every call that was answered is in it."""
    served = start([APPS / "heart_disease"], tmp_path, BEDSIDE_AUDIT__DURABILITY=durability)
    body = next(golden_file(model, case) for model, case in golden_cases() if model == "heart_disease")
    answered = []
    try:
        with served.client() as client:
            for number in range(CALLS):
                headers = {"Content-Type": "application/json", "X-Request-ID": f"{number:032x}"}
                answer = client.post("/v1/models/heart_disease/predict", content=body, headers=headers)
                assert answer.status_code == httpx.codes.OK
                answered.append(f"{number:032x}")
    finally:
        served.process.kill()
        served.process.wait()

    folder, key = served.state / "audit", (served.state / "audit.key").read_bytes().strip()
    findings = Verifier(folder, key).findings()
    assert [found.broken for found in findings] == [False]
    assert "not ended in good order" in findings[0].text
    recorded = [record["http"]["request"]["id"] for record in records(folder) if record["message"] == "model_called"]
    assert recorded == answered[: len(recorded)]
    if durability == "strict":
        assert recorded == answered


@pytest.mark.slow
def test_every_server_writes_a_chain_of_its_own(tmp_path: Path) -> None:
    """Two servers, one folder: each chain ends, keeps the schema, and agrees with what the log has told of it."""
    logs = b""
    for number in range(2):
        served = start([APPS / "heart_disease"], tmp_path / str(number), BEDSIDE_AUDIT__FOLDER=str(tmp_path / "audit"))
        with httpx.Client(base_url=served.url) as client:
            client.post("/v1/models/heart_disease/predict", json={"age": 1})
        stop(served)
        logs += served.log.read_bytes()
    anchors = read_anchors(logs)
    assert len(anchors) == 2
    assert Verifier(tmp_path / "audit", None, anchors).findings() == []
    for path in (tmp_path / "audit").glob("*.jsonl"):
        lines = path.read_bytes().splitlines()
        assert not [fault for line in lines for fault in faults(line, "audit")]
        assert any(b'"access_refused"' in line for line in lines)
        assert any(b'"bundle_judged"' in line for line in lines)


def test_server_that_cannot_start_ends_its_chain(tmp_path: Path) -> None:
    """What was opened before the mistake was found is closed."""
    environment = {
        **os.environ,
        "BEDSIDE_RUNTIME__STATE_DIR": str(tmp_path),
        "BEDSIDE_JOBS__DATABASE": f"sqlite:///{tmp_path}/no/jobs.db",
    }
    command = [sys.executable, "-m", "bedside", "serve", str(APPS / "heart_disease")]
    assert subprocess.run(command, env=environment, check=False, timeout=60, capture_output=True).returncode != 0
    assert [record["message"] for record in records(tmp_path / "audit")] == ["chain_opened", "chain_closed"]
    assert Verifier(tmp_path / "audit", (tmp_path / "audit.key").read_bytes().strip()).findings() == []
