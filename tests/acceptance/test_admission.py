"""A server that was given something hostile: it says no, runs nothing of it, and serves the rest."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from tests.acceptance.conftest import APPS, Served, launch, start, stop
from tests.assets.hostile_bundles import make_hostile
from tests.waiting import wait_until


def index(served: Served) -> dict[str, dict[str, str]]:
    """Return the model repository's index by name, once no model is loading."""

    def settled() -> dict[str, dict[str, str]]:
        models = {model["name"]: model for model in client.post("/v2/repository/index").json()}
        return {} if {"LOADING", "UNLOADED"} & {model["state"] for model in models.values()} else models

    with served.client("bedside.infer", "bedside.admin") as client:
        return wait_until(settled, f"no model is loading: {served.log}")


def test_the_hostile_are_refused_and_the_others_serve(tmp_path: Path, bundles: Path) -> None:
    """One with an expression, one with a pickle, one with code; heart_disease answers all the same."""
    make_hostile.CANARY.unlink(missing_ok=True)
    names = ("expression_import", "weights_pickle_system", "scripts_package")
    for name in names:
        make_hostile.BUNDLES[name](tmp_path / "models" / name)
    shutil.copytree(APPS / "heart_disease", tmp_path / "models" / "heart_disease")
    served = launch(["-m", "bedside"], [tmp_path / "models"], tmp_path / "server", {})
    try:
        models = index(served)
        assert {name: models[name]["state"] for name in names} == dict.fromkeys(names, "UNAVAILABLE")
        assert all("not admitted" in models[name]["reason"] for name in names)
        assert models["heart_disease"]["state"] == "READY"
        with served.client() as client:
            assert client.get("/v2/models/heart_disease/ready").status_code == httpx.codes.OK
    finally:
        stop(served)
    assert not make_hostile.CANARY.exists()
    events = [json.loads(line) for line in served.log.read_text().splitlines() if line.startswith("{")]
    refused = {event["inference"]["bundle"]["name"] for event in events if event["message"] == "bundle_refused"}
    admitted = {event["inference"]["bundle"]["name"] for event in events if event["message"] == "bundle_admitted"}
    assert (refused, admitted) == (set(names), {"heart_disease"})


@pytest.mark.slow
def test_code_is_served_where_the_site_wants_it(tmp_path: Path, bundles: Path) -> None:
    """Pinned by its digest; bytecode that lies beside it is not read."""
    root = Path(shutil.copytree(bundles / "scripts_adding_one", tmp_path / "adding"))
    (root / "scripts" / "__pycache__").mkdir()
    # Bytecode that would run in the source's place if it were read.
    (root / "scripts" / "__pycache__" / "network.cpython-311.pyc").write_bytes(b"not bytecode")
    command = [sys.executable, "-m", "bedside", "bundle", "vet", str(root), "--json"]
    digest = json.loads(subprocess.run(command, capture_output=True, check=False).stdout)["digest"]
    policy = tmp_path / "policy.toml"
    policy.write_text(f'scripts = "pinned"\nallowed_digests = ["{digest}"]\n')
    served = start([root], tmp_path / "server", BEDSIDE_ADMISSION__POLICY_FILE=str(policy))
    assert stop(served) == 0
    assert [path.name for path in (root / "scripts" / "__pycache__").iterdir()] == ["network.cpython-311.pyc"]
