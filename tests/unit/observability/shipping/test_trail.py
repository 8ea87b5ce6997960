"""The audit trail read for Elasticsearch: each record, from where it was left, and what was gone before is told."""

from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from tests.unit.observability.conftest import Capture
from tests.unit.observability.shipping.test_shipper import SETTINGS, Cluster

from bedside.observability.audit_chain import Chain
from bedside.observability.audit_lines import AuditLines, Record
from bedside.observability.events import AuditAction
from bedside.observability.logging import get_logger
from bedside.observability.rendering import Service
from bedside.observability.shipping.shipper import Shipper
from bedside.observability.shipping.trail import Trail

KEY = b"k" * 32
SAME = {"transport": "rest", "operation": "predict", "outcome": "success", "request_id": "ab"}


def opened(folder: Path, *, segment_bytes: int = 10**6) -> Chain[Record]:
    """Return an empty chain."""
    render = AuditLines(Service("b", "test"), lambda *_: "ab")
    return Chain(folder, KEY, render, segment_bytes=segment_bytes, synchronise=False)


def write(chain: Chain[Record], count: int) -> None:
    """Add records, each written by itself."""
    for _ in range(count):
        chain.write([chain.link(Record(AuditAction.MODEL_CALLED, None, SAME))])


def retired(chain: Chain[Record], about: Chain[Record], sequence: int) -> None:
    """Record in one chain that a file of another was removed."""
    facts = {"retired_chain": about.id, "retired_sequence": sequence}
    chain.write([chain.link(Record(AuditAction.SEGMENT_RETIRED, None, facts))])


def taken(trail: Trail, most_lines: int = 100, most_bytes: int = 10**6) -> list[str]:
    """Take one batch; return its ids."""
    batch = trail.head(most_lines, most_bytes)
    trail.remove(batch)
    return [line.id for line in batch]


def ids(chain: Chain[Record], *sequences: int) -> list[str]:
    """Return the ids of records."""
    return [f"{chain.id}-{sequence}" for sequence in sequences]


def files(folder: Path, chain: Chain[Record]) -> list[Path]:
    """Return a chain's files."""
    return sorted(folder.glob(f"{chain.id}.*.jsonl"))


def test_every_record_is_taken_once_in_the_order_of_its_chain(tmp_path: Path) -> None:
    """Over several files, as they are on the disk; what comes later is found later."""
    chain, trail = opened(tmp_path, segment_bytes=900), Trail(tmp_path)
    write(chain, 5)
    assert len(files(tmp_path, chain)) > 2
    whole = b"".join(path.read_bytes() for path in files(tmp_path, chain))
    assert [line.line for line in trail.head(100, 10**6)] == whole.splitlines()
    assert trail.waiting_bytes == len(whole)
    assert taken(trail, most_lines=2) == ids(chain, 0, 1)
    assert taken(trail) == ids(chain, 2, 3, 4)
    assert trail.waiting_bytes == 0
    assert taken(trail) == []
    write(chain, 1)
    assert taken(trail) == ids(chain, 5)
    assert trail.missed == 0


def test_batches_hold_records_of_several_chains_within_their_bytes(tmp_path: Path) -> None:
    """A thousand short chains are no thousand requests; one record goes however large it is."""
    first, second = sorted((opened(tmp_path), opened(tmp_path)), key=lambda chain: chain.id)
    write(first, 2)
    write(second, 2)
    trail = Trail(tmp_path)
    assert [line.id for line in trail.head(100, 1)] == ids(first, 0)
    assert taken(trail) == ids(first, 0, 1) + ids(second, 0, 1)


def test_what_was_not_confirmed_comes_again(tmp_path: Path) -> None:
    """Also for the next process; what was confirmed comes never again, though only a part of a batch was."""
    chain = opened(tmp_path)
    write(chain, 4)
    trail = Trail(tmp_path)
    trail.remove(trail.head(100, 10**6)[:2])
    assert [line.id for line in Trail(tmp_path).head(100, 10**6)] == ids(chain, 2, 3)
    assert [line.id for line in Trail(tmp_path).head(100, 10**6)] == ids(chain, 2, 3)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"a":[0,0]}', b'{"a":"x"}'])
def test_marks_that_cannot_be_read_have_all_sent_again(tmp_path: Path, content: bytes) -> None:
    """Under the same ids."""
    chain = opened(tmp_path)
    write(chain, 2)
    assert taken(Trail(tmp_path)) == ids(chain, 0, 1)
    (tmp_path / "shipping" / "marks.json").write_bytes(content)
    assert taken(Trail(tmp_path)) == ids(chain, 0, 1)


def test_marks_that_cannot_be_written_are_remembered(tmp_path: Path) -> None:
    """A full disk has nothing sent twice by the same process."""
    chain, trail = opened(tmp_path), Trail(tmp_path)
    write(chain, 1)
    (tmp_path / "shipping" / "marks.new").mkdir()
    assert taken(trail) == ids(chain, 0)
    assert taken(trail) == []


