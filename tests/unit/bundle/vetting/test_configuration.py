"""What a site's policy adds to the built-in lists, and what it cannot add; documents within bounds."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.bundle.vetting.conftest import judged, rules

from bedside.bundle.vetting import SitePolicy, Verdict
from bedside.bundle.vetting.findings import Finding, Refused, counted, pointer, shown


def configured(root: Path, value: Any, policy: SitePolicy | None = None, **limits: Any) -> Verdict:
    """Judge the plain bundle with one value more in its configuration."""
    path = root / "configs" / "inference.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "x": value}))
    return judged(root, policy, **limits)


@pytest.mark.parametrize(
    ("value", "policy"),
    [
        ({"_target_": "segment_anything.Sam"}, {"targets": ("segment_anything.Sam",)}),
        ({"_target_": "segment_anything.build.Sam"}, {"targets": ("segment_anything.*",)}),
        ({"_target_": "TorchVisionFCModel"}, {"targets": ("TorchVisionFCModel",)}),
        ({"_target_": "LoadImaged", "reader": "scripts.Reader"}, {"targets": ("scripts.Reader",)}),
        ("$import pandas", {"imports": ("pandas",)}),
        ("$import pandas as pd", {"imports": ("pandas",)}),
        ("$import monai.bundle", {"imports": ("monai.*",)}),
        ("$open('x').read()", {"names": ("open",)}),
        ("$pd.read_csv('x')", {"names": ("pd.read_csv",)}),
        ("$torch.jit.load('x')", {"names": ("torch.jit.load",)}),
        ("$monai.data.NumpyReader()", {"names": ("monai.data.*",)}),
    ],
)
def test_a_site_may_admit_more(root: Path, value: Any, policy: dict[str, Any]) -> None:
    """Refused without the line, admitted with it, and still data only."""
    assert not configured(root, value).admitted
    verdict = configured(root, value, SitePolicy(**policy))
    assert (verdict.admitted, verdict.trust) == (True, "data_only"), verdict.reason


@pytest.mark.parametrize(
    ("value", "policy"),
    [
        ({"_target_": "segment_anythingevil"}, {"targets": ("segment_anything.*",)}),
        ({"_target_": "segment_anything"}, {"targets": ("segment_anything.*",)}),
        ("$import pandas.io", {"imports": ("pandas",)}),
        ("$from pandas import io", {"imports": ("pandas", "pandas.*")}),
        ("$pd.read_pickle('x')", {"names": ("pd.read_csv",)}),
        ("$pd.read_csv.__globals__", {"names": ("pd.read_csv",)}),
        ("$(lambda pd: pd.read_csv('x').tofile('y'))(1)", {"names": ("pd.read_csv",)}),
        ("$open(eval('1'))", {"names": ("open",)}),
    ],
)
def test_a_line_admits_what_it_names_and_no_more(root: Path, value: Any, policy: dict[str, Any]) -> None:
    """A dot more or less is another name."""
    assert not configured(root, value, SitePolicy(**policy)).admitted


@pytest.mark.parametrize(
    "value",
    [
        "$torch.load('m.pt')",
        "$torch.load(@bundle_root + '/m.pt', map_location=@device)",
        "$torch.load('m.pt', 'cpu', weights_only=True)",
        "$torch.load(f='m.pt', weights_only=True, mmap=True)['net']",
    ],
)
def test_torch_load_without_pickles_is_told_and_admitted(root: Path, value: str) -> None:
    """weights_only is the default from torch 2.6 on, and written out in newer bundles."""
    verdict = configured(root, value)
    assert verdict.admitted
    assert rules(verdict, "warning") == {"torch_load"}


@pytest.mark.parametrize(
    "value",
    [
        "$torch.load('m.pt', weights_only=False)",
        "$torch.load('m.pt', weights_only=0)",
        "$torch.load('m.pt', weights_only=1)",
        "$torch.load('m.pt', weights_only=not True)",
        "$torch.load('m.pt', pickle_module=@module)",
        "$torch.load('m.pt', None, None)",
        "$torch.load(*['m.pt', None, None])",
        "$torch.load('m.pt', **@options)",
        "$torch.load('m.pt', encoding='latin1')",
    ],
)
def test_torch_load_that_could_unpickle_is_refused(root: Path, value: str) -> None:
    """With its own rule, so that the remedy says what to write."""
    assert "unsafe_load" in rules(configured(root, value))


def test_the_argument_of_torch_load_is_judged_too(root: Path) -> None:
    """The call is accepted, not what is in it."""
    assert "expression" in rules(configured(root, "$torch.load(open('x'))"))


@pytest.mark.parametrize(
    ("value", "places"),
    [
        ({"a~b/c": ["$open(1)"]}, {"configs/inference.json#/x/a~0b~1c/0"}),
        ({"_target_": 3}, {"configs/inference.json#/x/_target_"}),
        ({"a": {"_mode_": "debug"}}, {"configs/inference.json#/x/a/_mode_"}),
    ],
)
def test_a_finding_names_its_place(root: Path, value: Any, places: set[str]) -> None:
    """File and JSON pointer (RFC 6901)."""
    assert {finding.where for finding in configured(root, value).refusals} == places


@pytest.mark.parametrize("value", [{"reader": "$1 +"}, {"writer": "$import os"}, {"reader": "$'a.b'"}])
def test_a_reader_that_is_no_reader_is_refused(root: Path, value: dict[str, str]) -> None:
    """Whatever the expression is."""
    assert "lookup_by_name" in rules(configured(root, {"_target_": "LoadImaged", **value}))


def test_relative_macros_below_plain_names_are_fine(root: Path) -> None:
    """MONAI reads them within the same configuration."""
    assert configured(root, {"a": "%#b", "b": 1}).admitted


@pytest.mark.parametrize(
    ("limits", "rule"),
    [
        ({"config_bytes": 50}, "config_too_large"),
        ({"config_depth": 1}, "config_too_deep"),
        ({"files": 2}, "too_many_files"),
        ({"total_bytes": 100}, "too_large"),
    ],
)
def test_the_limits_are_settings(root: Path, limits: dict[str, int], rule: str) -> None:
    """Each with a rule of its own, whose remedy names it."""
    assert rule in rules(judged(root, **limits))


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "config_unreadable"),
        ("x: [", "config_unreadable"),
        ("x: 1\n---\ny: 2", "config_unreadable"),
        ("x: 2020-99-99", "config_unreadable"),
        ("x: !!int ''", "config_unreadable"),
        ("? [a]\n: b", "config_unreadable"),
        ("x: 1\nx: 2", "duplicate_key"),
        ("x: [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]", "config_too_deep"),
        ("x: !!binary aGVsbG8=", "yaml_tag"),
        ("x: !!set {a, b}", "yaml_tag"),
    ],
)
def test_yaml_is_plain_or_refused(root: Path, text: str, rule: str) -> None:
    """Text, numbers, lists and mappings; aliases within bounds."""
    (root / "configs" / "inference.json").unlink()
    (root / "configs" / "inference.yaml").write_text(text)
    assert rules(judged(root)) == {rule}


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        ("inference.json", '{"a": 1,\n "b": 2\n "c": 3}', "line 3, column 2: Expecting ',' delimiter"),
        ("inference.yaml", "a: 1\nb: [\nc: 3\n", "line 4, column 1"),
        ("inference.yaml", "x: 2020-99-99", "ValueError"),
    ],
)
def test_where_a_file_breaks_off_is_told(root: Path, name: str, text: str, place: str) -> None:
    """A forgotten comma is found by its line."""
    (root / "configs" / "inference.json").unlink()
    (root / "configs" / name).write_text(text)
    (finding,) = (one for one in judged(root).findings if one.rule == "config_unreadable")
    assert finding.explanation == f"is neither JSON nor plain YAML ({place})"


def test_yaml_with_aliases_and_merge_keys_is_admitted(root: Path) -> None:
    """As bundles write it."""
    (root / "configs" / "inference.json").unlink()
    text = "base: &base {spatial_dims: 3, when: 2024-01-01}\nnet: {<<: *base, _target_: UNet}\nrun: [$@net.eval()]\n"
    (root / "configs" / "inference.yaml").write_text(text)
    assert judged(root).admitted


@pytest.mark.parametrize("text", ['{"x": ' + "9" * 5000 + "}", "[1]", "\ufeff{}"])
def test_json_that_is_no_configuration_is_refused(root: Path, text: str) -> None:
    """Numbers without end, no mapping, a byte order mark."""
    (root / "configs" / "inference.json").write_text(text, encoding="utf-8")
    assert rules(judged(root)) == {"config_unreadable"}


def test_metadata_may_repeat_a_key(root: Path) -> None:
    """A change log that says 0.1.0 twice builds nothing; what counts is judged."""
    path = root / "configs" / "metadata.json"
    text = path.read_text()[:-1]
    path.write_text(text + ', "changelog": {"0.1.0": "a", "0.1.0": "b"}}')
    assert judged(root).admitted
    path.write_text(text + ', "changelog": {"0.1.0": "a", "0.1.0": "$open(1)"}}')
    assert rules(judged(root)) == {"expression"}


def test_what_the_server_does_not_merge_is_named_and_not_judged(root: Path) -> None:
    """train.json may do what it likes: nothing here reads it."""
    (root / "configs" / "train.json").write_text('{"x": "$open(1)"}')
    verdict = judged(root)
    assert verdict.admitted
    assert [f.where for f in verdict.findings if f.rule == "config_not_judged"] == ["configs/train.json"]


def test_every_file_that_is_merged_is_judged(root: Path) -> None:
    """Also the second one, and in YAML."""
    (root / "configs" / "more.yaml").write_text("y: $open(1)\n")
    (root / "bedside.toml").write_text('config_files = ["inference.json", "more.yaml"]')
    assert [finding.where for finding in judged(root).refusals] == ["configs/more.yaml#/y"]


def test_texts_of_a_bundle_are_made_printable() -> None:
    """They end up on a terminal and in a log."""
    assert shown("a\x1b[2Jb") == "a\\u001b[2Jb"
    assert shown("x" * 200) == "x" * 79 + "…"
    assert pointer("f", ["a/b", 0, "~\n"]) == "f#/a~1b/0/~0\\u000a"
    assert counted({"b": 1, "a": 2}) == "2 a, 1 b"


def test_a_verdict_gives_its_reason_in_one_sentence() -> None:
    """For the index of the model repository."""
    one = Refused("target", "is bad").at("f#/a")
    assert "f#/a: is bad (" in Verdict("b", "1", "", "unsigned_code", (one,)).reason
    assert "and 1 more" in Verdict("b", "1", "", "unsigned_code", (one, Finding("import", "g", "too"))).reason
