"""Tar archives from anybody: plain files at plain paths, or nothing."""

import gzip
import io
import tarfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bedside.bundle.vetting.archives import unpack
from bedside.bundle.vetting.findings import Refused
from bedside.settings import AdmissionSettings

Write = Callable[[tarfile.TarFile], None]


def add(archive: tarfile.TarFile, name: str, data: bytes = b"{}", **facts: Any) -> None:
    """Add a member."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    for fact, value in facts.items():
        setattr(member, fact, value)
    archive.addfile(member, io.BytesIO(data))


def several(archive: tarfile.TarFile, *names: str) -> None:
    """Add small members."""
    for name in names:
        add(archive, name)


def tar(*writes: Write) -> bytes:
    """Return an archive with a bundle's metadata, and more."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        add(archive, "heart/configs/metadata.json")
        for write in writes:
            write(archive)
    return stream.getvalue()


def refused(data: bytes, folder: Path, **limits: Any) -> str:
    """Return the rule that refuses an archive; nothing of it lies outside its folder then."""
    (folder / "a.tar").write_bytes(data)
    into = folder / "into"
    into.mkdir()
    with pytest.raises(Refused) as caught:
        unpack(folder / "a.tar", into, AdmissionSettings(**limits))
    assert {path.name for path in folder.iterdir()} == {"a.tar", "into"}
    return caught.value.rule


@pytest.mark.parametrize(
    ("write", "rule"),
    [
        (lambda a: add(a, "../evil"), "archive_path"),
        (lambda a: add(a, "/evil"), "archive_path"),
        (lambda a: add(a, "heart/../../evil"), "archive_path"),
        (lambda a: add(a, "heart\\evil"), "archive_path"),
        (lambda a: add(a, "heart/a\nb"), "archive_path"),
        (lambda a: add(a, "C:/evil"), "archive_path"),
        (lambda a: add(a, "heart/x", type=tarfile.SYMTYPE, linkname="/etc/passwd", size=0), "archive_link"),
        (lambda a: add(a, "heart/x", type=tarfile.LNKTYPE, linkname="heart/y", size=0), "archive_link"),
        (lambda a: add(a, "heart/x", type=tarfile.CHRTYPE, size=0), "archive_member"),
        (lambda a: add(a, "heart/x", type=tarfile.FIFOTYPE, size=0), "archive_member"),
        (lambda a: several(a, "heart/x", "heart/X"), "archive_member"),
        (lambda a: several(a, "heart/x", "heart/x/y"), "archive_member"),
        (lambda a: add(a, "heart/big", b"x" * 5000), "too_large"),
        (lambda a: several(a, *(f"heart/{i}" for i in range(20))), "too_many_files"),
    ],
)
def test_what_is_not_plain_is_refused(write: Write, rule: str, tmp_path: Path) -> None:
    """By the rule that it breaks."""
    assert refused(tar(write), tmp_path, files=10, total_bytes=4000) == rule


def test_a_header_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    """A few kilobytes of gzip can announce, and deliver, gigabytes of name."""
    member = tarfile.TarInfo("x")
    member.type, member.size = tarfile.XHDTYPE, 1 << 30
    assert refused(gzip.compress(tar()[:1024] + member.tobuf() + bytes(1 << 20)), tmp_path) == "archive_member"


@pytest.mark.parametrize("cut", [600, 1100, 1030])
def test_an_archive_that_ends_early_is_refused(cut: int, tmp_path: Path) -> None:
    """Within a header, or within a member."""
    assert refused(tar(lambda a: add(a, "heart/x", b"x" * 2000))[: cut + 512], tmp_path) == "archive_unreadable"


def test_a_bomb_stops_at_the_limit(tmp_path: Path) -> None:
    """Its size is counted before it is written."""
    bomb = gzip.compress(tar(lambda a: add(a, "heart/x", bytes(50 << 20))))
    assert len(bomb) < 1 << 20
    assert refused(bomb, tmp_path, total_bytes=1 << 20) == "too_large"


@given(data=st.data())
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_archives_are_refused_or_unpacked(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever the bytes, nothing else is raised and nothing lies outside."""
    folder = tmp_path_factory.mktemp("tar")
    good = bytearray(tar(lambda a: add(a, "heart/x", b"x" * 700)))
    for _ in range(data.draw(st.integers(1, 6))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    (folder / "a.tar").write_bytes(gzip.compress(good) if data.draw(st.booleans()) else good)
    (folder / "into").mkdir()
    with suppress(Refused):
        unpack(folder / "a.tar", folder / "into", AdmissionSettings(total_bytes=1 << 20))
    assert {path.name for path in folder.iterdir()} == {"a.tar", "into"}
