"""A folder of DICOM files becomes one zip archive, without the names of the files."""

import io
import zipfile
from collections.abc import Iterable
from pathlib import Path, PurePath

DICOM = "application/dicom"
RELATED = "multipart/related"
_LITTER = {"dicomdir", "thumbs.db"}


def zipped(folder: Path) -> bytes:
    """Return the files of a folder as a zip archive; see :func:`files_in` for which."""
    return archive_of(files_in(folder))


def archive_of(paths: Iterable[Path]) -> bytes:
    """Return files as a zip archive.

    They are numbered: their names often hold a patient's. Nothing is compressed; on a hospital's network that costs
    more time than it saves.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number, path in enumerate(paths, 1):
            archive.writestr(zipfile.ZipInfo(f"{number:06}.dcm"), path.read_bytes())
    return buffer.getvalue()


def files_in(folder: Path) -> list[Path]:
    """Return the files of a folder and its sub-folders in the order of their paths, without litter."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and not is_litter(path))


def is_litter(path: PurePath) -> bool:
    """Tell whether a file is no part of the study in its folder or archive, and no reason to refuse it.

    That are hidden files and what else operating systems leave; DICOMDIR, the index of a disc (PS3.10 §8.6); and the
    ``.dcm.json`` (PS3.18 §F) that MONAI Deploy's Informatics Gateway puts beside each instance.
    """
    name = path.name.casefold()
    return name.startswith(".") or name in _LITTER or name.endswith(".dcm.json") or "__MACOSX" in path.parts
