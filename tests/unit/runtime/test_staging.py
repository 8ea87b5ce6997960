"""Inputs on their way into a bundle's own reader."""

import errno
import os
import stat
import tempfile
from pathlib import Path

import numpy as np
import pytest

from bedside.errors import StagingFull
from bedside.runtime.staging import Staging
from bedside.types import DecodedImage, DecodedRecord, ValidatedInputs


def image(name: str, payload: bytes = b"voxels", suffix: str = ".nii") -> DecodedImage:
    """Return an image with those bytes."""
    return DecodedImage(name, payload, suffix, (1, 1, 1), 3, 1, "uint8")


def mode(path: Path) -> int:
    """Return the permission bits of a path."""
    return stat.S_IMODE(path.stat().st_mode)


def test_images_are_files_and_records_are_not(tmp_path: Path) -> None:
    """Every image gets a path with its reader's suffix; a record needs none."""
    record = DecodedRecord("age", np.zeros(1, np.float32), {})
    staged = Staging(tmp_path).put(ValidatedInputs((image("ct"), record, image("pet", b"other", ".png"))))
    assert list(staged.paths) == ["ct", "pet"]
    paths = [Path(str(path)) for path in staged.paths.values()]
    assert [path.suffix for path in paths] == [".nii", ".png"]
    assert [path.read_bytes() for path in paths] == [b"voxels", b"other"]


def test_several_files_of_one_input_are_a_list_in_order(tmp_path: Path) -> None:
    """MONAI's readers stack the files of a list; the order is the order of the channels."""
    items = (image("mr", b"t1"), image("ct"), image("mr", b"t2"), image("mr", b"flair"))
    paths = Staging(tmp_path).put(ValidatedInputs(items)).paths
    assert list(paths) == ["mr", "ct"]
    assert [Path(path).read_bytes() for path in paths["mr"]] == [b"t1", b"t2", b"flair"]


def test_only_this_user_can_look_into_the_folders(tmp_path: Path) -> None:
    """The root and every run's folder have the mode 0700."""
    staging = Staging(tmp_path)
    staged = staging.put(ValidatedInputs((image("ct"),)))
    assert (mode(staging._root), mode(staged.folder), mode(staging.folder())) == (0o700, 0o700, 0o700)


def test_the_callers_name_is_not_in_the_path(tmp_path: Path) -> None:
    """Paths are numbered, so no name can lead out of the folder."""
    staged = Staging(tmp_path).put(ValidatedInputs((image("../../up"),)))
    assert Path(str(staged.paths["../../up"])).parent == staged.folder


def test_a_runs_folder_is_removed_with_it(tmp_path: Path) -> None:
    """After ``remove`` nothing of the run is left."""
    staging = Staging(tmp_path)
    staging.put(ValidatedInputs((image("ct"),))).remove()
    assert list(staging._root.iterdir()) == []


def test_close_removes_whatever_is_left(tmp_path: Path) -> None:
    """The root goes, with the folders of runs that never ended."""
    staging = Staging(tmp_path)
    staging.put(ValidatedInputs((image("ct"),)))
    staging.close()
    assert list(tmp_path.iterdir()) == []


def test_folders_of_servers_that_were_killed_are_swept(tmp_path: Path) -> None:
    """What nobody holds the lock of is removed; a live server's folder and what is not ours stay."""
    live = Staging(tmp_path)
    dead, foreign = tmp_path / "bedside-staging-dead", tmp_path / "bedside-of-somebody"
    dead.mkdir()
    foreign.mkdir()
    (dead / "input0.nii").write_bytes(b"voxels")
    staging = Staging(tmp_path)
    assert set(tmp_path.iterdir()) == {live._root, foreign, staging._root}


def test_a_full_file_system_is_told_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ENOSPC while writing is StagingFull, and the half-written file is removed."""
    staging = Staging(tmp_path)

    def full(_path: Path, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StagingFull):
        staging.put(ValidatedInputs((image("ct"),)))
    assert list(staging._root.iterdir()) == []


def test_no_room_for_a_folder_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ENOSPC while the folder is made is StagingFull too."""
    staging = Staging(tmp_path)

    def full(**_: object) -> str:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile, "mkdtemp", full)
    with pytest.raises(StagingFull):
        staging.put(ValidatedInputs((image("ct"),)))
