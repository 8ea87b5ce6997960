"""``bedside ship`` on the command line."""

import json
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from bedside.cli import app
from bedside.delivery.pins import Pins, read_pins, write_pins
from bedside.errors import ConfigurationError

DIGEST = "sha256:" + "1" * 64
IMAGE = f"ghcr.io/bedside/bedside@{DIGEST}"
CT = f"ghcr.io/bedside/bundles/ct@{DIGEST}"


@pytest.fixture
def environments(tmp_path: Path) -> Path:
    """Return a folder with environments: ``dev`` runs ct and mr, ``production`` and ``staging`` run nothing."""
    write_pins(tmp_path / "dev", Pins(IMAGE, {"ct": CT, "mr": CT}))
    write_pins(tmp_path / "production", Pins(IMAGE))
    write_pins(tmp_path / "staging", Pins(IMAGE))
    return tmp_path


def ship(*arguments: object) -> Result:
    """Run the command line."""
    return CliRunner().invoke(app, ["ship", *map(str, arguments)])


def test_pin_writes_and_names_what_changed(environments: Path) -> None:
    """The printed files are what a pipeline commits."""
    result = ship("pin", "production", "--bundle", f"ct={CT}", "--folder", environments)
    assert result.exit_code == 0, result.output
    assert str(environments / "production" / "pins.json") in result.output
    assert read_pins(environments / "production").bundles == {"ct": CT}


def test_pin_withdraws(environments: Path) -> None:
    """A deleted bundle is served no longer."""
    assert ship("pin", "dev", "--withdraw", "ct", "--folder", environments).exit_code == 0
    assert set(read_pins(environments / "dev").bundles) == {"mr"}


def test_pin_sets_the_image(environments: Path) -> None:
    """The server is a version too."""
    assert ship("pin", "dev", "--image", f"ghcr.io/other/image@{DIGEST}", "--folder", environments).exit_code == 0
    assert read_pins(environments / "dev").image.startswith("ghcr.io/other/image@")


def test_pin_wants_name_and_reference(environments: Path) -> None:
    """A reference without a name is a mistake."""
    assert isinstance(ship("pin", "dev", "--bundle", "ct", "--folder", environments).exception, ConfigurationError)


def test_promote_takes_over_digest_for_digest(environments: Path) -> None:
    """What was tried is what runs."""
    assert ship("promote", "dev", "production", "--folder", environments).exit_code == 0
    assert read_pins(environments / "production") == read_pins(environments / "dev")


def test_promote_takes_one_bundle_only(environments: Path) -> None:
    """The others stay as they are."""
    assert ship("promote", "dev", "production", "--bundle", "ct", "--folder", environments).exit_code == 0
    assert read_pins(environments / "production").bundles == {"ct": CT}


def test_promote_refuses_what_was_never_tried(environments: Path) -> None:
    """There is nothing to take over."""
    result = ship("promote", "dev", "production", "--bundle", "xr", "--folder", environments)
    assert isinstance(result.exception, ConfigurationError)


def test_detect_prints_json() -> None:
    """From nothing to now, all of this repository's bundles are new."""
    repository = Path(__file__).resolve().parents[3]
    result = ship("detect", "0" * 40, "HEAD", "--repository", repository)
    assert "hippocampus_mr" in json.loads(result.output)["deliver"]


def test_health_is_a_command_as_well() -> None:
    """Its help stands beside the others'."""
    assert CliRunner().invoke(app, ["health", "--url", "http://127.0.0.1:1/", "--timeout", "1"]).exit_code == 1


def commit(folder: Path, message: str) -> None:
    """Commit what there is."""
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    for arguments in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", message]):
        subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True)


def test_roll_back_writes_what_was_pinned_before(environments: Path) -> None:
    """Other commits in between do not matter."""
    commit(environments, "first")
    ship("pin", "dev", "--withdraw", "ct", "--folder", environments)
    commit(environments, "second")
    (environments / "README.md").write_text("a")
    commit(environments, "third")
    result = ship("rollback", "dev", "--folder", environments)
    assert result.exit_code == 0, result.output
    assert str(environments / "dev" / "pins.json") in result.output
    assert read_pins(environments / "dev").bundles == {"ct": CT, "mr": CT}


