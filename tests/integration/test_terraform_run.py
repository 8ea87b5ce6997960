"""``infra/terraform/run.sh``: what Terraform is asked, by a stand-in that takes notes."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "infra" / "terraform" / "run.sh"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a tree with a site and a platform, and a `terraform` that notes its arguments and puts `{"a": 1}` out."""
    for name in ("site", "platform"):
        (tmp_path / "live" / name).mkdir(parents=True)
    shutil.copy(SCRIPT, tmp_path / "run.sh")
    program = tmp_path / "bin" / "terraform"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\ncase "$*" in *output*) echo \'{{"a": 1}}\';; esac\n')
    program.chmod(0o755)
    return tmp_path


def run(tree: Path, *arguments: str) -> list[str]:
    """Run the script, and return what it asked Terraform."""
    environment = {**os.environ, "PATH": f"{tree / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    command = ["bash", str(tree / "run.sh"), *arguments]
    subprocess.run(command, check=True, env=environment, stdin=subprocess.DEVNULL, capture_output=True)
    return (tree / "asked").read_text().splitlines()


def test_values_backend_and_lock_file_are_the_roots_own(tree: Path) -> None:
    """A plan, and exactly that is applied."""
    for name in ("site.tfvars", "backend.hcl", ".terraform.lock.hcl"):
        (tree / "live" / "site" / name).touch()
    init, plan, apply = run(tree, "apply", "site")
    assert init == "init -input=false -backend-config=backend.hcl -lockfile=readonly"
    assert "-var-file=site.tfvars" in plan
    assert apply.split()[-1] == plan.rpartition("-out=")[2]
    assert not Path(apply.split()[-1]).exists()


def test_a_platform_takes_what_its_site_hands_over(tree: Path) -> None:
    """Credentials are for the owner's eyes alone."""
    asked = run(tree, "plan", "platform", "site")
    assert asked[:2] == ["-chdir=../site output -json handover", "-chdir=../site output -json credentials"]
    assert [line.split()[0] for line in asked[2:]] == ["init", "plan"]
    secret = tree / "live" / "platform" / "credentials.auto.tfvars.json"
    assert json.loads(secret.read_text()) == {"credentials": {"a": 1}}
    assert secret.stat().st_mode & 0o077 == 0
