"""What a case on the command line means."""

import json
from pathlib import Path

import pytest

from bedside.cli.study import is_study, reference


@pytest.mark.parametrize(
    ("name", "expected"), [("study.zip", True), ("image.DCM", True), ("brain.nii.gz", False), ("record.json", False)]
)
def test_studies_are_known_by_their_suffix(tmp_path: Path, name: str, expected: object) -> None:
    """A folder is one, too."""
    assert is_study(str(tmp_path / name)) == expected
    assert is_study(str(tmp_path))
    assert is_study("dicomweb:pacs/1.2")


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("dicomweb:pacs/1.2", ("pacs", {"dicomweb": "pacs", "study": "1.2"})),
        ("dicomweb:pacs/1.2/1.3", ("pacs", {"dicomweb": "pacs", "study": "1.2", "series": "1.3"})),
        ("file:scans/a/b.nii.gz", ("scans", {"file": "scans", "path": "a/b.nii.gz"})),
        ("dicomweb:pacs", ("pacs", {"dicomweb": "pacs"})),  # the server says what is missing
    ],
)
def test_references(case: str, expected: tuple[str, dict[str, str]]) -> None:
    """What lies in a source of the server is named, not read."""
    found = reference(case)
    assert found is not None
    assert (found[0], json.loads(found[1])["source"]) == expected


@pytest.mark.parametrize("case", ["brain.nii.gz", "study/1.dcm", "/data/scan.png", "image=scan.png"])
def test_files_are_no_references(case: str) -> None:
    """They have no kind before a colon."""
    assert reference(case) is None
