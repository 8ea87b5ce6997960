"""Weights as torch really writes them are admitted; what torch would refuse, or run, is not."""

import io
import json
import pickle
import pickletools
import struct
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.unit.bundle.vetting.conftest import judged, rules
from torch import _weights_only_unpickler as unpickler

from bedside.bundle.vetting import SitePolicy
from bedside.bundle.vetting.findings import Refused
from bedside.bundle.vetting.onnx import judge_onnx
from bedside.bundle.vetting.pickles import ALLOWED_GLOBALS, ALLOWED_OPCODES


class Small(torch.nn.Module):
    """A network with what TorchScript has to write down: a loop, a list, a branch."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList([torch.nn.Conv2d(1, 1, 3, padding=1), torch.nn.BatchNorm2d(1)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run."""
        for layer in self.layers:
            x = layer(x)
        return torch.nn.functional.interpolate(x, scale_factor=2.0) if x.shape[-1] < 9 else x


def checkpoint() -> dict[str, Any]:
    """Return a checkpoint with everything that people put into one."""
    network = Small()
    return {
        "net": network.state_dict(),
        "optimizer": torch.optim.Adam(network.parameters()).state_dict(),
        "epoch": 2**40,
        "names": ("a" * 300, b"abc", {1, 2}, 1j, None, -5, 0.5, True),
        "more": [torch.zeros(2).half(), torch.eye(3).to_sparse(), torch.float32, torch.device("cpu"), torch.Size([1])],
        "parameter": torch.nn.Parameter(torch.zeros(2)),
        "counter": Counter("aab"),
    }


def script(path: Path) -> None:
    """Write TorchScript, compiled."""
    torch.jit.save(torch.jit.script(Small()), str(path))


def trace(path: Path) -> None:
    """Write TorchScript, traced."""
    traced: Any = torch.jit.trace
    torch.jit.save(traced(Small().eval(), torch.zeros(1, 1, 8, 8)), str(path))


def export(path: Path) -> None:
    """Write a pt2 archive."""
    torch.export.save(torch.export.export(Small().eval(), (torch.zeros(1, 1, 8, 8),)), path)


WRITERS: dict[str, Callable[[Path], object]] = {
    "model.pt": lambda path: torch.save(checkpoint(), path),
    "legacy.pt": lambda path: torch.save(checkpoint(), path, _use_new_zipfile_serialization=False),
    "script.ts": script,
    "trace.ts": trace,
    "export.pt2": export,
    "mean.npy": lambda path: np.save(path, np.zeros(3)),
    "mean.npz": lambda path: np.savez(path, a=np.zeros(3), b=np.ones(2)),
}


def written(root: Path, name: str, content: bytes) -> Path:
    """Write a file into models/; return the bundle."""
    (root / "models" / name).write_bytes(content)
    return root


@pytest.mark.parametrize("name", WRITERS)
def test_what_torch_and_numpy_write_is_admitted(root: Path, name: str) -> None:
    """Without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        WRITERS[name](root / "models" / name)
    verdict = judged(root)
    assert verdict.admitted, verdict.reason
    assert rules(verdict, "warning") == set()


def test_a_whole_network_in_a_pickle_is_refused(root: Path) -> None:
    """torch.save(network) needs the network's code to be read."""
    torch.save(torch.nn.Sequential(), root / "models" / "model.pt")
    verdict = judged(root)
    assert rules(verdict) == {"pickle_global"}
    assert "torch.nn.modules.container.Sequential" in verdict.refusals[0].explanation


def test_a_site_may_admit_a_name_in_pickles(root: Path) -> None:
    """By its dotted name."""
    torch.save(torch.nn.Sequential(), root / "models" / "model.pt")
    policy = SitePolicy(globals=("torch.nn.modules.container.Sequential", "collections.OrderedDict"))
    assert judged(root, policy).admitted


def test_numpy_in_a_pickle_is_a_warning(root: Path) -> None:
    """Harmless, but weights_only refuses it unless it is told otherwise."""
    torch.save({"best": np.float64(0.5)}, root / "models" / "model.pt")
    verdict = judged(root)
    assert verdict.admitted
    assert rules(verdict, "warning") == {"numpy_in_pickle"}


