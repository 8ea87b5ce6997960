"""The trail: records on their way to the disk, and what becomes of them when there is none."""

import asyncio
import hmac
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from tests.emitted import check_lines, faults
from tests.unit.observability.conftest import Capture
from tests.waiting import PATIENCE_SECONDS

from bedside.audit_settings import AuditSettings
from bedside.errors import AuditUnavailable, ConfigurationError
from bedside.observability.audit import AuditTrail, caller_hash
from bedside.observability.audit_chain import Chain
from bedside.observability.audit_lines import AuditLines, Record
from bedside.observability.audit_reading import Verifier, records
from bedside.observability.events import AuditAction
from bedside.observability.rendering import Service
from bedside.observability.schema import AUDIT_RULES
from bedside.types import Principal

KEY = b"k" * 32
SERVICE = Service("100%", "test")
SOMEBODY = Principal("alice@example.org", "https://issuer", frozenset(), 4e9)
SAME = {"transport": "rest", "operation": "predict", "outcome": "success", "model": "a.b", "version": None}
VARYING = {"request_id": "a" * 32, "input_hash": "f" * 64, "rows": 2}


class Disk:
    """Stands in for ``Chain.write``: fails as long as it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        self.tried = threading.Event()
        write = Chain.write

        def trying(chain: Chain[Any], found: Any, *, closing: bool = False) -> None:
            try:
                if self.full:
                    raise OSError(28, "full")
                write(chain, found, closing=closing)
            finally:
                self.tried.set()

        monkeypatch.setattr(Chain, "write", trying)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    """Return a disk that may be full."""
    return Disk(monkeypatch)


@pytest.fixture
def captured(capture: Callable[..., Capture]) -> Capture:
    """Return the log."""
    return capture()


def trail(folder: Path, **changes: Any) -> AuditTrail:
    """Return a trail that waits until it is told to write."""
    return AuditTrail(folder, KEY, AuditSettings(**{"flush_seconds": 1000, **changes}), SERVICE)


def actions(folder: Path) -> list[str]:
    """Return what was recorded."""
    return [record["message"] for record in records(folder)]


@pytest.mark.parametrize("durability", ["relaxed", "interval", "strict"])
def test_records_are_chained_and_the_end_is_anchored(tmp_path: Path, captured: Capture, durability: str) -> None:
    """In order, by the schema, readable for their owner alone; the log tells the head."""
    made = trail(tmp_path, durability=durability)
    made.record(Record(AuditAction.MODEL_CALLED, SOMEBODY, SAME, VARYING))
    made.close()
    assert actions(tmp_path) == ["chain_opened", "model_called", "chain_closed"]
    assert Verifier(tmp_path, KEY).findings() == []
    (path,) = tmp_path.glob("*.jsonl")
    assert path.stat().st_mode & 0o777 == 0o600
    assert not [fault for line in path.read_bytes().splitlines() for fault in faults(line, "audit")]
    assert captured.record["bedside"]["audit"]["sequence"] == 2
    check_lines(captured.text.encode())


def test_caller_is_a_pseudonym(tmp_path: Path, captured: Capture) -> None:
    """The same for the same caller, and nobody's name."""
    made = trail(tmp_path)
    made.record(
        Record(AuditAction.ACCESS_REFUSED, SOMEBODY, {"outcome": "failure", "error_code": "insufficient_scope"})
    )
    made.close()
    (record,) = (record for record in records(tmp_path) if "user" in record)
    assert record["user"]["hash"] == caller_hash(KEY, SOMEBODY.issuer, SOMEBODY.subject)
    assert "alice" not in json.dumps(record)


def test_fingerprint_is_hmac_and_keeps_parts_apart(tmp_path: Path, captured: Capture) -> None:
    """RFC 2104, also with a key that is longer than a block; ``ab, c`` is another input than ``a, bc``."""
    made = trail(tmp_path)
    assert made.fingerprint([b"input"]) == hmac.digest(KEY, b"input", "sha256").hex()
    assert made.fingerprint([b"ab", b"c"]) != made.fingerprint([b"a", b"bc"])
    made.close()
    other = AuditTrail(tmp_path, b"l" * 100, AuditSettings(), SERVICE)
    assert other.fingerprint([b"input"]) == hmac.digest(b"l" * 100, b"input", "sha256").hex()
    other.close()


