"""``golden/reference.json``: what a bundle's answers were like where it was validated."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedside.bundle.reference import Counts, document_of, parse_reference, write_reference
from bedside.errors import InvalidBundle
from bedside.observability.metrics import VOLUME_BUCKETS

COUNTS: Counts = {
    ("class", "all"): {"disease": 20, "no disease": 40},
    ("confidence", "all"): {"0": 50, "8": 10},
    ("volume", "spleen"): {"0": 1, str(len(VOLUME_BUCKETS)): 59},
}


def test_what_is_written_reads_back() -> None:
    """Bins go by their upper bounds, in their order."""
    document = document_of(COUNTS, "validation")
    assert parse_reference(json.dumps(document)) == COUNTS
    assert document["counts"]["confidence"] == {"all": {"0.5": 50, "+Inf": 10}}
    assert document["description"] == "validation"


def test_a_bundle_without_one_has_none() -> None:
    """Its first answers are taken."""
    assert parse_reference("") == {}


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ("[", "no document"),
        ([], "no document"),
        ({}, "no document"),
        ({"counts": {"colour": {"all": {"red": 60}}}}, "no document"),
        ({"counts": {"class": {"all": {"a": -1}}}}, "no document"),
        ({"counts": {"class": {"all": {"a": 60.5}}}}, "no document"),
        ({"counts": {"class": {"all": {"a": 60}}}, "patient": "DOE^JOHN"}, "no document"),
        ({"counts": {"class": {"all": {"a": 49}}}}, "fewer than 50"),
        ({"counts": {"confidence": {"all": {"0.55": 60}}}}, "other bins of a confidence than: 0.5, 0.6"),
    ],
    ids=str,
)
def test_what_is_no_reference_is_refused(document: Any, why: str) -> None:
    """With the file, and nothing of what stands in it."""
    with pytest.raises(InvalidBundle, match=why) as caught:
        parse_reference(document if isinstance(document, str) else json.dumps(document))
    assert caught.value.field == "golden/reference.json"
    assert "DOE" not in caught.value.detail


@given(st.text() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_whatever_stands_in_the_file_is_read_or_refused(text: str) -> None:
    """Never another exception."""
    try:
        parse_reference(text)
    except InvalidBundle as refused:
        assert refused.field  # noqa: PT017 - or it is read


@pytest.mark.parametrize(("counts", "why"), [({}, "name no class"), ({("class", "all"): {"a": 49}}, "fewer than 50")])
def test_what_is_no_reference_is_not_written(tmp_path: Path, counts: Counts, why: str) -> None:
    """Of a bundle that answers with pictures alone, for one; a reference that was there stays."""
    write_reference(tmp_path, COUNTS, "before")
    with pytest.raises(InvalidBundle, match=why):
        write_reference(tmp_path, counts, "after")
    text = (tmp_path / "golden" / "reference.json").read_text()
    assert parse_reference(text) == COUNTS
    assert "before" in text
