"""What others wrote is shown on the terminal, and obeyed by nobody."""

import io
import json
import shutil
import sys
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from bedside import bootstrap
from bedside.bundle.agreement import Agreement
from bedside.bundle.contract import Contract, FeatureSpec, InputSpec, OutputSpec
from bedside.bundle.folder import BundleFolder
from bedside.cli import app, main
from bedside.cli.terminal import plain
from bedside.errors import InvalidBundle
from bedside.registry.golden import GoldenResult
from bedside.registry.parity import Comparison
from bedside.runtime.facts import Inspection
from bedside.runtime.memory import MemoryNeed
from bedside.settings import Settings

HOSTILE = "\x1b]0;mine\x07\x9b2J [bold red]x[/nope] [link=http://evil]y[/link] \u202eabc"
CONTRACT = Contract(
    "heart",
    HOSTILE,
    "sha256:0",
    "",
    HOSTILE,
    (InputSpec(HOSTILE, "record", features=(FeatureSpec(HOSTILE, HOSTILE, HOSTILE, {1.0: HOSTILE}),)),),
    (OutputSpec(HOSTILE, "probabilities", labels={0: HOSTILE}),),
    {},
)


def is_harmless(output: str) -> bool:
    """Tell whether an output holds no control letter and no change of the direction of writing."""
    return not set(output) & {"\x1b", "\x07", "\x9b", "\u202e"}


@pytest.fixture
def hostile(tmp_path: Path, bundles: Path) -> Path:
    """Return a bundle whose metadata hold escape sequences and markup."""
    root = Path(shutil.copytree(bundles / "record_classification", tmp_path / "heart"))
    path = root / "configs" / "metadata.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "description": HOSTILE}))
    return root


def test_a_text_is_shown_letter_by_letter() -> None:
    """Markup and emoji codes stay as they are, escapes become a mark, lines stay lines."""
    console = Console(file=io.StringIO(), width=200)
    console.print(plain(f"a\n{HOSTILE} :smile:"))
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert is_harmless(shown)
    assert shown.startswith("a\n")
    assert "[bold red]x[/nope] [link=http://evil]y[/link]" in shown
    assert ":smile:" in shown


def test_a_tab_is_a_space() -> None:
    """PyTorch indents the reasons of its errors with them; they do no harm, and need no mark."""
    assert plain("Error:\n\tsize mismatch").plain == "Error:\n size mismatch"


def test_inspect_shows_a_hostile_bundle(hostile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names, units, codes, labels and description come from the bundle."""

    async def inspect(_settings: Settings, _folder: BundleFolder) -> Inspection:
        return Inspection(CONTRACT, ("files",), MemoryNeed(3 << 20, 2 << 20, 104.8576, by_volume=True))

    monkeypatch.setattr(bootstrap, "inspect_bundle", inspect)
    result = CliRunner(env={"COLUMNS": "400"}).invoke(app, ["bundle", "inspect", str(hostile)])
    assert result.exit_code == 0, result.output
    assert is_harmless(result.output)
    assert result.output.count("[/nope]") >= 8
    assert "sandbox: files" in result.output
    assert "memory: 3 MiB loaded; a request 2 MiB and 100 MiB for each million voxels at 1 mm" in result.output


def test_golden_cases_of_a_hostile_bundle_are_shown(hostile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of cases and remarks come from the bundle."""

    async def run(
        _settings: Settings, _folder: BundleFolder, *, with_monai: bool
    ) -> list[tuple[GoldenResult, Comparison | None]]:
        agreement = Agreement(HOSTILE, 4, 4, 0.0)
        return [
            (GoldenResult(HOSTILE, "passed", 1.0, (HOSTILE,)), Comparison("agrees", (agreement,), remarks=(HOSTILE,)))
        ]

    monkeypatch.setattr(bootstrap, "run_golden_cases", run)
    result = CliRunner(env={"COLUMNS": "400"}).invoke(app, ["bundle", "test", str(hostile)])
    assert result.exit_code == 0, result.output
    assert is_harmless(result.output)
    assert "passed" in result.output


def test_serve_announces_a_hostile_reason(hostile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Why a model could not be loaded is told in the words of an exception of the bundle's."""
    monkeypatch.setattr(bootstrap, "serve", lambda _settings, _sources, announce, _name: announce(HOSTILE))
    result = CliRunner(env={"COLUMNS": "400"}).invoke(app, ["serve", str(hostile)])
    assert result.exit_code == 0, result.output
    assert is_harmless(result.output)
    assert "[/nope]" in result.output


def test_an_error_with_markup_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The detail may hold a bundle's text, the field too."""

    def refuse(_path: Path) -> BundleFolder:
        raise InvalidBundle(HOSTILE, field=HOSTILE)

    monkeypatch.setattr("bedside.cli.bundle.open_bundle", refuse)
    monkeypatch.setattr(sys, "argv", ["bedside", "bundle", "inspect", str(tmp_path)])
    with pytest.raises(SystemExit, match="1"):
        main()
    shown = capsys.readouterr().err
    assert shown.startswith("Error:")
    assert is_harmless(shown)


def test_letters_of_any_script_pass() -> None:
    """Only what steers a terminal is marked."""
    assert plain("Größe 大きさ µm").plain == "Größe 大きさ µm"