@pytest.mark.parametrize("who", [SOMEBODY, None], ids=["known", "unknown"])
def test_short_way_gives_the_line_of_the_long_way(who: Principal | None) -> None:
    """First from a fresh template, then from a kept one; what has no hash of an input takes the long way."""
    now = [0.0]
    lines = AuditLines(SERVICE, lambda *_: "ab", lambda: now[0])
    for now[0], rows in ((1.8e9 + 0.25, 2), (1.8e9 + 1.5, 3)):
        record = Record(AuditAction.MODEL_CALLED, who, SAME, {**VARYING, "rows": rows})
        long = Record(AuditAction.MODEL_CALLED, who, {**SAME, **VARYING, "rows": rows})
        line = lines(record, "c", 7, "0" * 64)
        assert json.loads(line) == json.loads(lines(long, "c", 7, "0" * 64))
        assert not faults(line, "audit")
    assert len(lines._templates) == 1
    odd = Record(AuditAction.MODEL_CALLED, who, SAME, {**VARYING, "request_id": "DOE^JOHN"})
    assert b"DOE" not in lines(odd, "c", 7, "0" * 64)


def test_templates_do_not_pile_up() -> None:
    """More models than templates cost time, not memory."""
    lines = AuditLines(SERVICE, lambda *_: "ab")
    for number in range(1100):
        lines(Record(AuditAction.MODEL_CALLED, None, {**SAME, "model": str(number)}, VARYING), "c", 0, "0" * 64)
    assert len(lines._templates) <= 1024


def test_actions_are_those_of_the_schema() -> None:
    """A type checker sees a misspelt one; this sees one that the schema or the code lacks."""
    assert [action.value for action in AuditAction] == list(AUDIT_RULES)


def test_full_disk_is_told_once_and_costs_nothing_that_has_room(tmp_path: Path, captured: Capture, disk: Disk) -> None:
    """Records wait; those beyond the backlog are counted, and told in the trail once it can be written again."""
    made = trail(tmp_path, backlog_records=2)
    disk.full = True
    for _ in range(5):
        made.record(Record(AuditAction.MODEL_CALLED, None, SAME, VARYING))
    for _ in range(2):
        disk.tried.clear()
        made._wake.set()
        assert disk.tried.wait(PATIENCE_SECONDS)
    assert made.lost_records == 3
    disk.full = False
    made.close()
    assert actions(tmp_path) == ["chain_opened", "model_called", "model_called", "records_lost", "chain_closed"]
    assert Verifier(tmp_path, KEY).findings() == []
    events = [record["message"] for record in captured.records]
    assert events == ["audit_write_failed", "audit_anchored"]


async def test_strangers_do_not_push_out_the_records_of_others(tmp_path: Path, captured: Capture) -> None:
    """A flood without a token is told as a number; callers that are known, runs of jobs and bundles are recorded."""
    made = trail(tmp_path, strangers_per_minute=2, durability="strict")
    refused = {"transport": "rest", "operation": "predict", "outcome": "failure", "error_code": "missing_token"}
    for _ in range(500):
        made.record(Record(AuditAction.ACCESS_REFUSED, None, refused))
    await made.commit(Record(AuditAction.ACCESS_REFUSED, None, refused))
    made.record(Record(AuditAction.ACCESS_REFUSED, SOMEBODY, refused))
    made.record(Record(AuditAction.MODEL_CALLED, None, {**SAME, "job": "a" * 32}, VARYING))
    judged = {"outcome": "success", "model": "a", "version": "1", "trust": "pinned"}
    made.record(Record(AuditAction.BUNDLE_JUDGED, None, judged))
    await asyncio.to_thread(made.close)
    kept = [*["access_refused"] * 3, "model_called", "bundle_judged", "strangers_counted"]
    assert actions(tmp_path) == ["chain_opened", *kept, "chain_closed"]
    (counted,) = (record for record in records(tmp_path) if record["message"] == "strangers_counted")
    assert counted["bedside"]["audit"]["strangers"] == 499
    assert Verifier(tmp_path, KEY).findings() == []


def test_disk_that_stays_full_fills_nothing(tmp_path: Path, captured: Capture, disk: Disk) -> None:
    """What was lost is told once, not at each try; what waits keeps within the backlog and one file."""
    made = trail(tmp_path, backlog_records=3, segment_bytes=1, chain_bytes=1)
    disk.full = True
    for number in range(9):
        made.record(Record(AuditAction.MODEL_CALLED, None, SAME, {**VARYING, "rows": number}))
        made._drain()
        made._shorten()
    made._strangers = Mock(beyond=Mock(return_value=1))  # each look around finds some to tell of
    made._look_around()
    assert len(made._queue) == 3
    made.close()
    assert actions(tmp_path) == ["chain_opened"]
    assert made.lost_records == 6 + 3