def test_a_line_that_is_being_written_is_left_for_later(tmp_path: Path) -> None:
    """And so is what a killed process has left half."""
    chain, trail = opened(tmp_path), Trail(tmp_path)
    write(chain, 2)
    (path,) = files(tmp_path, chain)
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    assert taken(trail) == ids(chain, 0)
    path.write_bytes(whole)
    assert taken(trail) == ids(chain, 1)


@pytest.mark.parametrize("damage", [b"no record\n", b"{}\n", b'{"message":"x","bedside":{"audit":{"chain":"y"}}}\n'])
def test_what_is_no_record_holds_nothing_up(tmp_path: Path, damage: bytes) -> None:
    """Elasticsearch would refuse a whole request for it; what had been there is told as missed."""
    chain, trail = opened(tmp_path), Trail(tmp_path)
    write(chain, 3)
    (path,) = files(tmp_path, chain)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + damage + lines[0] + lines[2])
    assert taken(trail) == ids(chain, 0)
    assert taken(trail) == ids(chain, 2)
    assert trail.missed == 1


def test_files_that_were_removed_before_are_told_once(tmp_path: Path, capture: Callable[..., Capture]) -> None:
    """However often what follows has to be sent; a process that comes after tells again what nobody confirmed."""
    captured = capture()
    chain, trail = opened(tmp_path, segment_bytes=1), Trail(tmp_path)
    write(chain, 6)
    assert taken(trail, most_lines=1) == ids(chain, 0)
    for path in files(tmp_path, chain)[:4]:
        path.unlink()
    for _ in range(2):
        assert [line.id for line in trail.head(100, 10**6)] == ids(chain, 4, 5)
        trail.tell(get_logger("x"))
    (told,) = captured.records
    assert (told["message"], told["bedside"]["audit"]) == ("audit_records_missed", {"chain": chain.id, "lost": 3})
    again = Trail(tmp_path)
    assert taken(again) == ids(chain, 4, 5)
    assert (trail.missed, again.missed) == (3, 3)
    taken(last := Trail(tmp_path))
    assert last.missed == 0


def test_a_chain_that_is_gone_is_told_by_the_one_that_recorded_it(tmp_path: Path) -> None:
    """File after file, as far as it was not taken; of a chain that is still there, its own next record tells."""
    victim, chain, trail = opened(tmp_path, segment_bytes=1), opened(tmp_path), Trail(tmp_path)
    write(victim, 4)
    trail.remove(trail.head(1, 10**6))
    files(tmp_path, victim)[1].unlink()
    retired(chain, victim, 1)
    trail.head(1, 1)
    assert trail.missed == 1
    for path in files(tmp_path, victim):
        path.unlink()
    retired(chain, victim, 2)
    retired(chain, victim, 3)
    assert taken(trail) == ids(chain, 0, 1, 2)
    assert trail.missed == 3


def test_a_chain_that_was_taken_or_never_seen_is_no_loss(tmp_path: Path) -> None:
    """Retention removes what Elasticsearch has, and what was there before anybody shipped."""
    seen, chain = opened(tmp_path), opened(tmp_path)
    write(seen, 2)
    trail = Trail(tmp_path)
    taken(trail)
    files(tmp_path, seen)[0].unlink()
    retired(chain, seen, 1)
    retired(chain, opened(tmp_path), 9)
    assert taken(trail) == ids(chain, 0, 1)
    assert trail.missed == 0


def test_marks_of_chains_that_are_gone_do_not_pile_up(tmp_path: Path) -> None:
    """The oldest go first."""
    gone = {f"{number:08d}": [0, 0, 0] for number in range(1200)}
    (tmp_path / "shipping").mkdir()
    (tmp_path / "shipping" / "marks.json").write_bytes(orjson.dumps(gone))
    chain = opened(tmp_path)
    write(chain, 1)
    Trail(tmp_path).head(1, 1)
    kept = orjson.loads((tmp_path / "shipping" / "marks.json").read_bytes())
    assert sorted(kept) == sorted([*(f"{number:08d}" for number in range(200, 1200)), chain.id])


def test_the_shipper_takes_what_is_there_at_the_end(tmp_path: Path, capture: Callable[..., Capture]) -> None:
    """Closing sends the chain's last record, though it came a moment ago."""
    capture()
    chain, trail, cluster = opened(tmp_path), Trail(tmp_path), Cluster()
    write(chain, 3)
    shipper = Shipper(trail, cluster, SETTINGS)
    shipper.start()
    cluster.wait(3)
    write(chain, 2)
    shipper.close()
    assert cluster.taken == files(tmp_path, chain)[0].read_bytes().splitlines()
    assert (shipper.shipped, trail.waiting_bytes, cluster.closed) == (5, 0, True)
