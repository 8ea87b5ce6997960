"""The audit trail on its way to Elasticsearch: read from its own files, from where it was left (docs/decisions/0129).

Nothing is queued beside them. A mark for each chain tells the last record that was taken. It may be older than the
truth, never newer: what is sent again has the same ``_id``.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import orjson

from bedside.observability.audit_chain import SEGMENT
from bedside.observability.events import AuditAction, Event
from bedside.observability.logging import EventLogger
from bedside.observability.shipping.spool import SpooledLine

_MOST_GONE = 1000  # marks kept of chains without files: that they were removed may still have to be told


class Mark(NamedTuple):
    """How far a chain was taken: number of the file, offset in it, number of the last record."""

    file: int = 0
    offset: int = 0
    sequence: int = -1


class _Place(NamedTuple):
    """A line's chain, its mark once it is taken, and of which chain and record it tells that they were removed."""

    chain: str
    mark: Mark
    retired: tuple[str, int] | None


_Files = dict[str, list[tuple[int, Path]]]


class Trail:
    """The records that were not taken yet. Implements ``shipper.Source``, for one thread.

    It holds nothing back: files go when ``audit.chain_bytes`` or ``audit.retention_days`` say so; what was in them and
    was not taken is counted and told.

    Args:
        trail: folder of the chains.

    Attributes:
        missed: records that were removed before they were taken.
        waiting_bytes: size of what waits, when it was last looked at.
    """

    look_seconds = 5.0
    waiting_lines = None

    def __init__(self, trail: Path) -> None:
        self.folder = trail / "shipping"
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.arrived = threading.Event()
        self.missed = 0
        self.waiting_bytes = 0
        self._trail = trail
        self._path = self.folder / "marks.json"
        self._marks: dict[str, Mark] = {}
        self._loaded = False
        self._head: list[_Place] = []
        self._untold: list[tuple[str, int]] = []

    def head(self, most_lines: int, most_bytes: int) -> list[SpooledLine]:
        """Return the oldest records, chain after chain, at least one where there are any."""
        self._load()
        self._head = []
        lines: list[SpooledLine] = []
        size = 0
        for line, place in self._records(self._look()):
            size += len(line)
            if lines and (size > most_bytes or len(lines) == most_lines):
                break
            lines.append(SpooledLine(len(lines), f"{place.chain}-{place.mark.sequence}", line))
            self._head.append(place)
        return lines

    def remove(self, sent: Sequence[SpooledLine]) -> None:
        """Mark lines that :meth:`head` returned as taken."""
        if not sent:
            return
        for place in self._head[: sent[-1].number + 1]:
            self._marks[place.chain] = place.mark
            if place.retired is not None:
                self._note_retired(*place.retired)
        self.waiting_bytes -= sum(len(line.line) + 1 for line in sent)
        self._save()

    def tell(self, events: EventLogger) -> None:
        """Tell what was missed."""
        for chain, records in self._untold:
            events.error(Event.AUDIT_RECORDS_MISSED, audit_chain=chain, audit_lost=records)
        self._untold.clear()

    def close(self) -> None:
        """Nothing is kept open."""

    def _look(self) -> _Files:
        """Return the files that may hold more, by chain; a chain that is new gets a mark."""
        found: _Files = {}
        self.waiting_bytes = 0
        for path in sorted(self._trail.glob(f"*{SEGMENT}")):
            chain, _, number = path.name.removesuffix(SEGMENT).partition(".")
            mark = self._marks.get(chain, Mark())
            files = found.setdefault(chain, [])
            with suppress(ValueError, FileNotFoundError):  # no file of ours; removed meanwhile
                taken = 0 if (file := int(number)) > mark.file else mark.offset
                if file >= mark.file and (more := path.stat().st_size - taken) > 0:
                    self.waiting_bytes += more
                    files.append((file, path))
        if new := found.keys() - self._marks.keys():
            for chain in sorted(self._marks.keys() - found.keys())[:-_MOST_GONE]:
                del self._marks[chain]
            self._marks.update(dict.fromkeys(new, Mark()))
            self._save()
        return found

    def _records(self, found: _Files) -> Iterator[tuple[bytes, _Place]]:
        for chain, files in found.items():
            last = begin = self._marks[chain]
            for line, place in _lines(chain, files, begin):
                gap = place.mark.sequence - last.sequence - 1
                if gap < 0:
                    continue  # it was moved or copied
                if gap and last is not begin:
                    break  # what is before it first: then it is the first, and told once however often it is sent
                if gap:
                    self._miss(chain, gap)
                    self._marks[chain] = begin._replace(sequence=place.mark.sequence - 1)
                last = place.mark
                yield line, place

    def _note_retired(self, chain: str, sequence: int) -> None:
        # Of a chain that has files, the next record tells. Of one that was never seen, nobody waits for anything.
        mark = self._marks.get(chain)
        if mark is not None and sequence > mark.sequence and not any(self._trail.glob(f"{chain}.*{SEGMENT}")):
            self._miss(chain, sequence - mark.sequence)
            self._marks[chain] = mark._replace(sequence=sequence)

    def _miss(self, chain: str, records: int) -> None:
        self.missed += records
        self._untold.append((chain, records))

    def _load(self) -> None:
        # Not before the first look: until this process's turn, another one ships.
        if not self._loaded:
            self._loaded = True
            with suppress(OSError, ValueError, TypeError, AttributeError):  # else all is sent again
                self._marks = {chain: Mark(*mark) for chain, mark in orjson.loads(self._path.read_bytes()).items()}

    def _save(self) -> None:
        draft = self._path.with_suffix(".new")
        with suppress(OSError):  # a full disk: after a restart some is sent again
            draft.write_bytes(orjson.dumps({chain: list(mark) for chain, mark in self._marks.items()}))
            draft.replace(self._path)


def _lines(chain: str, files: list[tuple[int, Path]], begin: Mark) -> Iterator[tuple[bytes, _Place]]:
    """Yield records from a mark on; not what is being written, or no record (``bedside audit verify`` names that)."""
    for number, path in files:
        offset = begin.offset if number == begin.file else 0
        with suppress(FileNotFoundError), path.open("rb") as file:
            file.seek(offset)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                offset += len(line)
                if (place := _place(line, chain, number, offset)) is not None:
                    yield line[:-1], place


def _place(line: bytes, chain: str, file: int, offset: int) -> _Place | None:
    try:
        record = orjson.loads(line)
        place = record["bedside"]["audit"]
        retired = None
        if record["message"] == AuditAction.SEGMENT_RETIRED:
            retired = str(place["retired"]["chain"]), int(place["retired"]["sequence"])
        return _Place(chain, Mark(file, offset, int(place["sequence"])), retired) if place["chain"] == chain else None
    except (ValueError, KeyError, TypeError):
        return None
