"""Whatever the bytes: a verdict, no other exception, nothing imported; a defect is found wherever it hides."""

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.assets.hostile_bundles import make_hostile
from tests.unit.bundle.vetting.conftest import judged

MAKER: Any = make_hostile
NAMES = (
    "configs/inference.json",
    "configs/metadata.json",
    "bedside.toml",
    "model.sig",
    "models/model.pt",
    "models/model.ts",
    "models/model.onnx",
    "models/model.safetensors",
    "models/mean.npy",
    "models/labels.pkl",
    "scripts/net.py",
)
SEEDS = {
    "models/model.pt": [
        MAKER.torch_zip(b"\x80\x02}."),
        MAKER.torch_zip(MAKER.global_pickle("torch", "Size")),
        MAKER.legacy(b"\x80\x02}."),
    ],
    "models/model.ts": [MAKER.script_with("x = torch.relu(x)")],
    "models/model.onnx": [MAKER.onnx("weights.bin")],
    "models/mean.npy": [MAKER.object_array()],
    "models/model.safetensors": [
        MAKER.safetensors({"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}}, b"\0" * 4)
    ],
    "configs/inference.json": [json.dumps(MAKER.CONFIG).encode()],
    "bedside.toml": [b'config_files = ["inference.json"]\n[inputs.image]\nleast_extent_mm = 1\n'],
}
PAYLOADS = (
    {"_target_": "os.system", "command": "id"},
    {"_target_": "UNet", "_mode_": "debug"},
    {"_target_": "LoadImaged", "keys": "image", "reader": "os.system"},
    "$__import__('os').system('id')",
    "$[open('x') for _ in [1]]",
    "$import subprocess",
    "%other.json#a",
)
KEYS = st.sampled_from(["a", "b#c", "+d", "e::0", "_requires_", "transforms", "0"])


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Return a folder that the examples share."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def judge_with(folder: Path, name: str, content: bytes) -> Any:
    """Judge the plain bundle with one file written over; nothing may be imported meanwhile."""
    root = folder / "bundle"
    shutil.rmtree(root, ignore_errors=True)
    MAKER.plain(root)
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).write_bytes(content)
    before = set(sys.modules)
    verdict = judged(root, total_bytes=1 << 24)
    assert {module for module in set(sys.modules) - before if not module.startswith("encodings.")} <= {"unicodedata"}
    json.dumps(verdict.to_json())
    return verdict


@settings(max_examples=150)
@given(name=st.sampled_from(NAMES), content=st.binary(max_size=300))
def test_any_bytes_get_a_verdict(folder: Path, name: str, content: bytes) -> None:
    """In every place of a bundle."""
    judge_with(folder, name, content)


@settings(max_examples=200)
@given(data=st.data())
def test_damaged_files_get_a_verdict(folder: Path, data: st.DataObject) -> None:
    """Real formats with bytes changed, cut out or put in: deeper into the parsers than random bytes come."""
    name = data.draw(st.sampled_from(sorted(SEEDS)))
    content = bytearray(data.draw(st.sampled_from(SEEDS[name])))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, max(0, len(content) - 1)))
        cut = data.draw(st.integers(0, 8))
        content[place : place + cut] = data.draw(st.binary(max_size=8))
    judge_with(folder, name, bytes(content))


@settings(max_examples=100)
@given(data=st.data())
def test_damaged_archives_get_a_verdict(folder: Path, data: st.DataObject) -> None:
    """And nothing appears beside them."""
    content = bytearray(_ARCHIVE)
    for _ in range(data.draw(st.integers(0, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    path = folder / "archive.zip"
    path.write_bytes(bytes(content))
    judged(path, total_bytes=1 << 24)
    assert {entry.name for entry in folder.iterdir()} <= {"archive.zip", "bundle"}


_ARCHIVE = MAKER.zipped()


@settings(max_examples=150)
@given(text=st.text(max_size=60))
def test_any_yaml_gets_a_verdict(folder: Path, text: str) -> None:
    """Also what PyYAML's constructors fall over."""
    root = folder / "bundle"
    shutil.rmtree(root, ignore_errors=True)
    MAKER.plain(root)
    (root / "configs" / "inference.json").unlink()
    (root / "configs" / "inference.yaml").write_text(f"x: {text}", encoding="utf-8", errors="replace")
    judged(root)


def _configurations() -> st.SearchStrategy[Any]:
    leaf = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text("abc @.", max_size=8))
    return st.recursive(
        leaf,
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
        max_leaves=8,
    )


CONFIGURATIONS = _configurations()
"""Harmless, of any shape."""


@settings(max_examples=200)
@given(data=st.data())
def test_a_hidden_defect_is_found(folder: Path, data: st.DataObject) -> None:
    """However deep it lies, between whatever is harmless, under keys that MONAI reads as paths."""
    hidden: Any = data.draw(st.sampled_from(PAYLOADS))
    for _ in range(data.draw(st.integers(0, 6))):
        around = data.draw(CONFIGURATIONS)
        key = data.draw(KEYS)
        hidden = data.draw(st.sampled_from([[around, hidden], [hidden], {key: hidden}, {"z": around, key: hidden}]))
    verdict = judge_with(folder, "configs/inference.json", json.dumps({**MAKER.CONFIG, "x": hidden}).encode())
    assert not verdict.admitted


@settings(max_examples=100)
@given(config=CONFIGURATIONS)
def test_harmless_configurations_are_admitted(folder: Path, config: Any) -> None:
    """No false alarm over plain values of any shape."""
    verdict = judge_with(folder, "configs/inference.json", json.dumps({**MAKER.CONFIG, "x": config}).encode())
    assert verdict.admitted, verdict.reason


@settings(max_examples=100)
@given(
    defect=st.sampled_from(
        sorted(name for name in MAKER.BUNDLES if name.startswith(("target", "expression", "import")))
    ),
    other=st.sampled_from(
        sorted(name for name in MAKER.BUNDLES if name.startswith(("weights", "torchscript", "onnx")))
    ),
)
def test_two_defects_do_not_hide_each_other(folder: Path, defect: str, other: str) -> None:
    """Both places are named."""
    root, second = folder / "bundle", folder / "second"
    for path in (root, second):
        shutil.rmtree(path, ignore_errors=True)
    MAKER.BUNDLES[defect](root)
    MAKER.BUNDLES[other](second)
    shutil.copytree(second / "models", root / "models", dirs_exist_ok=True)
    shutil.rmtree(second)
    places = {finding.where.partition("/")[0] for finding in judged(root).refusals}
    assert places == {"configs", "models"}
