"""The entry point of a package, run on a build context as it will lie in the image."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bedside.monai_deploy import tools
from bedside.monai_deploy.package import export

HIPPOCAMPUS = Path(__file__).resolve().parents[3] / "apps" / "hippocampus_mr"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Return the root file system of a package."""
    return export(HIPPOCAMPUS, tmp_path / "map") / "rootfs"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Return the commands that the entry point becomes."""
    commands: list[list[str]] = []
    monkeypatch.setattr(os, "execvp", lambda _file, command: commands.append(command))
    return commands


def test_show_prints_the_manifests(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both, or the one that is named."""
    assert tools.main(["show", "pkg"], package) == 0
    assert json.loads(capsys.readouterr().out)["models"][0]["name"] == "hippocampus_mr"
    assert tools.main(["show"], package) == 0
    assert capsys.readouterr().out.count('"apiVersion"') == 2


def test_show_knows_two_manifests(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Anything else is answered with the usage."""
    assert tools.main(["show", "shadow"], package) == 2
    assert "show [app|pkg]" in capsys.readouterr().err


def test_extract_copies_everything(package: Path) -> None:
    """The specification's four folders, below the one that is mounted."""
    export_folder = package / "var/run/holoscan/export"
    export_folder.mkdir(parents=True)
    assert tools.main(["extract"], package) == 0
    assert {path.name for path in export_folder.iterdir()} == {"app", "config", "models", "docs"}
    assert {path.name for path in (export_folder / "config").iterdir()} == {"app.yaml", "app.json", "pkg.json"}
    assert (export_folder / "models/hippocampus_mr/models/model.pt").is_file()


def test_extract_copies_what_has_a_folder(package: Path) -> None:
    """Where one of the four is mounted, the others are left out."""
    export_folder = package / "var/run/holoscan/export"
    (export_folder / "docs").mkdir(parents=True)
    assert tools.main(["extract"], package) == 0
    assert [path.name for path in export_folder.iterdir()] == ["docs"]
    assert (export_folder / "docs/README.md").is_file()


def test_extract_needs_a_mounted_folder(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is copied into the container itself is lost with it."""
    assert tools.main(["extract"], package) == 1
    assert "no folder is mounted" in capsys.readouterr().err


def test_help_tells_the_commands(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On standard output, with status 0."""
    assert tools.main(["help"], package) == 0
    assert "extract" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["--log-level", "ERROR"]])
def test_anything_else_starts_the_application(package: Path, started: list[list[str]], arguments: list[str]) -> None:
    """The command of app.json, with the arguments behind it; no shell in between."""
    tools.main(arguments, package)
    assert started == [["python3", "/opt/holoscan/app/app.py", *arguments]]


def test_env_is_the_systems_own(package: Path, started: list[list[str]]) -> None:
    """It prints the environment as the application would see it."""
    tools.main(["env"], package)
    assert started == [["env"]]


def test_the_entry_point_needs_nothing_installed(package: Path) -> None:
    """The file in the package runs by itself, on the standard library."""
    entry = package / "var/holoscan/tools"
    assert os.access(entry, os.X_OK)
    answer = subprocess.run([sys.executable, "-I", "-S", str(entry), "help"], check=True, capture_output=True)
    assert answer.stdout.startswith(b"usage:")
