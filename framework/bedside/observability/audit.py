"""The audit trail: who did what, when, with which model and input, and how it ended.

A call costs a line, its hash and an append to a bounded queue; a thread writes them (``audit_chain.py``). The thread
does no more, because the answering one would wait for it: there is one interpreter.
"""

import asyncio
import hashlib
import hmac
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from bedside.audit_settings import AuditSettings
from bedside.errors import AuditUnavailable, ConfigurationError
from bedside.observability.audit_chain import Chain, Link, retire
from bedside.observability.audit_lines import AuditLines, Record
from bedside.observability.audit_strangers import Strangers
from bedside.observability.events import AuditAction, Event
from bedside.observability.logging import get_logger
from bedside.observability.rendering import Service

_CLOSE_SECONDS = 10.0
_COMMIT_SECONDS = 30.0
_DAY_SECONDS = 86400.0
_TIDY_SECONDS = 3600.0
_HASH_CHARACTERS = 16
_BLOCK = 64  # bytes; SHA-256's

_Entry = tuple[Link, "Future[None] | None"]


def caller_hash(key: bytes, issuer: str, subject: str) -> str:
    """Return the pseudonym of a caller, the same in every chain under this key."""
    text = f"caller\0{issuer}\0{subject}".encode(errors="replace")
    return hmac.digest(key, text, "sha256").hex()[:_HASH_CHARACTERS]


