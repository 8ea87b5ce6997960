"""Reads audit chains back: is what is there what was written, and what was it."""

import hashlib
import hmac
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from bedside.observability.audit_chain import FIRST, HEAD, SEGMENT, Head
from bedside.observability.events import AuditAction, Event


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a chain.

    Attributes:
        chain: its id.
        sequence: the first record that it is about.
        broken: somebody has changed the trail; otherwise it is only told.
        text: what was found.
    """

    chain: str
    sequence: int
    broken: bool
    text: str


class _Broken(Exception):
    def __init__(self, sequence: int, text: str) -> None:
        super().__init__(text)
        self.sequence = sequence


@dataclass(slots=True)
class _Chain:
    """What reading one chain gave."""

    id: str
    first: int = -1
    last: int = -1
    digest: str = FIRST
    torn: bool = False
    closed: bool = False
    head: Head | None = None
    broken: _Broken | None = None
    retired: list[tuple[int, str, int]] = field(default_factory=list)
    """Of each ``segment_retired``: its own number, the chain that it is about, and the last number retired."""


class Verifier:
    """Verifies every chain of a folder.

    Args:
        folder: of the chains.
        key: the site's key, to check the seals of heads; without it they are taken as they are.
        anchors: number and hash by chain, from ``audit_anchored`` events that were kept elsewhere.
    """

    def __init__(
        self, folder: Path, key: bytes | None = None, anchors: Mapping[str, Mapping[int, str]] | None = None
    ) -> None:
        self._folder = folder
        self._key = key
        self._anchors = anchors or {}
        self._retired: dict[str, int] = {}
        self.records = 0

    def findings(self) -> list[Finding]:
        """Return what is to be told, by chain; what is broken names the first record that is."""
        read = [self._read(chain) for chain in sorted(chains(self._folder) | self._anchors.keys())]
        for chain in read:
            self._believe(chain)
        found = [finding for chain in read for finding in self._judge(chain)]
        return sorted(found, key=lambda finding: (finding.chain, finding.sequence))

    def _read(self, name: str) -> _Chain:
        chain = _Chain(name)
        try:
            chain.head = self._head(name)  # before the lines: of a chain that is still written, they are newer
            self._read_lines(chain)
        except _Broken as broken:
            chain.broken = broken
        return chain

    def _believe(self, chain: _Chain) -> None:
        # Up to the head only: anybody could have added what follows it, and hidden with it that a file is gone.
        if chain.broken is None and chain.head is not None and chain.last >= chain.head.sequence:
            for sequence, about, last in chain.retired:
                if sequence <= chain.head.sequence:
                    self._retired[about] = max(last, self._retired.get(about, -1))

    def _judge(self, chain: _Chain) -> Iterator[Finding]:
        if chain.first > 0 and self._retired.get(chain.id) != chain.first - 1:
            text = f"records 0 to {chain.first - 1} are missing at the beginning"
            yield Finding(chain.id, 0, broken=True, text=text)
        try:
            if chain.broken is not None:
                raise chain.broken
            yield from self._end(chain)
        except _Broken as broken:
            yield Finding(chain.id, broken.sequence, broken=True, text=str(broken))

    def _read_lines(self, chain: _Chain) -> None:
        for line in lines(self._folder, chain.id):
            if not line.endswith(b"\n"):
                chain.torn = True
                return
            try:
                record = orjson.loads(line)
                self._follow(chain, record["bedside"]["audit"])
                chain.closed = record["message"] == AuditAction.CHAIN_CLOSED
                if record["message"] == AuditAction.SEGMENT_RETIRED:
                    retired = record["bedside"]["audit"]["retired"]
                    chain.retired.append((chain.last, retired["chain"], retired["sequence"]))
            except (ValueError, KeyError, TypeError):
                raise _Broken(chain.last + 1, "altered: it is no audit record") from None
            chain.digest = hashlib.sha256(line).hexdigest()
            if self._anchors.get(chain.id, {}).get(chain.last, chain.digest) != chain.digest:
                raise _Broken(chain.last, "altered: it is not the record that was anchored")
            if chain.head and chain.head.sequence == chain.last and chain.head.digest != chain.digest:
                raise _Broken(chain.last, "altered: it is not the record that the head was made of")
            self.records += 1

    def _follow(self, chain: _Chain, place: Mapping[str, Any]) -> None:
        sequence, expected = place["sequence"], chain.last + 1
        if place["chain"] != chain.id:
            raise _Broken(expected, "a record of another chain stands in its place")
        if chain.first == -1:
            # Older files may have been retired; a record of that is asked for at the end.
            chain.first = expected = sequence
            chain.digest = place["previous"] if sequence else FIRST
        if sequence != expected:
            raise _Broken(expected, f"removed, moved or copied: record {sequence} stands in its place")
        if place["previous"] != chain.digest:
            raise _Broken(max(chain.last, 0), "altered, or its successor was: the hashes do not agree")
        chain.last = sequence

    def _end(self, chain: _Chain) -> Iterator[Finding]:
        head = chain.head
        promised = max([head.sequence if head else -1, *self._anchors.get(chain.id, {})])
        if chain.last == -1 and promised <= self._retired.get(chain.id, -1):
            return  # all of it was retired
        if chain.last < promised:
            raise _Broken(chain.last + 1, f"cut off: there were records up to {promised}")
        if head is None:
            raise _Broken(chain.last, "its head is missing; nothing tells whether records were cut off")
        if head.closed and (chain.torn or chain.last > head.sequence or not chain.closed):
            raise _Broken(head.sequence + 1, "added after the chain was ended")
        if not head.closed:
            more = chain.last - head.sequence
            torn = " and a line that was cut off" if chain.torn else ""
            text = f"not ended in good order, or still written: {more} records{torn} after the head"
            yield Finding(chain.id, head.sequence + 1, broken=False, text=text)

    def _head(self, chain: str) -> Head | None:
        try:
            members = orjson.loads((self._folder / f"{chain}{HEAD}").read_bytes())
            head = Head(members["chain"], members["sequence"], members["digest"], members["closed"])
            sealed = self._key is None or hmac.compare_digest(head.seal(self._key), members["seal"])
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise _Broken(0, "its head cannot be read") from error
        if not sealed or head.chain != chain:
            raise _Broken(0, "its head was not sealed with this key")
        return head


def chains(folder: Path) -> set[str]:
    """Return the ids of the chains of a folder."""
    return {path.name.partition(".")[0] for path in folder.iterdir() if path.suffix in (SEGMENT, HEAD)}


def lines(folder: Path, chain: str) -> Iterator[bytes]:
    """Yield the lines of a chain, file after file."""
    for path in sorted(folder.glob(f"{chain}.*{SEGMENT}")):
        with path.open("rb") as file:
            yield from file


def records(folder: Path, begin: str = "", end: str = "\uffff") -> Iterator[dict[str, Any]]:
    """Yield the records with ``begin <= @timestamp < end`` (ISO 8601, UTC), chain after chain, without torn lines."""
    for chain in sorted(chains(folder)):
        for line in lines(folder, chain):
            if line.endswith(b"\n") and begin <= (record := orjson.loads(line))["@timestamp"] < end:
                yield record


def read_anchors(text: bytes) -> dict[str, dict[int, str]]:
    """Return number and hash by chain of the ``audit_anchored`` events among lines of the log."""
    anchors: dict[str, dict[int, str]] = {}
    for line in text.splitlines():
        if Event.AUDIT_ANCHORED.encode() in line:
            place = orjson.loads(line)["bedside"]["audit"]
            anchors.setdefault(place["chain"], {})[place["sequence"]] = place["head"]
    return anchors
