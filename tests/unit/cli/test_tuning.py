"""``bedside bundle tune``: what it prints, and what it keeps."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from bedside import bootstrap
from bedside.bundle.folder import BundleFolder
from bedside.bundle.tuned import Machine, read_tuned
from bedside.cli import app
from bedside.registry.tuning import Measured, Tuning
from bedside.settings import Settings

WAYS = (
    Measured("freeze", 0.05, 2.0, 1.0),
    Measured("openvino", 0.02, 5.0, 0.9, remarks=("pred: Dice of label 1 is 0.5",)),
    Measured("bf16", 0.1, 1.02, 0.9999),
    Measured("onnxruntime", why="not_installed", remarks=("pip install 'bedside[accelerate]'",)),
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a folder that looks like a bundle."""
    root = tmp_path / "spleen"
    (root / "configs").mkdir(parents=True)
    (root / "configs" / "metadata.json").write_text('{"version": "1.0.0"}')
    (root / "configs" / "inference.json").write_text("{}")
    return root


def tuned(root: Path, monkeypatch: pytest.MonkeyPatch, ways: tuple[Measured, ...], *options: str) -> Result:
    """Run the command over what was measured."""

    async def measure(_settings: Settings, folder: BundleFolder, rounds: int) -> Tuning:
        assert rounds == 5
        return Tuning(folder.digest, Machine("2.13.0", "EPYC", 1), ("[bold]a[/nope]",), 0.1, ways)

    monkeypatch.setattr(bootstrap, "tune_bundle", measure)
    result = CliRunner(env={"COLUMNS": "300"}).invoke(app, ["bundle", "tune", str(root), *options])
    assert result.exit_code == 0, result.output
    assert "[bold]a[/nope]" in result.output  # a bundle's own words
    return result


def test_the_choice_is_kept_and_every_way_is_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its ratio, or why it is not used."""
    output = tuned(root, monkeypatch, WAYS).output
    kept = read_tuned(root)
    assert kept is not None
    assert (kept.acceleration, kept.ratio) == ("freeze", 2.0)
    for text in (
        "Dice of label 1",
        "not worth it",
        "pip install 'bedside[accelerate]'",
        "torch_compile",
        "kept in",
    ):
        assert text in output


def test_nothing_is_kept_on_request(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The choice is told all the same."""
    assert "freeze: not kept" in tuned(root, monkeypatch, WAYS, "--no-write").output
    assert read_tuned(root) is None


def test_an_earlier_choice_goes_where_nothing_pays(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would slow the model down, or change its answers."""
    tuned(root, monkeypatch, WAYS)
    assert "nothing is 1.1 times as fast" in tuned(root, monkeypatch, WAYS[1:]).output
    assert read_tuned(root) is None