def test_the_names_are_those_of_torch() -> None:
    """What this torch builds with weights_only is what is allowed; other versions may know a dtype more or less."""
    theirs = set(unpickler._get_allowed_globals())
    assert theirs - ALLOWED_GLOBALS == set()
    assert {name for name in ALLOWED_GLOBALS - theirs if not name.startswith("torch.")} == set()


def test_the_opcodes_are_those_of_torch() -> None:
    """Each of ours is one of theirs: read from the table that get_globals_in_pkl uses."""
    codes = {opcode.name: opcode.code.encode("latin1")[0] for opcode in pickletools.opcodes}
    for name in ALLOWED_OPCODES:
        body = bytes([codes[name]]) + b"\0" * 8 + b"\n\n."
        with suppress(pickle.UnpicklingError, EOFError, struct.error):
            unpickler.get_globals_in_pkl(io.BytesIO(body))
            continue
        with pytest.raises((pickle.UnpicklingError, EOFError, struct.error)) as caught:
            unpickler.get_globals_in_pkl(io.BytesIO(body))
        assert f"operand {codes[name]}" not in str(caught.value), name


def test_a_file_of_unknown_kind_among_the_weights_is_told(root: Path) -> None:
    """Nobody here can look into it; that is worth a line, and no more."""
    verdict = judged(written(root, "engine.plan", b"ftrt0000"))
    assert verdict.admitted
    assert rules(verdict, "warning") == {"unknown_weights"}


def test_safetensors_that_hold_together_are_admitted(root: Path, hostile: Any) -> None:
    """Two tensors, side by side, with metadata."""
    header = {
        "__metadata__": {"format": "pt"},
        "b": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]},
        "a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]},
        "empty": {"dtype": "F16", "shape": [0, 3], "data_offsets": [12, 12]},
    }
    verdict = judged(written(root, "m.safetensors", hostile.safetensors(header, b"\0" * 12)))
    assert verdict.admitted, verdict.reason
    assert any(finding.explanation == "safetensors, 3 tensors" for finding in verdict.findings)


_TENSOR = {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}


@pytest.mark.parametrize(
    "header",
    [
        [],
        {"a": 3},
        {"a": {**_TENSOR, "dtype": "O"}},
        {"a": {**_TENSOR, "shape": 4}},
        {"a": {**_TENSOR, "shape": [-2, -2]}},
        {"a": {**_TENSOR, "shape": [True, 4]}},
        {"a": {**_TENSOR, "data_offsets": [0, 4, 8]}},
        {"a": {**_TENSOR, "shape": [2], "data_offsets": [2, 4]}},
        b'{"a": {}, "a": {}}',
        b"[" * 5000,
    ],
)
def test_safetensors_that_contradict_themselves_are_refused(root: Path, hostile: Any, header: Any) -> None:
    """Holes, overlaps, sizes that are no numbers, names twice."""
    assert rules(judged(written(root, "m.safetensors", hostile.safetensors(header, b"\0" * 4)))) == {"safetensors"}


def test_a_safetensors_file_of_three_bytes_is_refused(root: Path) -> None:
    """There is not even a length."""
    assert rules(judged(written(root, "m.safetensors", b"abc"))) == {"safetensors"}


@pytest.mark.parametrize("location", ["weights.bin", "data/weights.bin"])
def test_onnx_with_data_beside_it_is_admitted(root: Path, hostile: Any, location: str) -> None:
    """The files are named."""
    # ir_version as a varint, a fixed 32-bit and a fixed 64-bit field that nobody knows, and then the graph.
    data = b"\x08\x08" + b"\xfd\x01abcd" + b"\xf9\x01abcdefgh" + hostile.onnx(location)
    verdict = judged(written(root, "model.onnx", data))
    assert verdict.admitted, verdict.reason
    assert any(location in finding.explanation for finding in verdict.findings)


def test_onnx_without_external_data_is_admitted(root: Path, hostile: Any) -> None:
    """Most models; other entries of external_data are no places."""
    entry = hostile.field(1, b"offset") + hostile.field(2, b"/etc")
    nested = hostile.field(7, hostile.field(1, hostile.field(5, hostile.field(6, b""))))
    model = hostile.field(7, hostile.field(5, hostile.field(13, entry))) + nested
    assert judged(written(root, "model.onnx", model)).admitted


