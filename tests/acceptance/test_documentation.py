"""What the documentation tells people to type does what it says."""

import gzip
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.acceptance.conftest import APPS, Served, golden_cases, golden_file

DOCS = APPS.parent / "docs"
BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)


def _inputs(folder: Path) -> None:
    (folder / "chest.png").write_bytes((APPS / "chest_xray_pneumonia" / "golden" / "grey8.png").read_bytes())
    cases = {model: golden_file(model, case) for model, case in golden_cases() if model != "chest_xray_pneumonia"}
    (folder / "patient.json").write_bytes(cases["heart_disease"])
    (folder / "brain.nii.gz").write_bytes(gzip.compress(cases["hippocampus_mr"]))


@pytest.mark.parametrize("page", ["api.md"])
def test_shell_blocks_run(served: Served, tmp_path: Path, page: str) -> None:
    """Every shell block of the page runs as it stands, against the running server."""
    _inputs(tmp_path)
    blocks = [block for block in BLOCK.findall((DOCS / page).read_text()) if "bedside token" not in block]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "URL": served.url, "GRPC": served.grpc, "TOKEN": served.token()}

    for block in blocks:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"

    assert len(blocks) >= 3
    assert (tmp_path / "mask.nii.gz").read_bytes()[:2] == b"\x1f\x8b"
    assert (tmp_path / "overlay.png").read_bytes()[1:4] == b"PNG"
