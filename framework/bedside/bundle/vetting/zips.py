"""Opens a zip archive only where every reader would see the same thing in it, and within bounds.

Python's ``zipfile`` judges, other libraries load (torch's is miniz, which ignores case): an archive that two of them
could read differently is refused rather than guessed at.
"""

import io
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import IO

from bedside.bundle.vetting.findings import Refused, shown
from bedside.settings import AdmissionSettings

_END_BYTES = 22  # the end of central directory record without a comment (APPNOTE 4.3.16)
_LOCAL_BYTES = 30  # a local file header without name and extra field (APPNOTE 4.3.7)
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1
_FREE_RATIO_BYTES = 1 << 20  # a megabyte of zeros hurts nobody
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,
    ValueError,
    EOFError,
    OSError,
    RuntimeError,
    LookupError,
)


@contextmanager
def open_zip(stream: IO[bytes], limits: AdmissionSettings) -> Iterator[zipfile.ZipFile]:
    """Open an archive whose members have been checked. Reading errors inside the block become Refused as well.

    Raises:
        Refused: it is broken or ambiguous, or larger than the limits; a member's path or kind is not plain.
    """
    try:
        _check_ends(stream)
        with zipfile.ZipFile(stream) as archive:
            _check_members(archive.infolist(), limits)
            yield archive
    except Refused:
        raise
    except _BROKEN as error:
        raise Refused("archive_unreadable", f"is no readable zip archive ({type(error).__name__})") from None


def read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, most: int) -> bytes:
    """Return a member's content of at most ``most`` bytes. Raises Refused where it is longer, or than it says."""
    with archive.open(member) as stream:
        content = stream.read(most + 1)
    if len(content) > min(most, member.file_size):
        raise Refused("archive_ratio", f"'{shown(member.filename)}' is larger than it says, or than it may be")
    return content


def _check_ends(stream: IO[bytes]) -> None:
    begin = stream.read(4)
    size = stream.seek(0, io.SEEK_END)
    stream.seek(max(0, size - _END_BYTES))
    end = stream.read()
    if begin != b"PK\3\4":
        raise Refused("archive_unreadable", "does not begin with its first member")
    if not end.startswith(b"PK\5\6") or end[-2:] != b"\0\0":
        raise Refused("archive_unreadable", "does not end with its directory: readers would differ in what it holds")


def _check_members(members: list[zipfile.ZipInfo], limits: AdmissionSettings) -> None:
    if len(members) > limits.files:
        raise Refused("too_many_files", f"holds more than {limits.files} members (admission.files)")
    if sum(member.file_size for member in members) > limits.total_bytes:
        raise Refused("too_large", f"unpacks to more than {limits.total_bytes} bytes (admission.total_bytes)")
    seen: set[str] = set()
    for member in members:
        _check_member(member, limits)
        name = member.filename.rstrip("/").casefold()
        if name in seen:
            raise Refused("archive_member", f"holds '{shown(member.filename)}' twice")
        seen.add(name)
    _check_no_overlap(members)


def _check_member(member: zipfile.ZipInfo, limits: AdmissionSettings) -> None:
    name = member.filename
    if not plain_path(name) or member.orig_filename != name:
        raise Refused(
            "archive_path", f"the path '{shown(member.orig_filename)}' leads out of the archive, or is not plain"
        )
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind == stat.S_IFLNK:
        raise Refused("archive_link", f"'{shown(name)}' is a link")
    if kind not in (0, stat.S_IFDIR if member.is_dir() else stat.S_IFREG):
        raise Refused("archive_member", f"'{shown(name)}' is no regular file")
    if member.flag_bits & _ENCRYPTED or member.compress_type not in _METHODS:
        raise Refused("archive_member", f"'{shown(name)}' is encrypted or compressed in an unusual way")
    if member.file_size > max(_FREE_RATIO_BYTES, member.compress_size * limits.archive_ratio):
        raise Refused("archive_ratio", f"'{shown(name)}' unpacks to more than {limits.archive_ratio} times its size")


def plain_path(name: str) -> bool:
    """Tell whether a member's path stays in the archive's folder, and means the same on every system."""
    parts = name.rstrip("/").split("/")
    plain = name.isprintable() and "\\" not in name and ":" not in parts[0]
    return plain and not PurePosixPath(name).is_absolute() and not {"", ".", ".."} & set(parts)


def _check_no_overlap(members: list[zipfile.ZipInfo]) -> None:
    # Members that share their bytes: the bomb that no ratio shows (David Fifield, "A better zip bomb", 2019).
    end = 0
    for member in sorted(members, key=lambda member: member.header_offset):
        if member.header_offset < end or (end == 0 and member.header_offset):
            raise Refused("archive_member", f"'{shown(member.filename)}' lies on top of another member")
        end = member.header_offset + _LOCAL_BYTES + len(member.orig_filename.encode()) + member.compress_size
