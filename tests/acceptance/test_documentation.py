"""What the documentation tells people to type does what it says."""

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import nibabel
import numpy as np
import pytest
from tests.acceptance.conftest import APPS, Served, golden_cases, golden_file
from tests.unit.transports.kinds import CONTRACTS
from tests.unit.transports.server_process import running

DOCS = APPS.parent / "docs"
VERSION = json.loads((APPS / "heart_disease" / "configs" / "metadata.json").read_bytes())["version"]
BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)
MODEL = re.compile(r"/models/(\w+)")
KINDS = {contract.model for contract in CONTRACTS}


def _inputs(folder: Path) -> None:
    (folder / "chest.png").write_bytes((APPS / "chest_xray_pneumonia" / "golden" / "grey8.png").read_bytes())
    cases = {model: golden_file(model, case) for model, case in golden_cases() if model != "chest_xray_pneumonia"}
    (folder / "patient.json").write_bytes(cases["heart_disease"])
    shutil.copytree(APPS / "heart_disease", folder / "models" / "heart_disease" / VERSION)
    (folder / "brain.nii.gz").write_bytes(gzip.compress(cases["hippocampus_mr"]))


def _inputs_of_every_kind(folder: Path) -> None:
    (folder / "slide.png").write_bytes((APPS / "chest_xray_pneumonia" / "golden" / "grey8.png").read_bytes())
    np.save(folder / "latent.npy", np.zeros((1, 4), np.float32))
    for name in ("t1", "flair"):
        nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4), np.uint8), np.eye(4)), folder / f"{name}.nii.gz")


def _blocks(page: str, *, kinds: bool) -> list[str]:
    blocks = [block for block in BLOCK.findall((DOCS / page).read_text()) if "bedside token" not in block]
    return [block for block in blocks if bool(KINDS & set(MODEL.findall(block))) is kinds]


def _run(block: str, folder: Path, **environment: str) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block],
        cwd=folder,
        env={**os.environ, "PATH": path, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize(("page", "least"), [("api.md", 3), ("repository.md", 3), ("jobs.md", 1)])
def test_shell_blocks_run(served: Served, tmp_path: Path, page: str, least: int) -> None:
    """Every shell block of the page runs as it stands, against the running server."""
    _inputs(tmp_path)
    blocks = _blocks(page, kinds=False)

    for block in blocks:
        tokens = {"TOKEN": served.token(), "ADMIN": served.token("bedside.admin")}
        _run(block, tmp_path, URL=served.url, GRPC=served.grpc, **tokens)

    assert len(blocks) >= least
    if page == "api.md":
        _check_files(tmp_path)


def _check_files(tmp_path: Path) -> None:
    assert (tmp_path / "mask.nii.gz").read_bytes()[:2] == b"\x1f\x8b"
    assert (tmp_path / "overlay.png").read_bytes()[1:4] == b"PNG"


@pytest.fixture
def kinds() -> Iterator[str]:
    """Return the address of a server with a made-up model of each kind of input."""
    with running(kinds=True) as server:
        yield server.ready().url


def test_shell_blocks_for_every_kind_of_input_run(kinds: str, tmp_path: Path) -> None:
    """Also those for models that none of ours is like."""
    _inputs_of_every_kind(tmp_path)
    blocks = _blocks("api.md", kinds=True)

    for block in blocks:
        _run(block, tmp_path, URL=kinds, TOKEN="user")

    assert len(blocks) == 3
    assert (tmp_path / "report.csv").read_text() == "x,y\n1,2\n"
    assert (tmp_path / "everything.multipart").read_bytes().startswith(b"--bedside-")


@pytest.mark.parametrize("model", ["hippocampus_mr", "chest_xray_pneumonia", "heart_disease"])
def test_examples_of_the_interface_run(served: Served, tmp_path: Path, model: str) -> None:
    """The calls in ``/openapi.json``, pasted into a shell and into a request, are answered by the real model."""
    with served.client() as client:
        paths = client.get("/openapi.json").json()["paths"]
        [shell] = BLOCK.findall(paths[f"/v1/models/{model}/predict"]["post"]["description"])
        _run(shell, tmp_path, URL=served.url, TOKEN=served.token())
        path = f"/v2/models/{model}/infer"
        example = paths[path]["post"]["requestBody"]["content"]["application/json"]["example"]
        assert client.post(path, json=example).status_code == httpx.codes.OK
    assert (tmp_path / "answer").stat().st_size
