"""``infra/terraform/run.sh``: what Terraform is asked, by a stand-in that takes notes."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TERRAFORM = Path(__file__).resolve().parents[2] / "infra" / "terraform"
HANDED_OVER = {
    "handover": {
        "api": {"endpoint": "https://10.0.0.9:6443", "ca_certificate": "CA"},
        "registry": {"prefix": "oci.theatre.example/bedside"},
    },
    "credentials": {"client_certificate": "CERT", "client_key": "KEY"},
}


def program(tree: Path, name: str, text: str) -> None:
    """Put a program on the path that notes its arguments, and then does what ``text`` says."""
    place = tree / "bin" / name
    place.parent.mkdir(exist_ok=True)
    place.write_text(f'#!/bin/sh\necho "$@" >> {tree}/{name}.asked\n{text}\n')
    place.chmod(0o755)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a tree with a site and its platform, and a `terraform` that puts out what it was told of each output."""
    for name in ("site", "site-platform"):
        (tmp_path / "live" / name).mkdir(parents=True)
    shutil.copy(TERRAFORM / "run.sh", tmp_path)
    for name, value in HANDED_OVER.items():
        (tmp_path / name).write_text(json.dumps(value))
    program(tmp_path, "terraform", f'for last; do :; done\ncase "$*" in *output*) cat {tmp_path}/$last;; esac')
    return tmp_path


def run(tree: Path, *arguments: str) -> list[str]:
    """Run the script, and return what it asked Terraform."""
    environment = {**os.environ, "PATH": f"{tree / 'bin'}{os.pathsep}{os.environ['PATH']}", "WAIT_SECONDS": "60"}
    command = ["bash", str(tree / "run.sh"), *arguments]
    subprocess.run(command, check=True, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    notes = tree / "terraform.asked"
    return notes.read_text().splitlines() if notes.exists() else []


def test_values_backend_and_lock_file_are_the_roots_own(tree: Path) -> None:
    """A plan, and exactly that is applied."""
    for name in ("site.tfvars", "backend.hcl", ".terraform.lock.hcl"):
        (tree / "live" / "site" / name).touch()
    init, plan, apply = run(tree, "apply", "site")
    assert init == "-chdir=site init -input=false -backend-config=backend.hcl -lockfile=readonly"
    assert "-var-file=site.tfvars" in plan
    assert apply.split()[-1] == plan.rpartition("-out=")[2]
    assert not Path(apply.split()[-1]).exists()


def test_a_platform_takes_what_its_site_hands_over(tree: Path) -> None:
    """Credentials are for the owner's eyes alone."""
    asked = run(tree, "plan", "site-platform", "site")
    assert asked[:2] == ["-chdir=site output -json handover", "-chdir=site output -json credentials"]
    assert [line.split()[1] for line in asked[2:]] == ["init", "plan"]
    secret = tree / "live" / "site-platform" / "credentials.auto.tfvars.json"
    assert json.loads(secret.read_text()) == {"credentials": HANDED_OVER["credentials"]}
    assert secret.stat().st_mode & 0o077 == 0


def test_up_waits_for_machines_between_site_and_platform(tree: Path) -> None:
    """Media for the machines are made first; the API is asked as the administrator until it answers."""
    seeds = tree / "live" / "site" / "seeds" / "s1"
    seeds.mkdir(parents=True)
    program(tree, "xorriso", "")
    program(tree, "curl", f"[ $(wc -l < {tree}/curl.asked) -gt 1 ]")
    program(tree, "sleep", "")
    asked = run(tree, "up", "site")
    verbs = [line.split()[:2] for line in asked]
    assert verbs[2] == ["-chdir=site", "apply"]
    assert verbs[-1] == ["-chdir=site-platform", "apply"]
    first, second = (tree / "curl.asked").read_text().splitlines()
    assert first == second
    assert first.endswith("https://10.0.0.9:6443/readyz")
    assert "--cert " in first
    assert "seeds/s1.iso" in (tree / "xorriso.asked").read_text()


def test_what_a_medium_carries_is_in_the_registry_before_machines_look_for_it(tree: Path) -> None:
    """It is emptied between the site, whose registry it names, and the platform, which pulls from there."""
    program(tree, "curl", "")
    courier = f'echo "courier $*" >> {tree}/terraform.asked'
    program(tree, "python3", f'case "$1" in *courier.py) {courier} ;; *) exec {sys.executable} "$@" ;; esac')
    asked = run(tree, "up", "site", str(tree))
    carried = asked.index(f"courier ../../../deploy/courier.py unload {tree} oci.theatre.example/bedside/manifests")
    applied = [number for number, line in enumerate(asked) if " apply " in line]
    assert applied[0] < carried < applied[1]


def test_a_cluster_that_is_ready_when_it_is_made_is_not_waited_for(tree: Path) -> None:
    """EKS has credentials that are a command."""
    (tree / "credentials").write_text(json.dumps({"client_certificate": None, "command": ["aws"]}))
    program(tree, "curl", "exit 1")
    assert run(tree, "up", "site")[-1].startswith("-chdir=site-platform apply")
    assert not (tree / "curl.asked").exists()


@pytest.mark.parametrize("example", ["aws", "onprem", "onprem-airgap"])
def test_a_new_site_is_a_copy_of_its_example(tree: Path, example: str) -> None:
    """With a platform that brings the overlay of that name up, and nothing that a machine has left in the example."""
    shutil.copytree(TERRAFORM / "live", tree / "live", dirs_exist_ok=True)
    run(tree, "new", example, "radiology")
    site, platform = tree / "live" / "radiology", tree / "live" / "radiology-platform"
    assert (site / "site.tfvars").read_text() == (TERRAFORM / "live" / f"{example}-example" / "site.tfvars").read_text()
    assert f'path = "./deploy/k8s/overlays/{example}"' in (platform / "release.tfvars").read_text()
    left = {path.name for root in (site, platform) for path in root.iterdir()}
    assert not left & {"example.tftest.hcl", ".terraform", ".terraform.lock.hcl", "release.tfvars.bak"}