@pytest.mark.parametrize(
    "data",
    [b"\x0b", b"\x08", b"\x08" + b"\xff" * 11, b"\x09abc", b"\x3a\x7f", b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f"],
)
def test_onnx_that_is_cut_or_broken_is_refused(root: Path, data: bytes) -> None:
    """Groups, varints without end, fields that are longer than the file."""
    assert rules(judged(written(root, "model.onnx", data))) == {"onnx"}


def test_onnx_nested_without_end_is_refused(root: Path, hostile: Any) -> None:
    """A graph in an attribute of a node in a graph in …."""
    model = b""
    for _ in range(40):
        model = hostile.field(1, hostile.field(5, hostile.field(6, model)))
    assert rules(judged(written(root, "model.onnx", hostile.field(7, model)))) == {"onnx"}


def test_onnx_larger_than_protocol_buffers_is_refused(root: Path) -> None:
    """Without reading it: the file is sparse; a verdict on the bundle would read it for the digest."""
    path = root / "models" / "model.onnx"
    with path.open("wb") as stream:
        stream.truncate(2**31)
    with pytest.raises(Refused, match="larger than a protocol buffer"):
        judge_onnx(path, root)


def test_an_external_file_that_is_a_link_outside_is_refused(root: Path, hostile: Any, tmp_path: Path) -> None:
    """By the tree, before the model is looked into."""
    (root / "models" / "weights.bin").symlink_to(tmp_path / "x")
    assert "link_outside" in rules(judged(written(root, "model.onnx", hostile.onnx("weights.bin"))))


def test_pickles_of_the_legacy_form_are_judged_to_the_last(root: Path, hostile: Any) -> None:
    """Five of them, each by its opcodes."""
    data = hostile.legacy(b"\x80\x02}.")
    assert judged(written(root, "model.pt", data)).admitted
    assert rules(judged(written(root, "model.pt", data[:-4]))) == {"pickle_unreadable"}


@pytest.mark.parametrize("name", ["model.pt", "model.safetensors", "labels.npy"])
def test_a_pointer_of_git_lfs_is_told_as_one(root: Path, name: str) -> None:
    """A clone without Git LFS has it in place of the weights, and nobody sees that by the names."""
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
    assert rules(judged(written(root, name, pointer))) == {"lfs_pointer"}


def test_bytes_after_a_single_pickle_are_refused(root: Path) -> None:
    """Somebody may read on."""
    assert rules(judged(written(root, "labels.pkl", b"\x80\x02}.x"))) == {"pickle_unreadable"}


def test_archives_inside_archives_have_an_end(root: Path, hostile: Any) -> None:
    """torch.export needs two."""
    inner = hostile.torch_zip(b"\x80\x02}.")
    for _ in range(3):
        inner = hostile.torch_zip(b"\x80\x02}.", {"data/x.pt": inner})
    assert rules(judged(written(root, "model.pt2", inner))) == {"archive_member"}


def test_a_member_that_is_larger_than_it_says_is_refused(root: Path, hostile: Any) -> None:
    """The directory says one byte; zipfile notices the checksum, or the length does."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}." + b"\0" * 4096)
    data = bytearray(stream.getvalue())
    place = data.index(b"PK\1\2") + 24
    data[place : place + 4] = struct.pack("<I", 1)
    verdict = judged(written(root, "model.pt", bytes(data)))
    assert rules(verdict) & {"archive_unreadable", "archive_ratio", "pickle_unreadable"}


def test_source_that_is_no_text_is_refused(root: Path, hostile: Any) -> None:
    """TorchScript is UTF-8."""
    data = hostile.torch_zip(b"\x80\x02}.", {"code/a.py": b"\xff\xfe"})
    assert not judged(written(root, "model.ts", data)).admitted


def test_a_verdict_lists_what_the_archive_holds(root: Path) -> None:
    """For whoever reviews it."""
    script(root / "models" / "model.ts")
    texts = [finding.explanation for finding in judged(root).findings if finding.where == "models/model.ts"]
    assert len(texts) == 1
    assert texts[0].startswith("TorchScript: ")
    assert "source files" in texts[0]
    json.dumps(texts)
