"""Looks into the zip archives that torch writes: torch.save, TorchScript, torch.export; loads nothing."""

import io
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import IO
from zipfile import ZipFile, ZipInfo

from bedside.bundle.vetting.findings import Refused, shown
from bedside.bundle.vetting.pickles import judge_pickle
from bedside.bundle.vetting.site_policy import SitePolicy
from bedside.bundle.vetting.torchscript import judge_torchscript
from bedside.bundle.vetting.zips import open_zip, read_member
from bedside.settings import AdmissionSettings

NATIVE_CODE = (b"\x7fELF", b"MZ", b"\xfe\xed\xfa", b"\xcf\xfa\xed\xfe", b"\xce\xfa\xed\xfe", b"\xca\xfe\xba\xbe")
"""First bytes of ELF, PE and Mach-O files."""

ARRAY_HEAD_BYTES = 4096
"""Enough for the header of a .npy file."""

_NATIVE_SUFFIXES = frozenset({".so", ".o", ".a", ".dll", ".dylib", ".cubin", ".ptx", ".cpp", ".cu", ".hsaco"})
_MEMBER_BYTES = 64 << 20  # largest pickle, source file or archive inside an archive; tensors are members of their own
_ARCHIVES_DEEP = 2  # torch.export keeps its weights as archives inside an archive
_TENSOR = re.compile(r"(data|constants|tensors|weights)/(\w+/)*[\w.]*\d+", re.ASCII)


@dataclass(slots=True)
class Inventory:
    """What is in an archive.

    Attributes:
        kinds: how many members of each kind.
        numpy: names of NumPy in its pickles.
    """

    form: str = "zip archive"
    kinds: Counter[str] = field(default_factory=Counter)
    numpy: set[str] = field(default_factory=set)


def judge_archive(stream: IO[bytes], policy: SitePolicy, limits: AdmissionSettings, depth: int = 1) -> Inventory:
    """Look through an archive.

    Raises:
        Refused: something in it would run code, or cannot be read.
    """
    if depth > _ARCHIVES_DEEP:
        raise Refused("archive_member", "archives inside archives inside an archive")
    inventory = Inventory()
    with open_zip(stream, limits) as archive:
        members = {_below_root(member.filename): member for member in archive.infolist() if not member.is_dir()}
        script = any(name.startswith("code/") for name in members)
        inventory.form = "TorchScript" if script else "torch.export" if "archive_format" in members else inventory.form
        if "data.pkl" in members and not script:
            inventory.form = "torch.save"
        # Not from `members`: two roots in one archive would hide one of two members with the same name.
        for member in archive.infolist():
            if not member.is_dir():
                inventory.kinds[_Member(archive, member, policy, limits, script, depth).judge(inventory)] += 1
    return inventory


def is_pickle(head: bytes) -> bool:
    """Tell whether bytes begin a pickle of protocol 0x80 02 … 05; older ones are known by what loads them only."""
    return len(head) > 1 and head[0] == 0x80 and head[1] <= 5


def is_object_array(head: bytes) -> bool:
    """Tell whether a .npy file holds pickled objects, from its first ``ARRAY_HEAD_BYTES``; also where it is none."""
    # numpy.lib.format: "descr" of such an array is '|O', or holds 'O' in one of its fields.
    header = head.partition(b"}")[0]
    return not head.startswith(b"\x93NUMPY") or re.search(rb"'[|<>=]?O[0-9]*'", header) is not None


def _below_root(name: str) -> str:
    return name.partition("/")[2] or name


@dataclass(frozen=True, slots=True)
class _Member:
    archive: ZipFile
    info: ZipInfo
    policy: SitePolicy
    limits: AdmissionSettings
    script: bool
    depth: int

    def judge(self, inventory: Inventory) -> str:
        """Return what kind of member it is; raise Refused."""
        name = _below_root(self.info.filename)
        suffix = PurePosixPath(name.lower()).suffix  # miniz finds DATA.PKL as data.pkl
        head = self._head()
        if suffix in _NATIVE_SUFFIXES or (head.startswith(NATIVE_CODE) and not _TENSOR.fullmatch(name)):
            raise Refused("native_code", f"'{shown(name)}' is native code")
        if head.startswith(b"PK\3\4"):
            inner = judge_archive(io.BytesIO(self._content()), self.policy, self.limits, self.depth + 1)
            inventory.numpy |= inner.numpy
            return "archives"
        if suffix.endswith("pkl") or suffix == ".pt" or (is_pickle(head) and not _TENSOR.fullmatch(name)):
            inventory.numpy |= judge_pickle(io.BytesIO(self._content()), self.policy, torchscript=self.script)
            return "pickles"
        if suffix == ".npy" and is_object_array(head):
            raise Refused("object_array", f"'{shown(name)}' is an array of Python objects, which is a pickle")
        if suffix == ".py":
            judge_torchscript(self._content().decode("utf-8"))
            return "source files"
        return "tensors" if _TENSOR.fullmatch(name) else "others"

    def _head(self) -> bytes:
        with self.archive.open(self.info) as stream:
            return stream.read(ARRAY_HEAD_BYTES)

    def _content(self) -> bytes:
        return read_member(self.archive, self.info, _MEMBER_BYTES)
