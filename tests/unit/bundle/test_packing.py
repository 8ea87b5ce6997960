"""Archives of bundles: the same bytes for the same tree, and the same tree out of them."""

import os
import shutil
import stat
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from bedside.bundle.folder import open_bundle
from bedside.bundle.packing import FORMS, pack
from bedside.bundle.vetting.archives import unpack
from bedside.errors import ConfigurationError, InvalidBundle
from bedside.settings import AdmissionSettings


@pytest.fixture
def root(bundles: Path, tmp_path: Path) -> Path:
    """Return a bundle with more than one block of weights, a name that is not ASCII, and a link."""
    root = Path(shutil.copytree(bundles / "record_classification", tmp_path / "heart"))
    (root / "models" / "more.bin").write_bytes(os.urandom(200_000))
    (root / "docs" / "Überblick, die zweite.md").write_text("ü")
    (root / "docs" / "latest.md").symlink_to("README.md")
    (root / "empty.txt").write_bytes(b"")
    return root


def packed(root: Path, name: str) -> bytes:
    """Return an archive."""
    target = root.parent / name
    pack(root, target)
    return target.read_bytes()


@pytest.mark.parametrize("form", FORMS)
def test_the_same_tree_gives_the_same_bytes(root: Path, form: str) -> None:
    """Whoever owns it, whenever it was written, in which order it was made, and whatever a run left behind."""
    before = packed(root, f"a{form}")
    copy = root.parent / "elsewhere" / "heart"
    for path in sorted(root.rglob("*"), reverse=True):
        if path.is_file():
            (copy / path.relative_to(root)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy / path.relative_to(root))
            (copy / path.relative_to(root)).chmod(0o755)
            os.utime(copy / path.relative_to(root), (1, 1))
    (copy / "__pycache__").mkdir()
    (copy / "__pycache__" / "x.pyc").write_text("left behind")
    assert packed(copy, f"b{form}") == before


@pytest.mark.parametrize("form", FORMS)
def test_another_process_with_another_locale_gives_the_same_bytes(root: Path, form: str) -> None:
    """As another machine would."""
    program = "import os, sys, pathlib; os.umask(0); from bedside.bundle.packing import pack;"
    program += "print(pack(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])))"
    environment = {**os.environ, "LC_ALL": "C", "TZ": "Asia/Tokyo", "PYTHONHASHSEED": "7"}
    command = [sys.executable, "-c", program, str(root), str(root.parent / f"other{form}")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == pack(root, root.parent / f"mine{form}")


@pytest.mark.parametrize("form", FORMS)
def test_what_comes_out_is_what_went_in(root: Path, tmp_path: Path, form: str) -> None:
    """The tree's digest is the same, under the model's name."""
    pack(root, tmp_path / f"a{form}")
    into = tmp_path / "into"
    into.mkdir()
    out = unpack(tmp_path / f"a{form}", into, AdmissionSettings())
    assert (out.name, open_bundle(out).digest) == ("heart", open_bundle(root).digest)
    assert stat.S_IMODE((out / "empty.txt").stat().st_mode) == 0o600


def test_a_version_folder_is_packed_under_its_models_name(root: Path) -> None:
    """The version is in the metadata."""
    version = root.rename(root.parent / "1.2.0").rename(root.parent / "x")
    (root.parent / "heart").mkdir()
    shutil.move(version, root.parent / "heart" / "1.2.0")
    pack(root.parent / "heart" / "1.2.0", root.parent / "a.tar")
    with tarfile.open(root.parent / "a.tar") as archive:
        assert {name.partition("/")[0] for name in archive.getnames()} == {"heart"}


def test_other_tools_read_what_was_written(root: Path) -> None:
    """Tar with its own gunzip, and zip's test of all checksums."""
    packed(root, "a.tar.gz")
    with tarfile.open(root.parent / "a.tar.gz", "r:gz") as archive:
        assert "heart/configs/metadata.json" in archive.getnames()
        assert {(m.mtime, m.uid, m.gid, m.mode) for m in archive.getmembers()} == {(0, 0, 0, 0o644)}
    packed(root, "a.zip")
    with zipfile.ZipFile(root.parent / "a.zip") as archive_zip:
        assert archive_zip.testzip() is None
    subprocess.run(["gzip", "--test", str(root.parent / "a.tar.gz")], check=True)


def test_only_bundles_are_packed_and_only_into_archives(root: Path, tmp_path: Path) -> None:
    """Each says what is wrong."""
    with pytest.raises(ConfigurationError, match=r"\.tar\.gz"):
        pack(root, tmp_path / "a.rar")
    with pytest.raises(InvalidBundle):
        pack(tmp_path, tmp_path / "a.tar")
