"""One process's audit chain on disk: files of JSON lines, each line with the SHA-256 of the line before.

A head beside them tells the last line that is safe, sealed with the site's key, so that what is cut off at the end is
missed. Any thread links records, one at a time; only one writes.
"""

import hashlib
import hmac
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import orjson

FIRST = "0" * 64
"""``bedside.audit.previous`` of a chain's first record."""

SEGMENT, HEAD = ".jsonl", ".head"
_PRIVATE = 0o600

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Head:
    """The last record that was safe: its number and its hash, and whether the chain was ended in good order."""

    chain: str
    sequence: int
    digest: str
    closed: bool

    def seal(self, key: bytes) -> str:
        """Return the keyed hash that nobody without the key can make."""
        return hmac.digest(key, f"{self.chain} {self.sequence} {self.digest} {self.closed}".encode(), "sha256").hex()

    def write(self, path: Path, key: bytes) -> None:
        """Replace the file; whoever reads it sees the old head or the new one."""
        members = {"chain": self.chain, "sequence": self.sequence, "digest": self.digest, "closed": self.closed}
        draft = path.with_name(f"{path.name}.new")
        draft.write_bytes(orjson.dumps({**members, "seal": self.seal(key)}))
        draft.replace(path)


def new_chain() -> str:
    """Return an id: the moment, so that files sort by it, and a random part, so that it is a process's own."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"


class Link(NamedTuple):
    """A record that has its place in a chain: its line, newline included, its number, and the hash of the line."""

    line: bytes
    sequence: int
    digest: str


Render = Callable[[R, str, int, str], bytes]


class Chain(Generic[R]):
    """Writes records.

    Args:
        folder: made where there is none, for the owner alone.
        key: seals heads.
        render: makes the line of a record, newline included, of chain, number and the hash of the line before.
        segment_bytes: size at which a new file is begun.
        synchronise: whether written means on the disk.
    """

    def __init__(self, folder: Path, key: bytes, render: Render[R], *, segment_bytes: int, synchronise: bool) -> None:
        self.id = new_chain()
        self.head = Head(self.id, -1, FIRST, closed=False)
        self._last = Link(b"", -1, FIRST)
        self._folder = folder
        self._key = key
        self._render = render
        self._segment_bytes = segment_bytes
        self._synchronise = synchronise
        self._number = 0
        self._file = -1
        self._size = 0

    @property
    def segment(self) -> Path:
        """Return the file that is written to."""
        return self._folder / f"{self.id}.{self._number:06d}{SEGMENT}"

    def link(self, record: R) -> Link:
        """Give a record its place in the chain; whatever is raised, it has none. It must be written, in this order."""
        _, sequence, previous = self._last
        line = self._render(record, self.id, sequence + 1, previous)
        self._last = Link(line, sequence + 1, hashlib.sha256(line).hexdigest())
        return self._last

    def write(self, links: Sequence[Link], *, closing: bool = False) -> None:
        """Write records, then the head; both or neither. Raises OSError: nothing was added; try again."""
        _, sequence, digest = links[-1]
        head = Head(self.id, sequence, digest, closing)
        self._write(b"".join([link.line for link in links]))
        try:
            head.write(self._folder / f"{self.id}{HEAD}", self._key)
        except OSError:
            self._size -= sum(len(link.line) for link in links)
            os.ftruncate(self._file, self._size)  # or the same records would follow themselves
            raise
        self.head = head

    def _write(self, data: bytes) -> None:
        if self._file == -1 or self._size >= self._segment_bytes:
            self._next_segment()
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._file, rest) :]
            if self._synchronise:
                os.fsync(self._file)
        except OSError:
            os.ftruncate(self._file, self._size)  # the same records are tried again
            raise
        self._size += len(data)

    def _next_segment(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        number = self._number if self._file == -1 else self._number + 1
        path = self._folder / f"{self.id}.{number:06d}{SEGMENT}"
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW, _PRIVATE)
        self.close()
        self._file, self._number, self._size = file, number, 0
        if self._synchronise:
            directory = os.open(self._folder, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)

    def beyond(self, most_bytes: int) -> list[tuple[Path, int]]:
        """Return this chain's oldest files, with the last number in each, that make it longer; two files stay."""
        older = sorted(self._folder.glob(f"{self.id}.*{SEGMENT}"))[:-1]
        excess = self._size + sum(path.stat().st_size for path in older) - most_bytes
        found = []
        for path in older[:-1]:
            if excess <= 0:
                break
            excess -= path.stat().st_size
            found.append((path, _last_number(path)))
        return found

    def close(self) -> None:
        """Close the file."""
        if self._file != -1:
            os.close(self._file)
            self._file = -1


def retire(folder: Path, own: str, before: float) -> Iterator[tuple[str, int]]:
    """Remove files of other chains last written before a moment; yield chain and last number of each."""
    for path in sorted(folder.glob(f"*{SEGMENT}")):
        chain = path.name.partition(".")[0]
        try:
            if chain == own or path.stat().st_mtime >= before:
                continue
            last = _last_number(path)
            path.unlink()
        except (OSError, ValueError, KeyError, TypeError):
            continue  # another replica was faster, or no record is in it: `bedside audit verify` tells
        if not any(folder.glob(f"{chain}.*{SEGMENT}")):
            with suppress(OSError):
                (folder / f"{chain}{HEAD}").unlink()
        yield chain, last


def _last_number(path: Path) -> int:
    whole, _, _torn = path.read_bytes().rpartition(b"\n")
    return int(orjson.loads(whole.rpartition(b"\n")[2])["bedside"]["audit"]["sequence"])
