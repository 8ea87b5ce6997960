"""The conformance kit against the running server, by URL, as anybody would run it."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.acceptance.conftest import APPS, Served, golden_cases, golden_file

REPOSITORY = APPS.parent


def test_every_clause_and_hazard_passes(served: Served, tmp_path: Path) -> None:
    """No row of the table fails, over HTTP and gRPC; what needs a model of a special kind is skipped."""
    record = next(json.loads(golden_file(name, case)) for name, case in golden_cases() if name == "heart_disease")
    tensor = {"name": "features", "datatype": "FP64", "shape": [1, len(record)], "data": list(record.values())}
    request = tmp_path / "request.json"
    request.write_text(json.dumps({"inputs": [tensor]}))
    variables = {"URL": served.url, "GRPC": served.grpc, "TOKEN": served.token(), "MODEL": "heart_disease"}
    variables["REQUEST"] = str(request)

    done = subprocess.run(
        [sys.executable, "-m", "tests.conformance"],
        cwd=REPOSITORY,
        env={**os.environ, **{f"BEDSIDE_CONFORMANCE_{name}": value for name, value in variables.items()}},
        capture_output=True,
        text=True,
        check=False,
    )

    rows = [line for line in done.stdout.splitlines() if line.startswith("| ") and "| clause |" not in line]
    assert [row for row in rows if "**fails**" in row] == []
    assert done.returncode == 0, done.stdout + done.stderr
    assert sum(row.endswith("| passes |") for row in rows) > 60
