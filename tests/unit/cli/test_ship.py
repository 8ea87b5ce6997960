"""``bedside ship`` on the command line."""

import json
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
    """Return a folder with the environments ``dev``, which runs ct and mr, and ``production``, which runs nothing."""
    write_pins(tmp_path / "dev", Pins(IMAGE, {"ct": CT, "mr": CT}))
    write_pins(tmp_path / "production", Pins(IMAGE))
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
