"""A folder of DICOM files on its way to a server: one zip archive, without the names of the files."""

import io
import json
import zipfile
from pathlib import Path

DICOM = "application/dicom"
RELATED = "multipart/related"


_KINDS = {"dicomweb": ("study", "series"), "file": ("path",)}


def reference(case: str) -> tuple[str, bytes] | None:
    """Return the source's name and the document for ``dicomweb:NAME/STUDY[/SERIES]`` or ``file:NAME/PATH``, else None.

    The server judges it.
    """
    kind, _, rest = case.partition(":")
    if kind not in _KINDS:
        return None
    name, *steps = rest.split("/", len(_KINDS[kind]))
    return name, json.dumps({"source": {kind: name, **dict(zip(_KINDS[kind], steps, strict=False))}}).encode()


def is_study(case: str) -> bool:
    """Tell whether a case holds DICOM: a folder, a zip archive, a file that says so, or a study in an archive."""
    path = Path(case)
    return case.startswith("dicomweb:") or path.is_dir() or path.suffix.lower() in {".zip", ".dcm"}


def zipped(folder: Path) -> bytes:
    """Return the files of a folder, sub-folders included, as a zip archive.

    Files are numbered: their names often hold a patient's. Nothing is compressed; on a hospital's network that costs
    more time than it saves. Hidden files and DICOMDIR, the index of a disc (PS3.10 §8.6), are left out.
    """
    buffer = io.BytesIO()
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and not _is_litter(path))
    with zipfile.ZipFile(buffer, "w") as archive:
        for number, path in enumerate(paths, 1):
            archive.writestr(zipfile.ZipInfo(f"{number:06}.dcm"), path.read_bytes())
    return buffer.getvalue()


def _is_litter(path: Path) -> bool:
    return path.name.startswith(".") or path.name.upper() == "DICOMDIR"