class AuditTrail:
    """Implements ``interfaces.AuditSink``. Make it after ``logging.configure``.

    Args:
        folder: of the chains.
        key: at least 32 secret bytes.
        settings: durability, bounds, retention.
        service: who writes.
        clock: seconds since the epoch.

    Attributes:
        strict: whether a call must be recorded before it is answered.
        lost_records: records that found no room.

    Raises:
        ConfigurationError: the folder cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        key: bytes,
        settings: AuditSettings,
        service: Service,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.strict = settings.durability == "strict"
        self.lost_records = 0
        self._folder, self._key, self._settings, self._clock = folder, key, settings, clock
        lines = AuditLines(service, lru_cache(maxsize=4096)(lambda *who: caller_hash(key, *who)), clock)
        synchronise = settings.durability != "relaxed"
        self._chain = Chain(folder, key, lines, segment_bytes=settings.segment_bytes, synchronise=synchronise)
        self._strangers = Strangers(settings.strangers_per_minute)
        self._log = get_logger("bedside.audit").bind()
        self._queue: deque[_Entry] = deque()
        self._order = threading.Lock()  # records stand in the queue as in the chain
        self._told_lost = 0
        self._failing = False
        self._anchored, self._tidied = -1, float("-inf")
        self._anchor_due = clock() + settings.anchor_seconds
        self._closing = False
        self._wake = threading.Event()
        # HMAC by its two halves, begun once: `hmac.digest` begins them for each input, which costs as much as a record.
        block = (key if len(key) <= _BLOCK else hashlib.sha256(key).digest()).ljust(_BLOCK, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))
        try:
            self._chain.write([self._chain.link(Record(AuditAction.CHAIN_OPENED, None, {}))])
        except OSError as error:
            raise ConfigurationError(f"it cannot be written ({type(error).__name__})", field="audit.folder") from None
        self._segment = self._chain.segment
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._thread.start()

    def fingerprint(self, parts: Sequence[bytes]) -> str:
        """Return HMAC-SHA-256 (RFC 2104) of an input, its parts in order."""
        inner = self._inner.copy()
        for part in parts:
            if len(parts) > 1:
                inner.update(len(part).to_bytes(8, "big"))  # where one ends and the next begins
            inner.update(part)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.hexdigest()

    def record(self, record: Record) -> None:
        """Add a record; never blocks and never raises."""
        if self._admits(record):
            self._add(record)

    async def commit(self, record: Record) -> None:
        """Add a record, and wait until it is on the disk.

        Raises:
            AuditUnavailable: it could not be written, or was not within half a minute.
        """
        if not self._admits(record):
            return
        done: Future[None] = Future()
        if not self._add(record, done):
            raise AuditUnavailable
        self._wake.set()
        try:
            await asyncio.wait_for(asyncio.wrap_future(done), _COMMIT_SECONDS)
        except TimeoutError:
            raise AuditUnavailable from None

    def close(self) -> None:
        """Write what is kept, end the chain, and tell its head to the log."""
        self._closing = True
        self._wake.set()
        self._thread.join(_CLOSE_SECONDS)

    def _admits(self, record: Record) -> bool:
        # Nobody asked for a bundle's judgement, nor for the run of a job by itself.
        known = record.who is not None or record.action is AuditAction.BUNDLE_JUDGED or bool(record.same.get("job"))
        return known or self._strangers.admits(self._clock())

    def _add(self, record: Record, done: "Future[None] | None" = None) -> bool:
        with self._order:
            if self._closing or len(self._queue) >= self._settings.backlog_records:
                self.lost_records += 1
                return False
            try:
                self._queue.append((self._chain.link(record), done))
            except Exception as error:  # noqa: BLE001 - a record that has no line must not stop the call
                self.lost_records += 1
                self._fail(error)
                return False
        return True

    def _add_own(self, action: AuditAction, **facts: Any) -> None:
        with self._order:  # though the queue is full, or being ended
            self._queue.append((self._chain.link(Record(action, None, facts)), None))

    def _run(self) -> None:
        while not self._closing:
            self._wake.wait(self._settings.flush_seconds)
            self._wake.clear()
            try:
                self._drain()
                self._shorten()
                self._look_around()
            except Exception as error:  # noqa: BLE001 - without this thread, nothing would be recorded any more
                self._fail(error)
        self._drain()
        self._end()

    def _drain(self) -> None:
        """Write the queue, and how many records were lost, once there is room to say it."""
        lost = self.lost_records - self._told_lost
        if self._write() and lost:
            self._add_own(AuditAction.RECORDS_LOST, audit_lost=lost)
            self._told_lost += lost
            self._write()

    def _write(self, *, closing: bool = False) -> bool:
        """Write the queue; tell whether that went well. What could not be written stays in it."""
        entries = list(islice(self._queue, len(self._queue)))  # others append meanwhile
        if not entries:
            return True
        try:
            self._chain.write([link for link, _ in entries], closing=closing)
        except OSError as error:
            self._fail(error, entries)
            return False
        self._failing = False
        for _ in entries:
            _, done = self._queue.popleft()
            if done is not None:
                with suppress(InvalidStateError):  # it has been answered, or has gone
                    done.set_result(None)
        return True

    def _fail(self, error: Exception, entries: Sequence[_Entry] = ()) -> None:
        if not self._failing:
            self._log.error(Event.AUDIT_WRITE_FAILED, error_type=type(error).__name__)
        self._failing = True
        for _, done in entries:  # whoever waits is answered with 503; the record is written when there is room again
            if done is not None:
                with suppress(InvalidStateError):
                    done.set_exception(AuditUnavailable())

    def _look_around(self) -> None:
        now = self._clock()
        if not self._failing:  # or what is told would pile up beyond the backlog; the count is kept
            self._tell_strangers(self._strangers.beyond(now))
        if now >= self._anchor_due:
            self._anchor_due = now + self._settings.anchor_seconds
            self._anchor()
        if now >= self._tidied + _TIDY_SECONDS:
            self._tidied = now
            before = now - self._settings.retention_days * _DAY_SECONDS
            for chain, sequence in retire(self._folder, self._chain.id, before):
                facts = {"retired_chain": chain, "retired_sequence": sequence}
                self._add(Record(AuditAction.SEGMENT_RETIRED, None, facts))

    def _tell_strangers(self, beyond: int) -> None:
        if beyond:
            self._add_own(AuditAction.STRANGERS_COUNTED, audit_strangers=beyond)

    def _shorten(self) -> None:
        if self._chain.segment == self._segment:
            return
        self._segment = self._chain.segment
        beyond = self._chain.beyond(self._settings.chain_bytes)
        if beyond:
            last = max(sequence for _, sequence in beyond)
            # Before they go: a file that is missing must never be unexplained.
            self._add_own(AuditAction.SEGMENT_RETIRED, retired_chain=self._chain.id, retired_sequence=last)
            if not self._write():
                return
        for path, _ in beyond:
            path.unlink()

    def _anchor(self) -> None:
        head = self._chain.head
        if head.sequence != self._anchored:
            self._anchored = head.sequence
            told = {"audit_chain": head.chain, "audit_sequence": head.sequence, "audit_head": head.digest}
            self._log.info(Event.AUDIT_ANCHORED, **told)

    def _end(self) -> None:
        left = len(self._queue)
        self._tell_strangers(self._strangers.beyond())
        self._add_own(AuditAction.CHAIN_CLOSED)
        if not self._write(closing=True):
            self.lost_records += left
        self._chain.close()
        self._anchor()
