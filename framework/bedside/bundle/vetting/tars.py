"""Unpacks a tar archive member by member: plain files at plain paths, within bounds, and nothing else."""

import tarfile
import zlib
from pathlib import Path
from typing import IO, Self

from bedside.bundle.vetting.findings import Refused, shown
from bedside.bundle.vetting.zips import plain_path
from bedside.settings import AdmissionSettings

_CHUNK_BYTES = 1 << 20
_HEADER_BYTES = 1 << 16  # a name has some hundred bytes; tarfile reads a member's extended header in one piece
_EXTENDED = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
_BROKEN = (tarfile.TarError, zlib.error, EOFError, ValueError, LookupError)


def is_tar(stream: IO[bytes]) -> bool:
    """Tell whether a file begins as a tar archive does, or as a gzip file; leaves the stream at its begin."""
    begin = stream.read(512)
    stream.seek(0)
    return begin.startswith(b"\x1f\x8b") or begin[257:262] == b"ustar"


def unpack_tar(stream: IO[bytes], into: Path, limits: AdmissionSettings) -> None:
    """Unpack a tar archive, gzipped or not.

    Raises:
        Refused: it is broken or larger than the limits; a member is no plain file or folder, or has no plain path.
    """

    class Member(_Member):
        ended = False

    compressed = stream.read(2) == b"\x1f\x8b"
    stream.seek(0)
    try:
        # As a stream: each member is seen once, in order, so that no two readers can differ about it.
        with tarfile.open(fileobj=stream, mode="r|gz" if compressed else "r|", tarinfo=Member) as archive:
            _unpack_members(archive, into, limits)
    except _BROKEN as error:
        raise Refused("archive_unreadable", f"is no readable tar archive ({type(error).__name__})") from None
    if not Member.ended:
        raise Refused("archive_unreadable", "has no end: it was cut short")


class _Member(tarfile.TarInfo):
    """A member whose extended headers are bounded: they are read into memory before anybody can look at them.

    ``ended`` tells whether the mark of the archive's end was met; tarfile takes the end of the file for one, too.
    """

    ended: bool

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        cls.ended = len(buf) == tarfile.BLOCKSIZE and not any(buf)
        member = super().frombuf(buf, encoding, errors)
        if member.type in _EXTENDED and member.size > _HEADER_BYTES:
            raise Refused("archive_member", "has a header that is too long")
        return member


def _unpack_members(archive: tarfile.TarFile, into: Path, limits: AdmissionSettings) -> None:
    seen: set[str] = set()
    total = 0
    for member in archive:
        _check(member)
        name = member.name.casefold()
        if name in seen:
            raise Refused("archive_member", f"holds '{shown(member.name)}' twice")
        seen.add(name)
        total += member.size
        if len(seen) > limits.files:
            raise Refused("too_many_files", f"holds more than {limits.files} members (admission.files)")
        if total > limits.total_bytes:
            raise Refused("too_large", f"unpacks to more than {limits.total_bytes} bytes (admission.total_bytes)")
        if not member.isdir():
            _unpack(archive, member, into / member.name)


def _check(member: tarfile.TarInfo) -> None:
    if member.islnk() or member.issym():
        raise Refused("archive_link", f"'{shown(member.name)}' is a link")
    if not (member.isreg() or member.isdir()) or member.issparse():
        raise Refused("archive_member", f"'{shown(member.name)}' is no regular file")
    if not plain_path(member.name):
        raise Refused("archive_path", f"the path '{shown(member.name)}' leads out of the archive, or is not plain")


def _unpack(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    source = archive.extractfile(member)
    assert source is not None  # noqa: S101 - it is a regular file
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as copy:
            left = member.size
            while left and (chunk := source.read(min(_CHUNK_BYTES, left))):
                left -= copy.write(chunk)
    except (FileExistsError, NotADirectoryError):
        raise Refused("archive_member", f"'{shown(member.name)}' lies in a file as if it were a folder") from None
    if left:
        raise Refused("archive_unreadable", "ends within a member")
    target.chmod(0o600)
