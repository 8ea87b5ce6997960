"""Folders and archives as files, before anything in them is read."""

import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest
from tests.unit.bundle.vetting.conftest import judged, rules

from bedside.bundle.vetting.zips import open_zip, read_member
from bedside.settings import AdmissionSettings


def archived(path: Path, data: bytes) -> Path:
    """Write an archive."""
    path.write_bytes(data)
    return path


def test_links_to_files_inside_are_admitted(root: Path) -> None:
    """The digest covers what they lead to."""
    (root / "models" / "latest.pt").symlink_to("model.pt")
    verdict = judged(root)
    assert verdict.admitted, verdict.reason
    assert {f.where for f in verdict.findings if f.rule == "weights"} == {"models/model.pt", "models/latest.pt"}


def test_a_link_to_a_pipe_inside_is_refused(root: Path) -> None:
    """Both are told."""
    os.mkfifo(root / "models" / "pipe")
    (root / "models" / "weights.pt").symlink_to("pipe")
    assert [finding.where for finding in judged(root).refusals] == ["models/pipe", "models/weights.pt"]


def test_what_everybody_may_change_is_a_warning(root: Path) -> None:
    """Usual on shared folders, and worth a line."""
    (root / "models" / "model.pt").chmod(0o666)
    verdict = judged(root)
    assert verdict.admitted
    assert rules(verdict, "warning") == {"writable_by_all"}


def test_folders_of_tools_are_not_covered(root: Path) -> None:
    """No part of the digest, and told so; bytecode is never read."""
    (root / ".git").mkdir()
    (root / ".git" / "config").write_text("x")
    (root / "scripts" / "__pycache__").mkdir(parents=True)
    (root / "scripts" / "__pycache__" / "net.cpython-311.pyc").write_bytes(b"\0")
    verdict = judged(root)
    assert verdict.admitted
    assert {"not_covered", "bytecode"} <= rules(verdict, "info")


def test_a_file_that_vanishes_is_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the listing and the look at it."""
    real = Path.lstat

    def lstat(path: Path) -> os.stat_result:
        if path.name == "model.pt":
            raise FileNotFoundError
        return real(path)

    monkeypatch.setattr(Path, "lstat", lstat)
    assert rules(judged(root)) == {"unreadable_file"}


def test_a_folder_that_cannot_be_listed_is_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its name in the bundle."""
    real = Path.iterdir

    def iterdir(path: Path) -> Any:
        if path.name == "models":
            raise PermissionError
        return real(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    assert [(f.rule, f.where) for f in judged(root).refusals] == [("unreadable_file", "models")]


def test_a_file_that_cannot_be_read_is_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests may run as root, who can read everything."""
    monkeypatch.setattr(os, "access", lambda path, _: path.name != "model.pt")
    assert [(f.rule, f.where) for f in judged(root).refusals] == [("unreadable_file", "models/model.pt")]


def test_an_archive_without_a_bundle_is_refused(tmp_path: Path) -> None:
    """It is said how many there are."""
    path = tmp_path / "empty.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/b.txt", "x")
    verdict = judged(path)
    assert rules(verdict) == {"not_a_bundle"}
    assert "no folder" in verdict.reason


@pytest.mark.parametrize("data", [b"", b"PK", b"PK\3\4", b"PK\3\4" + b"\0" * 40, b"not a zip at all" * 10])
def test_what_is_no_archive_is_refused(tmp_path: Path, data: bytes) -> None:
    """Also where it begins like one."""
    assert rules(judged(archived(tmp_path / "a.zip", data))) == {"archive_unreadable"}


def test_an_archive_with_folders_of_its_own_is_admitted(tmp_path: Path, hostile: Any) -> None:
    """Entries for folders, as zip writes them."""
    path = archived(tmp_path / "a.zip", hostile.zipped(lambda archive: archive.mkdir("bundle/docs")))
    assert judged(path).admitted


def test_an_archive_that_cannot_be_unpacked_is_told(
    tmp_path: Path, hostile: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No room, for example."""
    path = archived(tmp_path / "a.zip", hostile.zipped())

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "chmod", full)
    assert rules(judged(path)) == {"archive_unreadable"}


def test_nothing_is_written_beside_the_archive(tmp_path: Path, hostile: Any) -> None:
    """Neither for an honest one nor for one that leads out."""
    (tmp_path / "in").mkdir()
    for name in ("zip_slip", "zip_slip_inside", "zip_link"):
        judged(archived(tmp_path / "in" / f"{name}.zip", hostile.ARCHIVES[name]()))
    assert {path.name for path in tmp_path.iterdir()} == {"in"}


@pytest.mark.parametrize(
    ("limits", "rule"),
    [({"files": 2}, "too_many_files"), ({"total_bytes": 100}, "too_large")],
)
def test_the_limits_hold_for_archives(tmp_path: Path, hostile: Any, limits: dict[str, int], rule: str) -> None:
    """Before anything is unpacked."""
    verdict = judged(archived(tmp_path / "a.zip", hostile.zipped()), **limits)
    assert rules(verdict) == {rule}
    assert verdict.refusals[0].where == "a.zip"


def test_a_member_longer_than_allowed_is_refused() -> None:
    """The limit of whoever reads it."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a", b"x" * 10)
    with pytest.raises(Exception, match="larger") as caught, open_zip(stream_of(stream), AdmissionSettings()) as opened:
        read_member(opened, opened.infolist()[0], 9)
    assert type(caught.value).__name__ == "Refused"


def stream_of(stream: io.BytesIO) -> io.BytesIO:
    """Return a stream at its beginning."""
    return io.BytesIO(stream.getvalue())


def test_code_beside_the_bundle_is_not_imported(root: Path) -> None:
    """Scripts that made golden cases or pictures are told and admitted; anywhere else they are code."""
    beside = {"golden/make.py", "docs/plot.py", "app.py"}
    for name in beside:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("import os")
    verdict = judged(root)
    assert verdict.admitted
    assert {f.where for f in verdict.findings if f.rule == "not_imported"} == beside


@pytest.mark.parametrize("reaching", [{"_target_": "app.Evil"}, "$import app", "$__import__('app')"])
def test_a_configuration_cannot_reach_the_application(root: Path, reaching: object) -> None:
    """``app.py`` is admitted because nothing imports it; a configuration that would is refused."""
    (root / "app.py").write_text("class Evil: pass")
    config = root / "configs" / "inference.json"
    config.write_text(json.dumps({**json.loads(config.read_bytes()), "reaching": reaching}))
    verdict = judged(root)
    assert not verdict.admitted
    assert all(finding.where.startswith("configs/inference.json#/reaching") for finding in verdict.refusals)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("import os, torch.nn\nfrom a.b import c\nfrom . import d", "it imports ., a, os, torch"),
        ("x = 1", "code of the bundle's own"),
        ("def (", "no readable Python source"),
        ("(" * 9999, "no readable Python source"),
    ],
)
def test_a_reviewer_is_told_what_code_imports(root: Path, source: str, says: str) -> None:
    """Without importing it."""
    (root / "scripts").mkdir()
    (root / "scripts" / "net.py").write_text(source)
    assert says in judged(root).refusals[0].explanation
