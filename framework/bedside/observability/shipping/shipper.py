"""The thread that brings lines into Elasticsearch: in order, as long as it takes, and no line twice."""

import fcntl
import os
import random
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import orjson

from bedside.log_settings import ElasticSettings
from bedside.observability.events import Event
from bedside.observability.logging import EventLogger, get_logger
from bedside.observability.shipping.spool import SpooledLine
from bedside.observability.shipping.verdicts import NotDelivered, Refusal, Verdict


class Source(Protocol):
    """Where lines wait: ``spool.Spool`` for the log, ``trail.Trail`` for the audit trail.

    Attributes:
        folder: of the lock that tells which process ships, and of lines that were refused.
        arrived: set when lines have come.
        look_seconds: longest pause between two looks for lines that nobody announces.
        waiting_lines: how many wait; None where nobody has counted them.
    """

    folder: Path
    arrived: threading.Event
    look_seconds: float

    @property
    def waiting_lines(self) -> int | None: ...  # noqa: D102 - see above

    def head(self, most_lines: int, most_bytes: int) -> list[SpooledLine]:
        """Return the oldest lines, at least one where there are any."""
        ...

    def remove(self, sent: Sequence[SpooledLine]) -> None:
        """Forget lines that :meth:`head` returned."""
        ...

    def tell(self, events: EventLogger) -> None:
        """Log what has gone wrong since the last time."""
        ...

    def close(self) -> None:
        """Close files."""
        ...


class Sender(Protocol):
    """Takes batches; ``bulk.BulkClient`` is one."""

    def send(self, batch: Sequence[SpooledLine]) -> Verdict:
        """Send lines in their order. Raises NotDelivered."""
        ...

    def close(self) -> None:
        """Close connections."""
        ...


class RefusedLines:
    """Lines that will never be taken: appended to a file that a person may look at, up to its largest size."""

    def __init__(self, path: Path, most_bytes: int) -> None:
        self._path = path
        self._most_bytes = most_bytes

    def add(self, refusals: Sequence[Refusal]) -> None:
        """Append them; beyond the size, or on a full disk, they are only counted (by the shipper)."""
        lines = [_told(refusal) for refusal in refusals]
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            with os.fdopen(descriptor, "ab") as file:
                room = self._most_bytes - file.tell()
                for line in lines:
                    room -= len(line)
                    if room >= 0:
                        file.write(line)
        except OSError:
            return


def _told(refusal: Refusal) -> bytes:
    line = refusal.line.line.decode("utf-8", "replace")
    entry = {"status": refusal.status, "error": refusal.error_type, "line": line}
    return orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE)


class Shipper:
    """Runs from :meth:`start` to :meth:`close`. Of several processes with one source, one ships; when it ends, another.

    Args:
        source: where the lines are.
        sender: where they go.
        settings: sizes and pauses.
        name: ``log.logger`` of its events.

    Attributes:
        shipped: lines that Elasticsearch has taken.
        refused: lines that it never will.
    """

    def __init__(
        self, source: Source, sender: Sender, settings: ElasticSettings, name: str = "bedside.shipping"
    ) -> None:
        self._source = source
        self._sender = sender
        self._settings = settings
        self._refusals = RefusedLines(source.folder / "refused.ndjson", settings.refused_bytes)
        self._most_lines = settings.batch_lines
        self._events = get_logger(name)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._failures = 0
        self._down_since: float | None = None
        self._refusing = False
        self.shipped = 0
        self.refused = 0

    def start(self) -> None:
        """Begin to ship."""
        self._thread.start()

    def close(self) -> None:
        """Ship what waits, for ``stop_seconds`` at most, and end; the rest stays for the next start."""
        self._closing.set()
        self._source.arrived.set()
        self._thread.join(timeout=self._settings.stop_seconds)
        if not self._thread.is_alive():
            self._sender.close()
            self._source.close()

    def _run(self) -> None:
        with (self._source.folder / "shipper.lock").open("ab") as lock:
            while not _locked(lock.fileno()):
                if self._closing.wait(self._source.look_seconds):
                    return
            while self._step():
                pass

    def _step(self) -> bool:
        """Ship one batch; tell whether to go on."""
        closing = self._closing.is_set()
        try:
            self._source.arrived.clear()
            batch = self._source.head(self._most_lines, self._settings.batch_bytes)
            self._source.tell(self._events)
            if not batch:
                self._most_lines = self._settings.batch_lines
                return not closing and (self._source.arrived.wait(self._source.look_seconds) or True)
            settled = self._ship(batch)
        except Exception as error:  # noqa: BLE001 - whatever it is, the lines are still there and are tried again
            settled = self._fail(type(error).__name__)
        if not settled:
            return not closing and (self._closing.wait(self._pause()) or True)  # one last attempt
        if len(batch) < self._most_lines and not closing:
            self._closing.wait(self._settings.flush_seconds)
        return True

    def _ship(self, batch: Sequence[SpooledLine]) -> bool:
        try:
            verdict = self._sender.send(batch)
        except NotDelivered as error:
            if not error.too_much:
                return self._fail(error.error_type, error.status)
            if len(batch) > 1:
                self._most_lines = len(batch) // 2
                return True
            verdict = Verdict(1, (Refusal(batch[0], error.status or 0, error.error_type),), None)
        self._settle(batch[: verdict.settled], verdict.refused)
        if verdict.status is not None:
            return self._fail("Refused", verdict.status)
        self._succeed()
        return True

    def _settle(self, lines: Sequence[SpooledLine], refused: Sequence[Refusal]) -> None:
        if refused:
            self._refusals.add(refused)
        self._source.remove(lines)
        self.refused += len(refused)
        self.shipped += len(lines) - len(refused)
        # Told when it begins, not for each: an event is a line, which may be refused as well.
        if refused and not self._refusing:
            first = refused[0]
            self._events.error(
                Event.LOG_LINES_REFUSED, lines=len(refused), status=first.status, error_type=first.error_type
            )
        self._refusing = bool(refused)

    def _fail(self, error_type: str, status: int | None = None) -> bool:
        self._failures += 1
        if self._down_since is None:
            self._down_since = time.monotonic()
            self._events.warning(Event.LOG_SHIPPING_FAILED, error_type=error_type, status=status)
        return False

    def _succeed(self) -> None:
        self._failures = 0
        if self._down_since is not None:
            seconds = round(time.monotonic() - self._down_since, 3)
            self._down_since = None
            self._events.info(Event.LOG_SHIPPING_RESUMED, seconds=seconds, lines=self._source.waiting_lines)

    def _pause(self) -> float:
        doubled = self._settings.retry_seconds * 2.0 ** min(self._failures - 1, 32)
        longest = min(doubled, self._settings.retry_most_seconds)
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - spreads replicas, guards nothing


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
