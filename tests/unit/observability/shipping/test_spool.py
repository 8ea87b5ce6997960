"""A queue on disk that survives what happens to processes and disks."""

import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedside.observability.shipping.spool import Spool

MEBIBYTE = 1024 * 1024


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    """Return an empty one."""
    spool = Spool(tmp_path / "spool", MEBIBYTE)
    yield spool
    spool.close()


def waiting(spool: Spool) -> list[bytes]:
    """Return the lines that wait."""
    return [entry.line for entry in spool.head(10**6, 10**9)]


def test_lines_come_out_in_their_order(spool: Spool) -> None:
    """Across writes; a line end too many, as after one that was cut off, is no line."""
    spool.write(b"one\ntwo\n")
    spool.write(b"\nthree\n")
    assert waiting(spool) == [b"one", b"two", b"three"]
    assert spool.waiting_lines == 3


def test_a_batch_keeps_its_bounds(spool: Spool) -> None:
    """So many lines, so many bytes, but one line at least."""
    spool.write(b"aaaa\nbbbb\ncccc\n")
    assert [entry.line for entry in spool.head(2, 100)] == [b"aaaa", b"bbbb"]
    assert [entry.line for entry in spool.head(9, 8)] == [b"aaaa", b"bbbb"]
    assert [entry.line for entry in spool.head(9, 1)] == [b"aaaa"]


def test_a_line_has_one_id_for_ever(spool: Spool, tmp_path: Path) -> None:
    """Looked at again, after a restart; and no other line ever gets it, not in another spool either."""
    spool.write(b"one\n")
    (first,) = spool.head(9, 99)
    again = Spool(tmp_path / "spool", MEBIBYTE)
    assert again.head(9, 99) == [first]
    again.remove([first])
    again.write(b"one\n")
    (second,) = again.head(9, 99)
    again.close()
    other = Spool(tmp_path / "other", MEBIBYTE)
    other.write(b"one\n")
    (elsewhere,) = other.head(9, 99)
    other.close()
    assert len({first.id, second.id, elsewhere.id}) == 3


@settings(max_examples=30)
@given(
    st.lists(
        st.one_of(st.lists(st.binary(min_size=1, max_size=40), max_size=8), st.integers(0, 12)),
        max_size=20,
    )
)
def test_it_is_a_queue(tmp_path_factory: pytest.TempPathFactory, steps: list[list[bytes] | int]) -> None:
    """Whatever is written and removed, what is left is what a list would hold; reopened, it still is."""
    folder = tmp_path_factory.mktemp("queue")
    spool, model = Spool(folder, MEBIBYTE), list[bytes]()
    for step in steps:
        if isinstance(step, int):
            spool.remove(spool.head(step, 10**6) if step else [])
            model = model[step:]
        else:
            lines = [line.replace(b"\n", b"-") for line in step]
            spool.write(b"".join(line + b"\n" for line in lines))
            model += lines
    spool.close()
    spool = Spool(folder, MEBIBYTE)
    assert waiting(spool) == model
    assert spool.waiting_lines == len(model)
    spool.close()


def test_a_full_spool_takes_nothing_until_there_is_room(tmp_path: Path) -> None:
    """It keeps what it has, in order, and its file stays within its bound."""
    spool = Spool(tmp_path, 256 * 1024)
    block = b"".join(b"%06d %s\n" % (number, b"x" * 500) for number in range(100))
    taken = 0
    with pytest.raises(OSError, match="takes no lines"):  # noqa: PT012 - which write meets the bound is SQLite's
        while True:
            spool.write(block)
            taken += 100
    assert spool.full
    assert 300 <= taken == spool.waiting_lines <= 512
    assert spool.path.stat().st_size <= 256 * 1024
    spool.remove(spool.head(200, 10**6))
    assert spool.write(block)
    assert not spool.full
    assert spool.waiting_lines == taken - 100
    spool.close()


def test_a_full_disk_costs_the_write_and_nothing_else(tmp_path: Path) -> None:
    """What is there stays, and is sent; shown by the limit on a process' files."""
    script = """
import resource, signal, sys
from pathlib import Path
from bedside.observability.shipping.spool import Spool
spool = Spool(Path(sys.argv[1]), 10**9)
spool.write(b"kept\\n")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    spool.write(b"x" * 200_000 + b"\\n")
except OSError:
    print("refused", spool.full, [entry.line for entry in spool.head(9, 99)])
"""
    run = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "refused True [b'kept']"
    spool = Spool(tmp_path, MEBIBYTE)
    assert waiting(spool) == [b"kept"]
    spool.close()


def test_kill_9_loses_nothing_that_was_taken(tmp_path: Path) -> None:
    """Whatever was told to have been taken is there, in order; at most the write under way is there too."""
    script = """
import sys
from pathlib import Path
from bedside.observability.shipping.spool import Spool
spool = Spool(Path(sys.argv[1]), 10**9)
number = 0
while True:
    spool.write(b"".join(b"%d\\n" % line for line in range(number, number + 10)))
    number += 10
    print(number, flush=True)
"""
    writing = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE)
    assert writing.stdout is not None
    for told in writing.stdout:
        if int(told) >= 2000:
            break
    writing.send_signal(signal.SIGKILL)
    rest = writing.communicate()[0].split()
    taken = int(rest[-1]) if rest else 2000
    spool = Spool(tmp_path, MEBIBYTE * 100)
    found = [int(line) for line in waiting(spool)]
    spool.close()
    assert found == list(range(len(found)))
    assert len(found) in {taken, taken + 10}


