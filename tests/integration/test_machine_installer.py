"""The installer that infra/terraform gives to k3s machines, rendered by Terraform and run for real in a folder."""

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest

MODULE = Path(__file__).parents[2] / "infra" / "terraform" / "modules" / "render"
BINARY = b"the binary"

pytestmark = pytest.mark.skipif(
    shutil.which("terraform") is None,
    reason="terraform is not installed: https://developer.hashicorp.com/terraform/install",
)


def _installer(folder: Path, sha256: dict[str, str]) -> Path:
    """Render the installer of a first server; what it writes below / is written below ``folder``."""
    module = folder / "render"
    shutil.copytree(MODULE, module, ignore=shutil.ignore_patterns("tests", ".terraform*"))
    token = "K10" + "0" * 64 + "::{}:" + "x" * 32
    cluster = {"name": "ward", "join_address": "10.0.0.1", "tls_sans": ["10.0.0.1"], "servers": 1}
    cluster |= {"pod_cidr": "10.42.0.0/16", "service_cidr": "10.43.0.0/16"}
    cluster |= {"oidc_issuer": "https://id.example", "oidc_audience": "bedside", "administrators": ["admins"]}
    values = {
        "node": {"name": "s1", "address": "10.0.0.1", "role": "init"},
        "cluster": cluster,
        "tokens": {"server": token.format("server"), "agent": token.format("node")},
        "install": {"version": "v1.35.8+k3s1", "source": f"file://{folder}/medium", "sha256": sha256},
        "registry": {"host": "oci.example"},
    }
    (module / "values.tfvars.json").write_text(json.dumps(values), encoding="utf-8")
    _terraform(module, "init", "-backend=false")
    _terraform(module, "apply", "-auto-approve", "-var-file=values.tfvars.json")
    files = json.loads(_terraform(module, "output", "-json", "files"))
    text = files["/usr/local/sbin/bedside-k3s-install"]["content"]
    script = folder / "install.sh"
    script.write_text(text.replace("/usr/local", f"{folder}/usr").replace("/var/", f"{folder}/var/"), encoding="utf-8")
    return script


def _terraform(folder: Path, *command: str) -> str:
    return subprocess.run(
        ["terraform", *command, "-no-color"], cwd=folder, check=True, capture_output=True, text=True
    ).stdout


def _medium(folder: Path) -> dict[str, str]:
    medium = folder / "medium"
    medium.mkdir()
    (medium / "k3s").write_bytes(BINARY)
    (medium / "images.tar.zst").write_bytes(b"images")
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in medium.iterdir()}


def test_what_has_its_checksum_is_installed(tmp_path: Path) -> None:
    """Binary and images end where k3s looks for them, and a second run changes nothing."""
    script = _installer(tmp_path, _medium(tmp_path))
    for _ in range(2):
        subprocess.run(["sh", script], check=True)
    assert (tmp_path / "usr" / "bin" / "k3s").read_bytes() == BINARY
    assert (
        tmp_path / "var" / "lib" / "rancher" / "k3s" / "agent" / "images" / "images.tar.zst"
    ).read_bytes() == b"images"


def test_what_was_tampered_with_is_not_installed(tmp_path: Path) -> None:
    """A binary with another checksum ends the installer, before anything is in its place."""
    sums = _medium(tmp_path)
    (tmp_path / "medium" / "k3s").write_bytes(b"another binary")
    ended = subprocess.run(["sh", _installer(tmp_path, sums)], check=False, capture_output=True, text=True)
    assert ended.returncode == 1
    assert "k3s has another checksum than expected" in ended.stderr
    assert not (tmp_path / "usr" / "bin" / "k3s").exists()
