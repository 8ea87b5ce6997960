"""What a case on the command line means: a study in a folder or an archive, or one that the server fetches."""

import json
from pathlib import Path

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
