"""A folder of DICOM files becomes an archive without names."""

import io
import zipfile
from pathlib import Path

from bedside.bundle.study import zipped


def test_files_are_numbered(tmp_path: Path) -> None:
    """Neither folder nor file names go along; hidden files, the index of a disc and JSON headers do not go at all."""
    for name in ("Doe/1.dcm", "Doe/1.dcm.json", "Doe/2.dcm", "DICOMDIR", ".hidden", "Doe/.DS_Store"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    data = zipped(tmp_path)
    assert b"Doe" not in data.replace(b"Doe/1.dcm", b"", 1).replace(b"Doe/2.dcm", b"", 1)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {
            "000001.dcm": b"Doe/1.dcm",
            "000002.dcm": b"Doe/2.dcm",
        }