@pytest.mark.parametrize("cut", [1, 700, 5000])
def test_a_torn_last_record_costs_that_record(tmp_path: Path, cut: int) -> None:
    """As a power failure leaves it: the log of writes ends in the middle of one."""
    spool = Spool(tmp_path / "whole", MEBIBYTE)
    for number in range(5):
        spool.write(b"%d %s\n" % (number, b"x" * 3000))
    torn = tmp_path / "torn"
    torn.mkdir()
    for suffix in ("", "-wal"):
        source = Path(f"{spool.path}{suffix}")
        data = source.read_bytes()
        (torn / source.name).write_bytes(data[:-cut] if suffix else data)
    spool.close()
    spool = Spool(torn, MEBIBYTE)
    found = [line[:1] for line in waiting(spool)]
    assert found == [b"0", b"1", b"2", b"3", b"4"][: len(found)]
    assert 3 <= len(found) < 5
    spool.write(b"next\n")
    assert waiting(spool)[-1] == b"next"
    spool.close()


def test_a_file_that_is_no_spool_is_put_aside(tmp_path: Path) -> None:
    """Log lines must not keep a server from starting; what was there can be looked at."""
    (tmp_path / "lines.db").write_bytes(b"not a database " * 1000)
    spool = Spool(tmp_path, MEBIBYTE)
    spool.write(b"one\n")
    assert waiting(spool) == [b"one"]
    assert spool.damaged == 1
    assert (tmp_path / "damaged.db").read_bytes().startswith(b"not a database")
    spool.close()


def test_a_file_that_is_damaged_while_it_is_used_is_put_aside(tmp_path: Path) -> None:
    """The write or read that meets it fails, the next one works."""
    spool = Spool(tmp_path, MEBIBYTE)
    spool.write(b"".join(b"%d %s\n" % (number, b"x" * 900) for number in range(200)))
    spool.close()
    data = bytearray(spool.path.read_bytes())
    data[4096 * 8 : 4096 * 40] = b"\xff" * (4096 * 32)
    spool.path.write_bytes(data)
    spool = Spool(tmp_path, MEBIBYTE)
    with pytest.raises(sqlite3.DatabaseError):
        spool.head(1000, 10**9)
    assert spool.damaged == 1
    spool.write(b"one\n")
    assert waiting(spool) == [b"one"]
    spool.close()


def test_a_damaged_file_is_put_aside_once(tmp_path: Path) -> None:
    """Of two processes that had it open, the second leaves the first one's new file, and its lines, where they are."""
    Spool(tmp_path, MEBIBYTE).close()
    first, second = (Spool(tmp_path, MEBIBYTE) for _ in range(2))
    first._put_aside()
    first.write(b"one\n")
    second._put_aside()
    assert (first.damaged, second.damaged) == (1, 0)
    second.write(b"two\n")
    assert waiting(first) == waiting(second) == [b"one", b"two"]
    first.close()
    second.close()


def test_counting_waits_for_nobody(spool: Spool) -> None:
    """Metrics ask on the event loop, while another thread or process may hold the file."""
    spool.write(b"one\ntwo\n")
    with spool._lock:
        assert spool.waiting_lines == 2
    spool.remove(spool.head(1, 99))
    assert spool.waiting_lines == 1


def test_two_processes_share_one(tmp_path: Path) -> None:
    """`bedside serve` and `bedside dicom listen` on one machine: no line is lost or torn."""
    spools = [Spool(tmp_path, 100 * MEBIBYTE) for _ in range(2)]

    def fill(spool: Spool, name: bytes) -> None:
        for number in range(100):
            spool.write(b"%s %d\n" % (name, number))

    threads = [threading.Thread(target=fill, args=pair) for pair in zip(spools, (b"a", b"b"), strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = waiting(spools[0])
    for name in (b"a", b"b"):
        assert [line for line in found if line.startswith(name)] == [b"%s %d" % (name, n) for n in range(100)]
    for spool in spools:
        spool.close()


def test_nobody_else_reads_it(spool: Spool) -> None:
    """Lines hold no patient, but who works when."""
    assert stat.S_IMODE(spool.path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(spool.path.stat().st_mode) == 0o600


def test_a_closed_spool_is_empty_to_whoever_counts(tmp_path: Path) -> None:
    """Metrics may be asked for after the end; a line is refused."""
    spool = Spool(tmp_path, MEBIBYTE)
    spool.write(b"one\n")
    spool.close()
    assert spool.waiting_lines == 0
    with pytest.raises(OSError, match="takes no lines"):
        spool.write(b"two\n")


def test_the_disk_is_waited_for_where_that_is_asked(tmp_path: Path) -> None:
    """``elastic.spool_fsync``: SQLite's FULL."""
    for fsync, level in ((False, 1), (True, 2)):
        spool = Spool(tmp_path / str(fsync), MEBIBYTE, fsync=fsync)
        assert spool._database.execute("PRAGMA synchronous").fetchone() == (level,)
        spool.close()
