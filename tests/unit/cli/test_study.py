"""A folder of DICOM files becomes an archive without names."""

import io
import zipfile
from pathlib import Path

import pytest

from bedside.cli.study import is_study, zipped


def test_files_are_numbered(tmp_path: Path) -> None:
    """Neither folder nor file names go along; hidden files and the index of a disc do not go at all."""
    for name in ("Doe/1.dcm", "Doe/2.dcm", "DICOMDIR", ".hidden", "Doe/.DS_Store"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    data = zipped(tmp_path)
    assert b"Doe" not in data.replace(b"Doe/1.dcm", b"", 1).replace(b"Doe/2.dcm", b"", 1)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {
            "000001.dcm": b"Doe/1.dcm",
            "000002.dcm": b"Doe/2.dcm",
        }


@pytest.mark.parametrize(
    ("name", "expected"), [("study.zip", True), ("image.DCM", True), ("brain.nii.gz", False), ("record.json", False)]
)
def test_studies_are_known_by_their_suffix(tmp_path: Path, name: str, expected: object) -> None:
    """A folder is one, too."""
    assert is_study(tmp_path / name) == expected
    assert is_study(tmp_path)
