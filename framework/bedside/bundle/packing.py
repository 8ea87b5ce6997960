"""One file out of a bundle: the same bytes for the same tree, on any machine, whoever packs it and when.

Nothing is compressed: weights hardly shrink, and what a compressor writes changes with its version. A ``.tar.gz`` is
gzip's framing around stored blocks (RFC 1951 §3.2.4), for tools that take nothing else.
"""

import hashlib
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Self

from bedside.bundle.folder import content_files, recognise
from bedside.errors import ConfigurationError

FORMS = (".tar", ".tar.gz", ".tgz", ".zip")
"""Suffixes of the archives that can be written, and served."""

_CHUNK_BYTES = 1 << 20
_FILE_MODE = 0o644
_NO_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip archive can say
_UNIX = 3
_STORED_BYTES = 0xFFFF  # the longest stored block


def pack(root: Path, target: Path) -> str:
    """Write a bundle into one archive, under its model's name; returns ``sha256:`` and the hex digest of the archive.

    Only names and contents count: neither times, owners and rights, nor what a run left behind (``NOT_CONTENT``). A
    link inside the bundle becomes the file that it leads to, as in the bundle's digest.

    Raises:
        InvalidBundle: the folder is no bundle.
        ConfigurationError: the target's suffix is none of ``FORMS``.
    """
    form = next((suffix for suffix in FORMS if target.name.endswith(suffix)), None)
    if form is None:
        raise ConfigurationError(f"the archive's name must end with one of {', '.join(FORMS)}", field="output")
    folder = recognise(root)
    with target.open("wb") as stream:
        if form == ".zip":
            _write_zip(folder.root, folder.name, stream)
        elif form == ".tar":
            write_tar(folder.root, folder.name, stream)
        else:
            with _StoredGzip(stream) as framed:
                write_tar(folder.root, folder.name, framed)
    with target.open("rb") as stream:
        return f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"


def write_tar(root: Path, name: str, stream: "IO[bytes] | _StoredGzip") -> None:
    """Write the tar archive (POSIX.1-2001 pax) of a bundle."""
    with tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as archive:  # type: ignore[call-overload]
        for path, member_name in _members(root, name):
            member = tarfile.TarInfo(member_name)  # no time, no owner
            member.size, member.mode = path.stat().st_size, _FILE_MODE
            with path.open("rb") as content:
                archive.addfile(member, content)


def _write_zip(root: Path, name: str, stream: IO[bytes]) -> None:
    with zipfile.ZipFile(stream, "w") as archive:
        for path, member_name in _members(root, name):
            member = zipfile.ZipInfo(member_name, _NO_TIME)
            member.create_system, member.external_attr = _UNIX, (0o100000 | _FILE_MODE) << 16
            member.file_size = path.stat().st_size  # tells zipfile whether it needs 64-bit sizes
            with path.open("rb") as content, archive.open(member, "w") as copy:
                while chunk := content.read(_CHUNK_BYTES):
                    copy.write(chunk)


def _members(root: Path, name: str) -> Iterator[tuple[Path, str]]:
    return ((path, f"{name}/{path.relative_to(root).as_posix()}") for path in content_files(root))


class _StoredGzip:
    """A gzip file (RFC 1952) of stored blocks only."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._buffer = bytearray()
        self._checksum = 0
        self._size = 0
        stream.write(b"\x1f\x8b\x08\0\0\0\0\0\0\xff")  # deflate, no name, no time, no level, unknown system

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._block(self._buffer, last=True)
            self._stream.write(struct.pack("<II", self._checksum, self._size & 0xFFFFFFFF))

    def write(self, data: bytes) -> int:
        """Write what fills whole blocks, keep the rest."""
        self._checksum = zlib.crc32(data, self._checksum)
        self._size += len(data)
        self._buffer += data
        while len(self._buffer) > _STORED_BYTES:
            self._block(self._buffer[:_STORED_BYTES], last=False)
            del self._buffer[:_STORED_BYTES]
        return len(data)

    def _block(self, data: bytearray, *, last: bool) -> None:
        self._stream.write(struct.pack("<BHH", last, len(data), len(data) ^ _STORED_BYTES))
        self._stream.write(data)
