"""Files of jobs: whole or not there, unreadable without their key, gone when shredded."""

import os
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bedside.errors import SpoolFailed
from bedside.jobs import spool as module
from bedside.jobs.spool import Spool

JOB = "0123456789abcdef0123456789abcdef"
SECRET = b"DOE^JOHN " * 100


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    """Return an empty spool."""
    return Spool(tmp_path / "spool")


def files(folder: Path) -> list[Path]:
    """Return the files below a folder."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 31, 32, 33, 100])
def test_what_is_put_can_be_got(spool: Spool, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of any size, in one chunk or many."""
    monkeypatch.setattr(module, "_CHUNK", 16)
    data = os.urandom(size)
    spool.put(JOB, "input", data)
    assert spool.get(JOB, "input") == data
    assert spool.has(JOB, "input")


def test_what_is_put_can_be_read_in_chunks(spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large result is in memory a chunk at a time; what was changed behind the first is told when it is reached."""
    monkeypatch.setattr(module, "_CHUNK", 16)
    data = os.urandom(40)
    spool.put(JOB, "result", data)
    size, chunks = spool.read(JOB, "result")
    assert (size, list(chunks)) == (40, [data[:16], data[16:32], data[32:]])
    (file,) = files(tmp_path / "spool" / "data")
    sealed = file.read_bytes()
    file.write_bytes(sealed[:-1] + bytes([sealed[-1] ^ 1]))
    _, chunks = spool.read(JOB, "result")
    assert next(chunks) == data[:16]
    with pytest.raises(SpoolFailed):
        list(chunks)


def test_nothing_of_it_can_be_read_on_the_disk(spool: Spool, tmp_path: Path) -> None:
    """Nor by other users."""
    spool.put(JOB, "input", SECRET)
    for path in files(tmp_path):
        assert b"DOE" not in path.read_bytes()
        assert path.stat().st_mode & 0o077 == 0
    assert (tmp_path / "spool").stat().st_mode & 0o077 == 0


def test_the_same_bytes_look_different_each_time(spool: Spool, tmp_path: Path) -> None:
    """A key of its own for each file: equal images cannot be told to be equal."""
    spool.put(JOB, "input", SECRET)
    spool.put(JOB, "result", SECRET)
    one, two = (path.read_bytes() for path in files(tmp_path / "spool" / "data"))
    assert one != two


def test_shredded_is_gone_even_from_a_copy_of_the_data(spool: Spool, tmp_path: Path) -> None:
    """A backup of the data cannot be read: the key is gone."""
    spool.put(JOB, "input", SECRET)
    (data,) = files(tmp_path / "spool" / "data")
    copy = data.read_bytes()
    spool.shred(JOB, "input")
    assert files(tmp_path) == []
    data.write_bytes(copy)
    with pytest.raises(SpoolFailed, match="no such file"):
        spool.get(JOB, "input")
    spool.shred(JOB, "input")


def test_a_study_is_shredded_key_by_key_and_confirmed_once(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each key is overwritten on disk, then the folder is synchronised, then the data go: one sync each, and one."""
    for number in range(5):
        spool.put(JOB, f"i{number}", SECRET)
    synced = 0
    sync = os.fsync

    def counted(descriptor: int) -> None:
        nonlocal synced
        synced += 1
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", counted)
    spool.shred(JOB, *spool.names(JOB))
    assert (synced, spool.ids()) == (6, frozenset())


@pytest.mark.parametrize("change", ["flip", "cut", "swap", "append"])
def test_a_changed_file_is_noticed(spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    """A bit turned, chunks cut off, swapped or added: refused, not misread."""
    monkeypatch.setattr(module, "_CHUNK", 16)
    spool.put(JOB, "input", b"a" * 40)
    (path,) = files(tmp_path / "spool" / "data")
    data = path.read_bytes()
    step = 16 + 16
    changed = {
        "flip": bytes([data[0] ^ 1]) + data[1:],
        "cut": data[:step],
        "swap": data[step : 2 * step] + data[:step] + data[2 * step :],
        "append": data + data[:step],
    }[change]
    path.write_bytes(changed)
    with pytest.raises(SpoolFailed, match="changed"):
        spool.get(JOB, "input")


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(noise=st.binary(max_size=200))
def test_noise_is_never_taken_for_a_file(spool: Spool, tmp_path: Path, noise: bytes) -> None:
    """Whatever lies there in its place."""
    spool.put(JOB, "input", SECRET)
    (path,) = files(tmp_path / "spool" / "data")
    path.write_bytes(noise)
    with pytest.raises(SpoolFailed):
        spool.get(JOB, "input")


def test_a_file_that_could_not_be_written_is_not_there(
    spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk is told, and what was there before stays."""
    spool.put(JOB, "result", b"first")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SpoolFailed, match="No space left"):
        spool.put(JOB, "result", b"second")
    monkeypatch.undo()
    assert spool.get(JOB, "result") == b"first"


@pytest.mark.parametrize(("job", "name"), [("../x", "input"), (JOB, "../../etc"), (JOB, "a/b"), ("", "input")])
def test_names_cannot_leave_the_folder(spool: Spool, job: str, name: str) -> None:
    """They are ours; one that is not, is a defect."""
    with pytest.raises(ValueError, match="not an id"):
        spool.put(job, name, b"")


def test_all_of_a_jobs_files_go_at_once(spool: Spool, tmp_path: Path) -> None:
    """Half-written ones too; those of others stay."""
    other = "f" * 32
    for name in ("input", "result"):
        spool.put(JOB, name, SECRET)
    (tmp_path / "spool" / "data" / f"{JOB}.more.partial").write_bytes(b"half")
    spool.put(other, "input", SECRET)
    spool.shred_all(JOB)
    assert {path.name for path in files(tmp_path)} == {f"{other}.input"}


def test_old_files_are_told_from_new_ones(spool: Spool, tmp_path: Path) -> None:
    """A job is as old as the newest of its files."""
    spool.put(JOB, "input", b"")
    assert spool.older_than(60) == frozenset()
    for path in files(tmp_path):
        os.utime(path, (0, 0))
    assert spool.older_than(60) == {JOB}
    spool.put(JOB, "result", b"")
    assert spool.older_than(60) == frozenset()


def test_its_size_is_what_was_put_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted on disk now and then; what is put meanwhile is added at once."""
    spool = Spool(tmp_path)
    assert spool.size() == 0
    spool.put("a", "input", bytes(100))
    assert spool.size() == 100
    monkeypatch.setattr("bedside.jobs.spool.COUNT_SECONDS", 0.0)
    assert spool.size() == 116  # with the tag of its encryption
    spool.shred_all("a")
    assert spool.size() == 0


def test_of_two_that_store_the_same_one_waits(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the data of one could lie beside the key of the other, and what was confirmed could not be read."""
    write, first, go_on = module._write, threading.Event(), threading.Event()

    def written(*args: Any) -> None:
        write(*args)
        if not first.is_set():
            first.set()
            go_on.wait(30)

    monkeypatch.setattr(module, "_write", written)
    slow = threading.Thread(target=spool.put, args=(JOB, "input", b"first"))
    slow.start()
    first.wait(30)
    quick = threading.Thread(target=spool.put, args=(JOB, "input", b"second"))
    quick.start()
    go_on.set()
    slow.join(30)
    quick.join(30)
    assert spool.get(JOB, "input") == b"second"


def test_what_is_there_can_stay(spool: Spool, tmp_path: Path) -> None:
    """Asked once nobody else writes: a slower worker replaces no result that may be on its way."""
    assert spool.put(JOB, "result", b"first", only_if=lambda: not spool.has(JOB, "result"))
    assert not spool.put(JOB, "result", b"second", only_if=lambda: not spool.has(JOB, "result"))
    assert spool.get(JOB, "result") == b"first"
    assert len(files(tmp_path)) == 2


def test_what_a_crash_has_left_of_writing_is_in_nobodys_way(spool: Spool, tmp_path: Path) -> None:
    """Neither half of the data nor the place of the key."""
    for part in ("data", "keys"):
        (tmp_path / "spool" / part / f"{JOB}.input.partial").write_bytes(bytes(1000))
    assert not spool.has(JOB, "input")
    assert spool.ids() == frozenset()
    spool.put(JOB, "input", b"whole")
    assert (spool.get(JOB, "input"), spool.ids()) == (b"whole", frozenset({JOB}))
