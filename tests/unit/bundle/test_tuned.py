"""What tuning chose: read back only where it is whole, and only for the files and the machine it was measured with."""

from dataclasses import replace
from pathlib import Path

import pytest

from bedside.bundle.folder import tree_digest
from bedside.bundle.tuned import Machine, Tuned, read_tuned, tune_file, write_tuned

MACHINE = Machine("2.13.0", "EPYC", 1)
TUNED = Tuned(acceleration="freeze", ratio=1.9, digest="sha256:0", torch="2.13.0", processor="EPYC", threads=1)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a bundle's folder."""
    root = tmp_path / "spleen"
    root.mkdir()
    (root / "LICENSE").write_text("free")
    return root


def test_a_choice_is_kept_beside_the_folder_and_changes_no_digest(root: Path) -> None:
    """What was looked at and signed stays what it was."""
    before = tree_digest(root)
    write_tuned(root, TUNED)
    assert read_tuned(root) == TUNED
    assert tree_digest(root) == before
    assert [path.name for path in root.parent.iterdir() if path.is_file()] == ["spleen.tune.json"]


def test_a_choice_can_be_taken_back(root: Path) -> None:
    """Also where there was none."""
    for _ in range(2):
        write_tuned(root, TUNED)
        write_tuned(root, None)
        write_tuned(root, None)
        assert read_tuned(root) is None


@pytest.mark.parametrize(
    ("digest", "machine", "holds"),
    [
        ("sha256:0", MACHINE, True),
        ("sha256:1", MACHINE, False),
        ("sha256:0", replace(MACHINE, torch="2.14.0"), False),
        ("sha256:0", replace(MACHINE, processor="Xeon"), False),
        ("sha256:0", replace(MACHINE, threads=2), False),
    ],
)
def test_a_choice_holds_for_these_files_on_such_a_machine(digest: str, machine: Machine, holds: bool) -> None:  # noqa: FBT001
    """Anything else was not measured."""
    assert TUNED.holds_for(digest, machine) is holds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "\x80",
        "[" * 5000,
        TUNED.model_dump_json().replace("freeze", "../freeze"),
        TUNED.model_dump_json().replace('"format":1', '"format":2'),
        TUNED.model_dump_json().replace("1.9", "0.5"),
        TUNED.model_dump_json().replace("1.9", "NaN"),
        TUNED.model_dump_json().replace("{", '{"code":"import os",'),
        TUNED.model_dump_json() + " " * 20_000 + "x",
    ],
)
def test_what_is_no_choice_is_refused(root: Path, text: str) -> None:
    """With one kind of error, whatever is wrong with it; what is past the bound is not read."""
    tune_file(root).write_text(text, encoding="latin-1")
    if text.endswith("x"):
        assert read_tuned(root) == TUNED
        return
    with pytest.raises(ValueError):  # noqa: PT011 - pydantic's error is one
        read_tuned(root)


def test_what_cannot_be_read_is_refused(root: Path) -> None:
    """A folder in its place."""
    tune_file(root).mkdir()
    with pytest.raises(ValueError, match="cannot be read"):
        read_tuned(root)


def test_a_link_in_the_way_is_not_written_through(root: Path) -> None:
    """Models of several people may lie in one folder."""
    victim = root / "LICENSE"
    tune_file(root).with_name("spleen.tune.json.new").symlink_to(victim)
    write_tuned(root, TUNED)
    assert victim.read_text() == "free"
    assert read_tuned(root) == TUNED
