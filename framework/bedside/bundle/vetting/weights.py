"""Judges every file of a bundle that is not configuration: weights of all formats, arrays, native code.

The first bytes decide, not the name: torch.load takes a file that begins with ``PK`` for an archive and every other one
for pickles (torch/serialization.py, ``_is_zipfile``), whatever it is called.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from bedside.bundle.vetting.findings import Finding, Refused, counted, shown
from bedside.bundle.vetting.onnx import judge_onnx
from bedside.bundle.vetting.pickles import judge_pickle
from bedside.bundle.vetting.safetensors import judge_safetensors
from bedside.bundle.vetting.site_policy import SitePolicy
from bedside.bundle.vetting.torch_archive import (
    ARRAY_HEAD_BYTES,
    NATIVE_CODE,
    is_object_array,
    is_pickle,
    judge_archive,
)
from bedside.settings import AdmissionSettings

_PICKLE_SUFFIXES = frozenset({".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".dill"})
_POINTER = b"version https://git-lfs.github.com/"
_LEGACY_MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # 0x1950A86A20F9469CFC6C, pickled
_LEGACY_PICKLES = 5  # magic number, protocol, system, object, keys of storages (torch/serialization.py, _legacy_load)


def judge_weights(
    name: str, path: Path, root: Path, policy: SitePolicy, limits: AdmissionSettings
) -> Iterator[Finding]:
    """Yield what one file holds, and what is wrong with it."""
    try:
        head = _head(path)
        judge = _judge_of(name, head)
        if judge is not None:
            for rule, explanation in judge(_File(path, root, policy, limits)):
                yield Finding(rule, name, explanation)
        elif PurePosixPath(name).parts[0] == "models":
            yield Finding("unknown_weights", name, "is of a kind that nobody here can look into")
    except Refused as refused:
        yield refused.at(name)
    except OSError as error:
        yield Finding("unreadable_file", name, f"cannot be read ({type(error).__name__})")


@dataclass(frozen=True, slots=True)
class _File:
    """One file with what is needed to judge it."""

    path: Path
    root: Path
    policy: SitePolicy
    limits: AdmissionSettings


_Told = Iterator[tuple[str, str]]


def _head(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(len(_POINTER))


def _judge_of(name: str, head: bytes) -> Callable[[_File], _Told] | None:
    suffix = PurePosixPath(name.lower()).suffix
    if head == _POINTER:
        return _pointer
    if head.startswith(NATIVE_CODE):
        return _native
    if head.startswith(b"PK\3\4"):
        return _archive
    if head.startswith(b"\x93NUMPY") or suffix == ".npy":
        return _array
    if suffix == ".safetensors":
        return _safetensors
    if suffix == ".onnx":
        return _onnx
    # A pickle of protocol 2 and later begins with PROTO; older ones are only known by what loads them.
    return _pickles if suffix in _PICKLE_SUFFIXES or is_pickle(head) else None


def _pointer(_: _File) -> _Told:
    yield "lfs_pointer", "is a pointer of Git LFS, and not the file that it stands for"


def _native(_: _File) -> _Told:
    yield "native_code", "is machine code"


def _safetensors(file: _File) -> _Told:
    yield "weights", f"safetensors, {judge_safetensors(file.path)} tensors"


def _onnx(file: _File) -> _Told:
    beside = judge_onnx(file.path, file.root)
    yield "weights", f"ONNX{', with data in ' + ', '.join(shown(name) for name in beside) if beside else ''}"


def _array(file: _File) -> _Told:
    with file.path.open("rb") as stream:
        if is_object_array(stream.read(ARRAY_HEAD_BYTES)):
            yield "object_array", "an array of Python objects, which is a pickle"


def _pickles(file: _File) -> _Told:
    with file.path.open("rb") as stream:
        legacy = stream.read(len(_LEGACY_MAGIC)) == _LEGACY_MAGIC
        stream.seek(0)
        numpy: set[str] = set()
        for _ in range(_LEGACY_PICKLES if legacy else 1):
            numpy |= judge_pickle(stream, file.policy)
        if not legacy and stream.read(1):
            raise Refused("pickle_unreadable", "goes on after its pickle")
    yield from _numpy(numpy)
    yield "weights", "tensors as torch wrote them before 1.6" if legacy else "one pickle"


def _numpy(names: set[str]) -> _Told:
    if names:
        yield "numpy_in_pickle", f"holds {', '.join(sorted(names))}"


def _archive(file: _File) -> _Told:
    with file.path.open("rb") as stream:
        inventory = judge_archive(stream, file.policy, file.limits)
    yield from _numpy(inventory.numpy)
    yield "weights", f"{inventory.form}: {counted(inventory.kinds)}"
