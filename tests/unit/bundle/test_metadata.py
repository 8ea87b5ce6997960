"""Metadata are read leniently, as the Model Zoo writes them, and refused with the name of the broken part."""

import json
from pathlib import Path
from typing import Any

import pytest

from bedside.bundle.metadata import MANDATORY, parse_metadata, read_metadata
from bedside.errors import InvalidBundle


def test_only_the_version_cannot_be_missed() -> None:
    """What the specification demands and is not there is listed, for ``bedside bundle inspect``."""
    metadata = parse_metadata({"version": "0.1.0"})
    assert set(metadata.missing) == set(MANDATORY) - {"version"}
    with pytest.raises(InvalidBundle) as caught:
        parse_metadata({})
    assert caught.value.field == "metadata.json#version"


def test_the_older_name_of_the_packages_counts() -> None:
    """The zoo has both ``required_packages_version`` and ``optional_packages_version``."""
    metadata = parse_metadata({"version": "1", "optional_packages_version": {"nibabel": "5"}})
    assert metadata.required_packages == {"nibabel": "5"}
    assert "required_packages_version" not in metadata.missing


def test_classes_are_ordered_by_index() -> None:
    """Holes, integers for names and keys that are no index occur in the zoo."""
    outputs = {"pred": {"channel_def": {"10": "ten", "2": 2, "x": "?", "²": "?"}}, "other": {"channel_def": ["a"]}}
    metadata = parse_metadata({"version": "1", "network_data_format": {"outputs": outputs}})
    assert list(metadata.outputs["pred"].channel_def.items()) == [("2", "2"), ("10", "ten")]
    assert metadata.outputs["other"].channel_def == {}


@pytest.mark.parametrize("network", [None, [], "x", {"inputs": None, "outputs": None}])
def test_missing_network_format_is_empty(network: Any) -> None:
    """One bundle has none."""
    metadata = parse_metadata({"version": "1", "network_data_format": network})
    assert (metadata.inputs, metadata.outputs) == ({}, {})


def test_metrics_are_finite_numbers() -> None:
    """Notes, flags and NaN among the metrics are passed over; they may end up in an answer."""
    raw = {
        "version": "1",
        "eval_metrics": {"accuracy": 0.84, "n": 3, "note": "x", "ok": True, "auc": float("nan"), "big": 10**400},
    }
    assert parse_metadata(raw).eval_metrics == {"accuracy": 0.84, "n": 3.0}
    assert parse_metadata({"version": "1", "eval_metrics": "see README"}).eval_metrics == {}


def test_feature_descriptions_may_be_plain_text() -> None:
    """Or have units, codes and ranges; codes are numbers."""
    raw: dict[str, Any] = {
        "version": "1",
        "feature_descriptions": {"age": "in years", "sex": {"codes": {"0": "female"}}},
    }
    described = parse_metadata(raw).feature_descriptions
    assert described["age"].meaning == "in years"
    assert described["sex"].codes == {"0": "female"}
    with pytest.raises(InvalidBundle):
        parse_metadata({"version": "1", "feature_descriptions": {"sex": {"codes": {"f": "female"}}}})
    assert parse_metadata({"version": "1", "feature_descriptions": []}).feature_descriptions == {}


@pytest.mark.parametrize("text", [None, "{", "[]", "\ud800", "[" * 100_000, '{"version": 1' + "0" * 5000 + "}"])
def test_broken_files_are_refused_by_name(tmp_path: Path, text: str | None) -> None:
    """Absent, not JSON, not an object, not text, nested beyond any parser, a number of 5000 digits."""
    (tmp_path / "configs").mkdir()
    if text is not None:
        (tmp_path / "configs" / "metadata.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(InvalidBundle) as caught:
        read_metadata(tmp_path)
    assert caught.value.field == "metadata.json"


def test_a_file_is_read(tmp_path: Path) -> None:
    """The usual case."""
    (tmp_path / "configs").mkdir()
    raw = {"version": "1", "network_data_format": {"inputs": {"image": {"spatial_shape": ["8*n", 4]}}}}
    (tmp_path / "configs" / "metadata.json").write_text(json.dumps(raw))
    assert read_metadata(tmp_path).inputs["image"].spatial_shape == ("8*n", 4)


@pytest.mark.parametrize(
    ("words", "probabilities", "segmentation"),
    [
        ({"type": "probabilities"}, True, False),
        ({"format": "segmentation"}, False, True),
        ({"format": "labels"}, True, True),
        ({"format": "hounsfield"}, False, False),
    ],
)
def test_the_specifications_words(words: dict[str, str], *, probabilities: bool, segmentation: bool) -> None:
    """``labels`` is used for both; the shape of the result decides."""
    metadata = parse_metadata({"version": "1", "network_data_format": {"outputs": {"pred": words}}})
    assert metadata.outputs["pred"].means_probabilities is probabilities
    assert metadata.outputs["pred"].means_segmentation is segmentation
