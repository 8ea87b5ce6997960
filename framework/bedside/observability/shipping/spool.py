"""Lines that wait for Elasticsearch: on disk, in order, within bounds, and still there after ``kill -9``.

A queue in an SQLite file: its write-ahead log has what a spool of one's own would have to be proven to have (a torn
record is recognised by its checksum and left out, a removed prefix is a transaction, a full disk is an error that
changes nothing), and several processes may use one (docs/decisions/0126).
"""

import fcntl
import sqlite3
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from bedside.observability.events import Event
from bedside.observability.logging import EventLogger

_PAGE_BYTES = 4096
_LEAST_PAGES = 16
_WAL_BYTES = 4 * 1024 * 1024
_BUSY_SECONDS = 5.0
_WAITING = "SELECT ifnull((SELECT max(number) FROM lines) - (SELECT min(number) FROM lines) + 1, 0)"  # no scan
_SCHEMA = """
CREATE TABLE IF NOT EXISTS lines (number INTEGER PRIMARY KEY AUTOINCREMENT, line BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS spool (id TEXT NOT NULL);
INSERT INTO spool SELECT '{id}' WHERE NOT EXISTS (SELECT 1 FROM spool);
"""


class SpooledLine(NamedTuple):
    """A line with its place in the queue, and the ``_id`` that it has however often it is sent."""

    number: int
    id: str
    line: bytes


class Spool:
    """The queue. Implements ``writer.ByteStream`` and ``shipper.Source``; thread-safe.

    Args:
        folder: made, for this user alone, where it is missing.
        most_bytes: size of the file from which on nothing is taken.
        fsync: wait for the disk with each write.

    Attributes:
        arrived: set when lines have come.
        full: nothing is taken: what waits has its largest size, or the disk is full.
        damaged: files that were no longer readable and were put aside (the last one is kept).
    """

    def __init__(self, folder: Path, most_bytes: int, *, fsync: bool = False) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder = folder
        self.path = folder / "lines.db"
        self._most_pages = max(most_bytes // _PAGE_BYTES, _LEAST_PAGES)
        self._fsync = fsync
        self._lock = threading.Lock()
        self.arrived = threading.Event()
        self.full = False
        self.damaged = 0
        self._waiting = 0
        self._told_full, self._told_damaged = False, 0
        self._open()

    def write(self, data: bytes | memoryview, /) -> int:
        """Append whole lines. Raises OSError where they cannot be kept; then none of them is."""
        rows = [(line,) for line in bytes(data).split(b"\n") if line]
        try:
            with self._transaction() as database:
                database.executemany("INSERT INTO lines (line) VALUES (?)", rows)
        except sqlite3.Error as error:
            self.full = True
            raise OSError("the spool takes no lines") from error
        self.full = False
        self.arrived.set()
        return len(data)

    def flush(self) -> None:
        """Nothing is kept back."""

    def head(self, most_lines: int, most_bytes: int) -> list[SpooledLine]:
        """Return the oldest lines, at least one where there are any."""
        lines: list[SpooledLine] = []
        size = 0
        with self._transaction() as database, closing(database.cursor()) as cursor:
            for number, line in cursor.execute("SELECT number, line FROM lines ORDER BY number LIMIT ?", (most_lines,)):
                size += len(line)
                if lines and size > most_bytes:
                    break
                lines.append(SpooledLine(number, f"{self._id}-{number}", line))
        return lines

    def remove(self, sent: Sequence[SpooledLine]) -> None:
        """Forget lines that :meth:`head` returned."""
        if sent:
            with self._transaction() as database:
                database.execute("DELETE FROM lines WHERE number <= ?", (sent[-1].number,))

    look_seconds = 1.0
    """Between two looks for what other processes have spooled."""

    @property
    def waiting_lines(self) -> int:
        """Return how many lines waited when this process last wrote, read or removed some; 0 once closed.

        It waits for no lock: metrics ask on the event loop.
        """
        return self._waiting

    def tell(self, events: EventLogger) -> None:
        """Log that it takes no lines, or was damaged; once each time that it begins."""
        if self.full and not self._told_full:
            events.error(Event.LOG_SPOOL_FULL, lines=self._waiting)
        self._told_full = self.full
        if self.damaged > self._told_damaged:
            self._told_damaged = self.damaged
            events.error(Event.LOG_SPOOL_DAMAGED)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()
            self._waiting = 0

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                with self._database:
                    yield self._database
                    self._count(self._database)
            except sqlite3.DatabaseError as error:
                if _is_damage(error):
                    self._put_aside()
                raise

    def _open(self) -> None:
        try:
            self._database = self._connect()
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise
            self._put_aside()

    def _connect(self) -> sqlite3.Connection:
        self.path.touch(mode=0o600)
        self._file = _identity(
            self.path
        )  # before it is opened: where it is replaced meanwhile, this is not the new one
        database = sqlite3.connect(self.path, timeout=_BUSY_SECONDS, check_same_thread=False)
        try:
            database.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
            database.execute("PRAGMA journal_mode = WAL")
            database.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
            # NORMAL: the disk is waited for at checkpoints only; the file is whole in any case.
            database.execute(f"PRAGMA synchronous = {'FULL' if self._fsync else 'NORMAL'}")
            database.execute(f"PRAGMA max_page_count = {self._most_pages}")
            database.executescript(_SCHEMA.format(id=uuid.uuid4().hex))
            (self._id,) = database.execute("SELECT id FROM spool").fetchone()
            self._count(database)
        except BaseException:
            database.close()
            raise
        return database

    def _put_aside(self) -> None:
        with suppress(AttributeError):
            self._database.close()
        with self.path.with_name("damaged.lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # Another process may have done so before: what has its place now is good, and lines wait in it.
            if _identity(self.path) == self._file:
                self.damaged += 1
                for suffix in ("-wal", "-shm"):
                    self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
                self.path.replace(self.path.with_name("damaged.db"))
            self._database = self._connect()

    def _count(self, database: sqlite3.Connection) -> None:
        (self._waiting,) = database.execute(_WAITING).fetchone()


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