def test_there_is_nothing_before_the_first_pins(environments: Path) -> None:
    """Nor without a repository."""
    assert isinstance(ship("rollback", "dev", "--folder", environments).exception, ConfigurationError)
    commit(environments, "first")
    assert isinstance(ship("rollback", "dev", "--folder", environments).exception, ConfigurationError)


@pytest.fixture
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a kubectl on the path that notes what it is asked, and fails what ``fails`` names; return its folder."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "kubectl"
    program.write_text(
        f'#!/bin/sh\necho "$@" >> {folder}/asked\n'
        f'while read -r word; do case "$*" in *"$word"*) exit 1;; esac; done < {folder}/fails\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return folder


@pytest.mark.parametrize(
    ("fails", "last", "succeeds"),
    [
        ("", "wait canary/bedside --for=condition=Promoted --timeout=20m", True),
        ("get canary", "rollout status deployment/bedside --timeout=20m", True),
        ("get canary\nrollout status", "rollout undo deployment/bedside", False),
        ("wait canary", "wait canary/bedside --for=condition=Promoted --timeout=20m", False),
        ("apply", "apply --server-side --field-manager=bedside-pipeline -k deploy/k8s/overlays/aws", False),
    ],
)
def test_a_cluster_gets_the_overlay_and_is_watched(
    environments: Path, kubectl: Path, fails: str, last: str, *, succeeds: bool
) -> None:
    """With a canary, Flagger decides; without one, a roll-out that does not get ready is undone."""
    (kubectl / "fails").write_text(f"{fails}\n" if fails else "")
    result = ship("deploy", "production", "--target", "eks", "--folder", environments)
    assert (result.exit_code == 0) is succeeds, result.output
    asked = (kubectl / "asked").read_text().splitlines()
    assert asked[0].endswith("-k deploy/k8s/overlays/aws")
    assert asked[-1].removeprefix("--namespace bedside ") == last


def test_what_is_missing_for_a_deployment_is_named(
    environments: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kubectl, the site's folder, its certificate; a gate needs a candidate."""
    monkeypatch.setenv("PATH", str(tmp_path))
    deploy = ["deploy", "dev", "--folder", environments]
    assert "kubectl" in str(ship(*deploy, "--target", "k3s").exception)
    assert "--site" in str(ship(*deploy).exception)
    assert "certificate.pem" in str(ship(*deploy, "--site", tmp_path).exception)
    assert "--candidate" in str(ship("gate", tmp_path).exception)


def test_only_what_runs_becomes_production(environments: Path, tmp_path: Path) -> None:
    """A canary of other bundles, or none at all, is deployed first."""
    for name in ("certificate.pem", "key.pem"):
        (tmp_path / name).write_text("")
    promote = ["promote", "--folder", environments, "--site", tmp_path, "dev"]
    assert "canaries become production" in str(ship(*promote, "staging").exception or "")
    assert "dev does not run here" in str(ship(*promote, "production").exception)
    running = {"process": 1, "started": 1, "port": 1, "bundles": {"ct": CT}}
    state = {"port": 1, "mirror": 1, "canary_percent": 0, "running": {"dev": running}}
    (tmp_path / "site.json").write_text(json.dumps(state))
    assert "deploy it first" in str(ship(*promote, "production").exception)
    assert read_pins(environments / "production").bundles == {}


def test_a_delivery_to_a_cluster_is_told_once(environments: Path, kubectl: Path, tmp_path: Path) -> None:
    """By the pins' history: what the last commit changed, and what became of it; a second file gets nothing."""
    commit(environments, "first")
    ship("pin", "dev", "--bundle", f"xr={CT}", "--folder", environments)
    commit(environments, "second")
    (kubectl / "fails").write_text("")
    events = tmp_path / "events"
    assert ship("deploy", "dev", "--target", "k3s", "--folder", environments, "--events", events).exit_code == 0
    (kubectl / "fails").write_text("get canary\nrollout status\n")
    assert ship("deploy", "dev", "--target", "k3s", "--folder", environments, "--events", events).exit_code == 1
    told = [json.loads(line) for line in events.read_text().splitlines()]
    assert [line["event"]["outcome"] for line in told] == ["success", "failure"]
    assert {line["inference"]["bundle"]["name"] for line in told} == {"xr"}
    assert told[0]["inference"]["delivery"]["environment"] == "dev"
    assert told[1]["error"]["type"] == "RolloutFailed"
