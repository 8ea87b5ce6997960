"""`bedside dashboards export`."""

from pathlib import Path

from typer.testing import CliRunner

from bedside.cli import app
from bedside.errors import ConfigurationError

GOLDEN = Path(__file__).resolve().parents[3] / "deploy" / "elastic"


def test_the_export_is_what_is_checked_in(tmp_path: Path) -> None:
    """Letter for letter, into a folder that need not exist; every path is printed."""
    folder = tmp_path / "new" / "folder"
    result = CliRunner().invoke(app, ["dashboards", "export", "-o", str(folder)])
    assert result.exit_code == 0
    written = [path for path in folder.rglob("*") if path.is_file()]
    assert sorted(map(str, written)) == sorted(result.output.splitlines())
    for path in written:
        assert path.read_bytes() == (GOLDEN / path.relative_to(folder)).read_bytes()


def test_a_folder_that_cannot_be_is_told(tmp_path: Path) -> None:
    """In a sentence."""
    (tmp_path / "file").write_text("")
    result = CliRunner().invoke(app, ["dashboards", "export", "-o", str(tmp_path / "file" / "folder")])
    assert isinstance(result.exception, ConfigurationError)
    assert "cannot be written" in result.exception.detail
