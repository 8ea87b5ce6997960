"""Files of a folder: nothing outside of it is read, whatever it is called and wherever a link stands."""

import os
from pathlib import Path

import pytest
from tests.unit.transports.dicom_world import maker

from bedside.bundle.contract import InputSpec
from bedside.codecs.dicom import files_of
from bedside.errors import BadParameter, ConfigurationError, PayloadTooLarge, ReferenceNotFound, TooManyInstances
from bedside.settings import LimitSettings
from bedside.transports.folders import Folder
from bedside.transports.references import FileReference
from bedside.transports.room import Room
from bedside.types import RawPart

SPEC = InputSpec("image", "image")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return an allowed folder, with a secret beside it."""
    (tmp_path / "secret.nii.gz").write_bytes(b"secret")
    folder = tmp_path / "allowed"
    (folder / "case" / "deeper").mkdir(parents=True)
    (folder / "case" / "scan.nii.gz").write_bytes(b"scan")
    return folder


async def read(root: Path, path: str, **limits: int) -> RawPart:
    """Read a path below the folder."""
    with Room(1, 1 << 20, 1).hold("scans") as hold:
        return await Folder(root, LimitSettings(**limits))(FileReference(file="scans", path=path), SPEC, hold)


async def test_a_file_is_read(root: Path) -> None:
    """Its suffix tells the media type; its name goes nowhere."""
    assert await read(root, "case/scan.nii.gz") == RawPart(None, "application/gzip", b"scan")


async def test_a_folder_is_a_study(root: Path) -> None:
    """All files below it in the order of their names, without DICOMDIR, what is hidden and JSON headers."""
    study, files = root / "study", maker.files(maker.series())
    (study / "a").mkdir(parents=True)
    for place, data in enumerate(files):
        (study / ("a" if place % 2 else ".") / f"{place}.dcm").write_bytes(data)
    (study / "DICOMDIR").write_bytes(b"x")
    (study / ".hidden").write_bytes(b"x")
    (study / "0.dcm.json").write_bytes(b"{}")  # as the Informatics Gateway leaves it
    part = await read(root, "study")
    assert sorted(map(bytes, files_of(part, LimitSettings()))) == sorted(files)


@pytest.mark.parametrize(
    "path",
    [
        *("..", "../secret.nii.gz", "case/../../secret.nii.gz", "/etc/passwd"),
        *("case//scan.nii.gz", "./case", "case/", "case\\scan.nii.gz", "case\0"),
    ],
)
async def test_paths_that_lead_elsewhere(root: Path, path: str) -> None:
    """Refused before anything is opened."""
    with pytest.raises(BadParameter):
        await read(root, path)


def _link_to_file(root: Path) -> str:
    (root / "link.nii.gz").symlink_to(root.parent / "secret.nii.gz")
    return "link.nii.gz"


def _link_to_folder(root: Path) -> str:
    (root / "out").symlink_to(root.parent)
    return "out/secret.nii.gz"


def _link_inside(root: Path) -> str:
    (root / "inside").symlink_to(root / "case")
    return "inside"


def _link_in_a_study(root: Path) -> str:
    (root / "case" / "1.dcm").symlink_to(root.parent / "secret.nii.gz")
    return "case"


def _linked_folder_in_a_study(root: Path) -> str:
    (root / "case" / "more").symlink_to(root.parent)
    return "case"


def _pipe(root: Path) -> str:
    os.mkfifo(root / "pipe")
    return "pipe"


def _nothing(root: Path) -> str:
    return "case/absent"


def _file_as_folder(root: Path) -> str:
    return "case/scan.nii.gz/more"


def _empty(root: Path) -> str:
    return "case/deeper"


@pytest.mark.parametrize(
    "make",
    [
        *(_link_to_file, _link_to_folder, _link_inside, _link_in_a_study, _linked_folder_in_a_study),
        *(_pipe, _nothing, _file_as_folder, _empty),
    ],
)
async def test_what_is_not_there_for_callers(root: Path, make: object) -> None:
    """A link is as good as nothing: nobody learns what it leads to. A pipe does not block."""
    assert callable(make)
    with pytest.raises(ReferenceNotFound):
        await read(root, make(root))


async def test_bounds(root: Path) -> None:
    """Of a file, of a folder's files together, and of their number."""
    (root / "case" / "2.dcm").write_bytes(b"more")
    with pytest.raises(PayloadTooLarge):
        await read(root, "case/scan.nii.gz", body_bytes=3)
    with pytest.raises(PayloadTooLarge):
        await read(root, "case", body_bytes=7)
    with pytest.raises(TooManyInstances):
        await read(root, "case", dicom_instances=1)
    assert (await read(root, "case", body_bytes=8)).data


def test_the_folder_must_be_there(tmp_path: Path) -> None:
    """Told when the server starts."""
    with pytest.raises(ConfigurationError):
        Folder(tmp_path / "absent", LimitSettings())
