"""What a case on the command line means: files, a study in a folder or an archive, or one that the server fetches."""

import json
from pathlib import Path

from bedside.bundle.media_types import media_type_of_suffix
from bedside.bundle.study import zipped
from bedside.cli.server import CallFailed

_KINDS = {"dicomweb": ("study", "series"), "file": ("path",), "s3": ("path",)}


def reference(case: str) -> tuple[str, bytes] | None:
    """Return the source's name and the document for ``dicomweb:NAME/STUDY[/SERIES]`` or ``file:``, ``s3:NAME/PATH``.

    None where it is none of these. The server judges it.
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


def parts_of(case: str) -> list[tuple[str | None, str]]:
    """Return the files of a case with the inputs that they are for: of ``NAME=FILE,…``, else of the only one (None)."""
    if "=" not in case or Path(case).exists():
        return [(None, case)]
    return [(name, path) for name, _, path in (pair.partition("=") for pair in case.split(","))]


def read_file(path: str) -> tuple[bytes, str]:
    """Return a file's content and media type; a folder's as an archive. Raises CallFailed."""
    try:
        if Path(path).is_dir():
            return zipped(Path(path)), "application/zip"
        return Path(path).read_bytes(), media_type_of_suffix(Path(path).suffix)
    except OSError as error:
        raise CallFailed(f"{path}: {error.strerror}") from None
