"""The benchmarks still run. No figure is looked at: a test that depends on a machine's mood teaches nobody anything."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks import dicom

REPOSITORY = Path(__file__).resolve().parent.parent.parent


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(900)
def test_a_quick_run_measures_bedside_and_the_naive_server(tmp_path: Path) -> None:
    """A quick run answers every request rightly and writes a report."""
    pytest.importorskip("sklearn", reason="pip install '.[bench]'")
    pytest.importorskip("jwt", reason="pip install '.[bench]'")

    run = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick", "--peers", tmp_path, "--out", tmp_path],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 0, run.stderr[-3000:]
    results = json.loads((tmp_path / "latest.json").read_text())
    loads = [item["load"] for item in results["tabular"]["measurements"]]
    assert all(load["answered"] > 0 and not load["errors"] for load in loads)
    assert results["imaging"]["timings"]
    assert results["startup"]["cold_start_s"]
    assert all(run["answers"] and not run["wrong"] for run in results["batching"]["runs"])
    assert set(results["tensors"]["ms"]["Bedside"]) == {"JSON", "HTTP binary", "gRPC raw", "gRPC typed"}
    outcomes = [row["Bedside"] for rows in results["conformance"]["suites"].values() for row in rows.values()]
    assert outcomes
    assert not [outcome for outcome in outcomes if "fails" in outcome]
    if dicom.available():
        assert results["dicom"]["through"]["seconds"]
        assert results["dicom"]["memory"]["volume_bytes"]
    assert "# Benchmarks" in (tmp_path / "benchmarks.md").read_text()
