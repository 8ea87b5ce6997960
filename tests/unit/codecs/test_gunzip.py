"""Bounded decompression."""

import gzip
import tracemalloc

import pytest

from bedside.codecs.gunzip import gunzip
from bedside.errors import DecompressedTooLarge, MalformedPayload


@pytest.mark.parametrize("size", [0, 1, 65536, 3_000_000])
def test_whole_files_come_out(size: int) -> None:
    """Exactly at the limit is within it."""
    data = bytes(size)
    assert gunzip(gzip.compress(data), limit=size, field="scan") == data


def test_one_byte_beyond_the_limit_is_too_much() -> None:
    """The limit is exact."""
    with pytest.raises(DecompressedTooLarge):
        gunzip(gzip.compress(bytes(1001)), limit=1000, field="scan")


def test_bomb_costs_no_more_than_the_limit() -> None:
    """256 MiB in 256 KiB: memory stays near the limit of 1 MiB."""
    bomb = gzip.compress(bytes(256 * 1024 * 1024), 9)
    tracemalloc.start()
    try:
        with pytest.raises(DecompressedTooLarge):
            gunzip(bomb, limit=1024 * 1024, field="scan")
        assert tracemalloc.get_traced_memory()[1] < 4 * 1024 * 1024
    finally:
        tracemalloc.stop()


def test_very_many_members_are_refused() -> None:
    """Empty members cost a copy each; a body full of them must not keep a core busy for minutes."""
    with pytest.raises(MalformedPayload):
        gunzip(gzip.compress(b"") * 70_000, limit=10, field="scan")
