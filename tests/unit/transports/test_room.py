"""What sources may cost all calls together, tried with servers that are slow."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.unit.transports.web_archive import Answer, WebArchive, web_archive
from tests.waiting import until

from bedside.bundle.contract import InputSpec
from bedside.dicom_settings import DicomSource
from bedside.errors import ArchiveUnavailable, PayloadTooLarge, QueueFull
from bedside.reference_settings import ReferenceBucket, ReferenceSettings
from bedside.settings import LimitSettings
from bedside.transports.buckets import Bucket
from bedside.transports.dicom.pull import ArchiveStudies
from bedside.transports.folders import Folder
from bedside.transports.references import BucketReference, DicomwebReference, FileReference
from bedside.transports.room import Hold, Room
from bedside.types import RawPart

SPEC = InputSpec("image", "image")
RELATED = "multipart/related; type=application/dicom; boundary=cut"
SIZE = 300_000
Read = Callable[[Hold], Awaitable[RawPart]]


@contextmanager
def slow(first: int) -> Iterator[tuple[WebArchive, threading.Event]]:
    """Run a server that sends so many bytes of its answer at once, and the others when it is told to."""
    rest = threading.Event()
    with web_archive(lambda _: Answer(media_type=RELATED, body=bytes(SIZE), cut=SIZE - first, rest=rest)) as archive:
        try:
            yield archive, rest
        finally:
            rest.set()


def archive_read(archive: WebArchive) -> Read:
    """Return how a series is taken from it, as from a PACS."""
    studies = ArchiveStudies(DicomSource(url=archive.url), LimitSettings(), ReferenceSettings(attempts=1))
    reference = DicomwebReference(dicomweb="pacs", study="1.2", series="1.2.3")
    return lambda hold: studies(reference, SPEC, hold)


def bucket_read(archive: WebArchive, monkeypatch: pytest.MonkeyPatch) -> Read:
    """Return how an object is taken from it, as from a bucket."""
    for name, value in {"ACCESS_KEY_ID": "x", "SECRET_ACCESS_KEY": "x", "DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    endpoint = archive.url.removesuffix("/dicom-web/")
    settings = ReferenceBucket(url="s3://models", endpoint=endpoint, timeout_seconds=30)
    bucket = Bucket(settings, LimitSettings(), ReferenceSettings(attempts=1))
    return lambda hold: bucket(BucketReference(s3="research", path="scan.nii.gz"), SPEC, hold)


async def reading(room: Room, read: Read) -> RawPart:
    """Read once, as a call does, and end."""
    with room.hold("source") as hold:
        return await read(hold)


async def ended(task: "asyncio.Task[Any]") -> None:
    """Cancel a call, as when its caller goes."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_source_is_read_for_so_many_calls_at_one_time() -> None:
    """The next is told at once and asks nothing; once one has ended, its place is free."""
    room = Room(2, 1 << 30, 1)
    with slow(0) as (archive, rest):
        read = archive_read(archive)
        both = [asyncio.create_task(reading(room, read)) for _ in range(2)]
        await until(lambda: len(archive.asked) == 2)
        with pytest.raises(QueueFull, match="concurrency"):
            await reading(room, read)
        assert len(archive.asked) == 2
        rest.set()
        assert {len(part.data) for part in await asyncio.gather(*both)} == {SIZE}
        assert len((await reading(room, read)).data) == SIZE
    assert (room.bytes, +room.readings) == (0, {})


async def test_bytes_are_counted_while_they_come() -> None:
    """What a slow answer has sent already is held; what finds no room beside it is refused, and held no longer."""
    room = Room(2, SIZE + 10, 1)
    with slow(100) as (archive, rest), slow(SIZE) as (quick, _):
        first = asyncio.create_task(reading(room, archive_read(archive)))
        await until(lambda: room.bytes == 100)
        with pytest.raises(QueueFull, match="held_bytes"):
            await reading(room, archive_read(quick))
        assert room.bytes == 100
        rest.set()
        assert len((await first).data) == SIZE
    assert (room.bytes, +room.readings) == (0, {})


async def test_what_was_read_is_held_until_its_call_ends() -> None:
    """It lies in memory while the model runs; the place at the source is free meanwhile."""
    room = Room(1, SIZE, 1)
    with slow(SIZE) as (archive, _):
        read = archive_read(archive)
        with room.hold("source") as hold:
            await read(hold)
            hold.done()
            assert room.bytes == SIZE
            with pytest.raises(QueueFull, match="held_bytes"):
                await reading(room, read)
        assert len((await reading(room, read)).data) == SIZE


async def test_what_can_never_fit_is_too_large() -> None:
    """Asking again would not help."""
    with slow(SIZE) as (archive, _), pytest.raises(PayloadTooLarge, match="held_bytes"):
        await reading(Room(1, SIZE - 1, 1), archive_read(archive))


async def test_bytes_of_a_failed_attempt_are_given_back() -> None:
    """An archive that cuts its answers off does not fill the room by being asked again."""
    room = Room(1, SIZE, 1)
    answers = [Answer(media_type=RELATED, body=bytes(SIZE), cut=10)] * 2 + [
        Answer(media_type=RELATED, body=bytes(SIZE))
    ]
    with web_archive(lambda _: answers.pop(0)) as archive:
        retries = ReferenceSettings(attempts=3, retry_seconds=0.001)
        studies = ArchiveStudies(DicomSource(url=archive.url), LimitSettings(), retries)
        reference = DicomwebReference(dicomweb="pacs", study="1.2", series="1.2.3")
        assert len((await reading(room, lambda hold: studies(reference, SPEC, hold))).data) == SIZE


async def test_callers_that_go_do_not_pile_up_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread waits for its store though nobody waits for it; until it has ended, it keeps its place and its bytes."""
    room = Room(1, 1 << 30, 1)
    with slow(100) as (archive, rest):
        read = bucket_read(archive, monkeypatch)
        task = asyncio.create_task(reading(room, read))
        await until(lambda: bool(archive.asked))
        await ended(task)
        for _ in range(3):
            with pytest.raises(QueueFull, match="concurrency"):
                await reading(room, read)
        assert len(archive.asked) == 1
        rest.set()
        await until(lambda: not room.readings["source"])
        assert room.bytes == 0
        assert len((await reading(room, read)).data) == SIZE


async def test_a_thread_is_told_that_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends with the next bytes that come, and takes none of them."""
    room = Room(1, 1 << 30, 1)
    with slow(0) as (archive, _), room.hold("source") as hold:
        read = bucket_read(archive, monkeypatch)
        hold.close()
        with pytest.raises(ArchiveUnavailable, match="given up"):
            await read(hold)
    assert not archive.asked


async def test_files_of_a_folder_count_as_well(tmp_path: Path) -> None:
    """Before they are read."""
    (tmp_path / "scan.nii.gz").write_bytes(bytes(100))
    folder, reference = Folder(tmp_path, LimitSettings()), FileReference(file="scans", path="scan.nii.gz")
    room = Room(1, 150, 1)
    with room.hold("scans") as hold:
        await folder(reference, SPEC, hold)
        hold.done()
        with pytest.raises(QueueFull):
            await reading(room, lambda other: folder(reference, SPEC, other))
        assert room.bytes == 100
