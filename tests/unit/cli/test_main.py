"""What the command line makes of errors."""

from pathlib import Path

import pytest

from bedside import cli


@pytest.mark.parametrize(
    "arguments",
    [["audit", "verify", "--anchors", "absent.log"], ["bundle", "pack", "BUNDLE", "-o", "absent/bundle.tar"]],
    ids=["read", "write"],
)
def test_a_file_that_is_not_there_is_a_sentence(
    bundles: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    """Its name and the reason, and no stack trace."""
    named = [str(bundles / "record_classification") if word == "BUNDLE" else word for word in arguments]
    monkeypatch.setattr("sys.argv", ["bedside", *named])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    assert capsys.readouterr().err == f"Error: {arguments[-1]}: No such file or directory\n"


def test_an_error_without_a_file_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a fault of ours, and the stack trace says where."""

    def fail() -> None:
        raise OSError("broken")

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(OSError, match="broken"):
        cli.main()
