"""The cache: whole or not there at all, whoever else uses it."""

import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest

from bedside.errors import NotAdmitted, SourceUnavailable
from bedside.storage.cache import BundleCache


class Fill:
    """Writes one file and counts how often it was asked."""

    def __init__(self, content: bytes = b"x", error: Exception | None = None) -> None:
        self.content, self.error, self.calls = content, error, 0
        self.left: list[str] = []

    def __call__(self, folder: Path) -> None:
        """Write."""
        self.calls += 1
        self.left = sorted(path.name for path in folder.iterdir())
        (folder / "file").write_bytes(self.content)
        if self.error:
            raise self.error


def test_a_key_is_filled_once(tmp_path: Path) -> None:
    """By this process and by the next one."""
    fill = Fill()
    cache = BundleCache(tmp_path / "cache", 1000)
    assert cache.get("a", fill) == cache.get("a", fill)
    assert (BundleCache(tmp_path / "cache", 1000).get("a", fill) / "file").read_bytes() == b"x"
    assert fill.calls == 1


def test_what_could_not_be_filled_is_not_there(tmp_path: Path) -> None:
    """The next attempt finds what the last one left, for it may go on from there."""
    cache = BundleCache(tmp_path, 1000)
    with pytest.raises(NotAdmitted):
        cache.get("a", Fill(error=NotAdmitted()))
    assert not (tmp_path / "a").exists()
    again = Fill()
    assert cache.get("a", again).is_dir()
    assert again.left == ["file"]


@pytest.mark.parametrize("damage", ["content", "more", "facts", "gone"])
def test_what_was_changed_on_disk_is_fetched_again(tmp_path: Path, damage: str) -> None:
    """The digest is checked before use."""
    BundleCache(tmp_path, 1000).get("a", Fill())
    if damage == "content":
        (tmp_path / "a" / "content" / "file").write_bytes(b"y")
    elif damage == "more":
        (tmp_path / "a" / "content" / "evil.py").write_bytes(b"")
    elif damage == "facts":
        (tmp_path / "a" / "facts.json").write_text("[]")
    else:
        (tmp_path / "a" / "facts.json").unlink()
    fill = Fill()
    folder = BundleCache(tmp_path, 1000).get("a", fill)
    assert fill.calls == 1
    assert [path.name for path in folder.iterdir()] == ["file"]
    assert (folder / "file").read_bytes() == b"x"


def test_what_was_used_longest_ago_goes_first(tmp_path: Path) -> None:
    """Until the rest fits; what a process uses stays."""
    for age, key in enumerate(("new", "old", "oldest")):
        cache = BundleCache(tmp_path, 10_000)
        cache.get(key, Fill(b"x" * 100))
        cache._release(key)  # as its process does when it ends
        os.utime(tmp_path / key, (1000 - age, 1000 - age))
    using = BundleCache(tmp_path, 10_000)
    using.get("oldest", Fill())
    os.utime(tmp_path / "oldest", (1, 1))
    BundleCache(tmp_path, 350).get("newest", Fill(b"x" * 100))
    assert {path.parent.name for path in tmp_path.glob("*/facts.json")} == {"oldest", "new", "newest"}


def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """With the setting."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SourceUnavailable, match="cache_dir"):
        BundleCache(tmp_path / "file" / "cache", 1000).get("a", Fill())


def _get(folder: Path, told: Any) -> None:
    fill = Fill(b"x" * 100_000)
    BundleCache(folder, 1 << 20).get("a", fill)
    told.put(fill.calls)


def test_of_several_processes_one_fills(tmp_path: Path) -> None:
    """The others wait for it."""
    context = multiprocessing.get_context("spawn")
    told = context.Queue()
    processes = [context.Process(target=_get, args=(tmp_path, told)) for _ in range(3)]
    for process in processes:
        process.start()
    assert sum(told.get(timeout=60) for _ in processes) == 1
    for process in processes:
        process.join(30)