def test_half_a_write_is_taken_back(tmp_path: Path, captured: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same records are written whole the next time, and the chain holds."""
    made = trail(tmp_path)
    made.record(Record(AuditAction.MODEL_CALLED, None, SAME, VARYING))
    fsync = os.fsync
    failures = iter([OSError(5, "io")])

    def failing(descriptor: int) -> None:
        for failure in failures:
            raise failure
        fsync(descriptor)

    monkeypatch.setattr("bedside.observability.audit_chain.os.fsync", failing)
    with pytest.raises(OSError, match="io"):
        made._chain.write([link for link, _ in made._queue])
    made.close()
    assert Verifier(tmp_path, KEY).findings() == []
    assert actions(tmp_path) == ["chain_opened", "model_called", "chain_closed"]


async def test_strict_call_waits_until_it_is_written(tmp_path: Path, captured: Capture) -> None:
    """Though the thread would have waited for more."""
    made = trail(tmp_path, durability="strict")
    await made.commit(Record(AuditAction.MODEL_CALLED, SOMEBODY, SAME, VARYING))
    assert actions(tmp_path) == ["chain_opened", "model_called"]
    await asyncio.to_thread(made.close)


async def test_strict_call_that_cannot_be_recorded_is_refused(tmp_path: Path, captured: Capture, disk: Disk) -> None:
    """On a full disk, and where the backlog is full of others."""
    made = trail(tmp_path, durability="strict", backlog_records=1)
    disk.full = True
    for _ in range(2):
        with pytest.raises(AuditUnavailable):
            await made.commit(Record(AuditAction.MODEL_CALLED, SOMEBODY, SAME, VARYING))
    assert made.lost_records == 1
    await asyncio.to_thread(made.close)
    assert made.lost_records == 2


async def test_record_without_a_line_and_a_folder_in_disorder_stop_nothing(
    tmp_path: Path, captured: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What nobody thought of costs its records, which are told; the thread goes on, and later calls are answered."""
    monkeypatch.setattr("bedside.observability.audit.retire", Mock(side_effect=RuntimeError))
    made = trail(tmp_path, durability="strict")
    with monkeypatch.context() as patch:
        patch.setattr(AuditLines, "__call__", Mock(side_effect=RuntimeError))
        with pytest.raises(AuditUnavailable):
            await made.commit(Record(AuditAction.MODEL_CALLED, SOMEBODY, SAME, VARYING))
    await made.commit(Record(AuditAction.MODEL_CALLED, SOMEBODY, SAME, VARYING))
    await asyncio.to_thread(made.close)
    assert made.lost_records == 1
    assert actions(tmp_path) == ["chain_opened", "model_called", "records_lost", "chain_closed"]
    assert captured.records[0]["message"] == "audit_write_failed"


async def test_strict_call_does_not_wait_for_ever(
    tmp_path: Path, captured: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a disk that hangs."""
    monkeypatch.setattr("bedside.observability.audit._COMMIT_SECONDS", 0.01)
    hanging = threading.Event()
    made = trail(tmp_path, durability="strict")
    monkeypatch.setattr(made._chain, "write", lambda *_, **__: hanging.wait(10))
    with pytest.raises(AuditUnavailable):
        await made.commit(Record(AuditAction.MODEL_CALLED, SOMEBODY, SAME, VARYING))
    hanging.set()
    await asyncio.to_thread(made.close)


def test_folder_that_cannot_be_written_is_told_at_the_start(tmp_path: Path) -> None:
    """Not by the first call."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be written"):
        trail(tmp_path / "file" / "audit")


def test_anchors_and_retention_are_looked_after(tmp_path: Path, captured: Capture) -> None:
    """The head is told from time to time, where it has changed; old files go, and that is recorded."""
    moment = 1.7e9
    old = AuditTrail(tmp_path, KEY, AuditSettings(), SERVICE)
    old.close()
    settings = AuditSettings(flush_seconds=1000, anchor_seconds=10, retention_days=1)
    made = AuditTrail(tmp_path, KEY, settings, SERVICE, lambda: moment)
    made._closing = True
    made._wake.set()
    made._thread.join(PATIENCE_SECONDS)
    moment = 4e9
    made._closing = False
    made._look_around()
    made._look_around()
    assert [json.loads(link.line)["message"] for link, _ in made._queue] == [AuditAction.SEGMENT_RETIRED]
    assert [record["message"] for record in captured.records] == ["audit_anchored"] * 2


def test_long_chain_loses_its_oldest_files_and_says_so(tmp_path: Path, captured: Capture) -> None:
    """It stays below its bound but for two files; what is left verifies, and what went is explained."""
    made = trail(tmp_path, segment_bytes=2000, chain_bytes=6000)
    for number in range(200):
        made.record(Record(AuditAction.MODEL_CALLED, SOMEBODY, SAME, {**VARYING, "rows": number}))
        if number % 5 == 4:
            made._drain()
            made._shorten()
    made.close()
    files = [path for path in tmp_path.iterdir() if path.name.endswith(".jsonl")]
    assert 2 <= len(files) < 10
    assert AuditAction.SEGMENT_RETIRED in actions(tmp_path)
    assert [finding for finding in Verifier(tmp_path, KEY).findings() if finding.broken] == []
