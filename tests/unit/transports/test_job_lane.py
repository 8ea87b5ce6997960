"""Workers: every way in which a job can end, and that none is lost or run by two."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.waiting import until

from bedside.errors import InputNotProcessable, QueueFull, RunFailed, WorkerCrashed, WrongShape
from bedside.interfaces import Progress
from bedside.jobs.desk import INPUT, RESULT, JobDesk
from bedside.jobs.records import Job
from bedside.jobs.spool import Spool
from bedside.jobs.states import JobState
from bedside.jobs.store import JobStore
from bedside.jobs.tables import connect
from bedside.settings import JobSettings
from bedside.transports.jobs.lane import JobLane
from bedside.types import EncodedAnswer, Principal, RawInput, RawPart

DIGEST = "sha256:1"
ME = Principal("me", "issuer", frozenset(), 2e9)


@dataclass
class Place:
    """A store, a spool, and work that does what the test wants."""

    folder: Path
    settings: JobSettings
    outcomes: list[Any] = field(default_factory=list)
    ran: list[tuple[str, int, bytes]] = field(default_factory=list)
    ready: list[str] = field(default_factory=lambda: [DIGEST])
    looks: int = 0

    def __post_init__(self) -> None:
        """Open them."""
        self.store = JobStore(connect(f"sqlite:///{self.folder / 'jobs.db'}"))
        self.spool = Spool(self.folder / "spool")
        self.desk = JobDesk(self.store, self.spool, self.settings)

    async def work(self, job: Job, inputs: Sequence[RawInput], progress: Progress) -> EncodedAnswer:
        """Answer with the input, or do what comes next in ``outcomes``."""
        (part,) = inputs
        assert isinstance(part, RawPart)
        self.ran.append((job.id, job.attempt, part.data))
        outcome = self.outcomes.pop(0) if self.outcomes else None
        if isinstance(outcome, Exception):
            raise outcome
        if outcome is not None:
            await outcome(job, progress)
        return EncodedAnswer("text/plain", b"answer to " + part.data)

    def submit(self, data: bytes = b"image") -> Job:
        """Hand a job in."""
        served = ("heart", "1.0.0", DIGEST)
        return self.desk.submit(ME, served, [RawPart(None, "image/png", data)], "text/plain")[0]

    def job(self, job: Job) -> Job:
        """Return the job as it is now."""
        found = self.store.get(job.id)
        assert found is not None
        return found

    def digests(self) -> list[str]:
        """Return what is ready here; the worker asks before it looks for a job, the sweep before it counts."""
        self.looks += 1
        return self.ready

    def lane(self, store: JobStore | None = None) -> JobLane:
        """Return a lane of one worker."""
        return JobLane(store or self.store, self.spool, self.work, self.digests, self.settings)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[JobLane]:
        """Run a lane meanwhile."""
        lane = self.lane()
        lane.start()
        try:
            yield lane
        finally:
            await lane.stop()

    async def ended(self, job: Job, state: JobState) -> Job:
        """Wait until a job is in a state."""
        await until(lambda: self.job(job).state is state)
        return self.job(job)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Return a place whose waits are short."""
    return Place(
        tmp_path, JobSettings(retry_seconds=0.01, retry_most_seconds=0.02, lease_seconds=30.0, poll_seconds=0.02)
    )


def hour_old(spool: Path) -> None:
    """Let every file that is there be older than an hour."""
    for path in spool.glob("*/*"):
        os.utime(path, (1e9, 1e9))


async def forever(_job: Job, _progress: Progress) -> None:
    """Never end."""
    await asyncio.Event().wait()


async def until_cancelled(stopped: asyncio.Event, job: Job, progress: Progress) -> None:
    """Never end, and tell when it is stopped."""
    try:
        await forever(job, progress)
    finally:
        stopped.set()


async def test_a_job_is_run_and_its_input_shredded(place: Place) -> None:
    """The result is kept, with its media type; its owner gets it."""
    job = place.submit()
    async with place.running():
        done = await place.ended(job, JobState.SUCCEEDED)
        await until(lambda: not place.spool.has(job.id, INPUT))
    media_type, size, chunks = place.desk.result(done)
    assert (media_type, size, b"".join(chunks)) == ("text/plain", 15, b"answer to image")
    assert (done.attempt, done.error_code) == (1, "")


async def test_a_job_handed_in_while_all_is_quiet_is_begun_at_once(place: Place) -> None:
    """Not only when the worker looks again."""
    quiet = Place(place.folder, place.settings.model_copy(update={"poll_seconds": 3600.0}))
    async with quiet.running() as lane:
        await until(lambda: quiet.looks >= 1)
        job = quiet.submit()
        lane.wake()
        await quiet.ended(job, JobState.SUCCEEDED)


async def test_a_worker_outlives_work_that_was_cancelled_beneath_it(place: Place) -> None:
    """Cancelled by something else than this server's end: the job is queued again, and no attempt is used up."""

    async def cancelled(_job: Job, _progress: Progress) -> None:
        raise asyncio.CancelledError

    place.outcomes = [cancelled]
    job = place.submit()
    async with place.running():
        done = await place.ended(job, JobState.SUCCEEDED)
    assert (done.attempt, len(place.ran)) == (1, 2)


@pytest.mark.parametrize("error", [WrongShape("'image' must be 3-D"), InputNotProcessable()])
async def test_what_is_refused_is_not_tried_again(place: Place, error: Exception) -> None:
    """It would be refused again; its input is kept for whoever looks into it."""
    place.outcomes = [error]
    job = place.submit()
    async with place.running():
        dead = await place.ended(job, JobState.DEAD)
    assert dead.attempt == 1
    assert dead.error_code in {"wrong_shape", "input_not_processable"}
    assert place.spool.has(job.id, INPUT)


async def test_a_failure_is_tried_again(place: Place) -> None:
    """With the same input; the error of the last attempt is forgotten once it has succeeded."""
    place.outcomes = [WorkerCrashed(), RunFailed()]
    job = place.submit()
    async with place.running():
        done = await place.ended(job, JobState.SUCCEEDED)
    assert [attempt for _, attempt, _ in place.ran] == [1, 2, 3]
    assert done.error_code == ""


async def test_a_failure_that_stays_is_dead_and_can_be_driven_again(place: Place) -> None:
    """After all attempts; then a person decides."""
    place.outcomes = [RunFailed(), RunFailed(), RunFailed()]
    job = place.submit()
    async with place.running():
        dead = await place.ended(job, JobState.DEAD)
        assert (dead.attempt, dead.error_code) == (3, "run_failed")
        place.desk.redrive(dead)
        await place.ended(job, JobState.SUCCEEDED)


async def test_the_text_of_an_unexpected_error_is_not_kept(place: Place) -> None:
    """It may quote the input."""
    place.outcomes = [ValueError("DOE^JOHN")] * 3
    job = place.submit()
    async with place.running():
        dead = await place.ended(job, JobState.DEAD)
    assert "ValueError" in dead.error_detail
    assert "DOE" not in repr(dead)


async def test_a_full_queue_uses_up_no_attempt(place: Place) -> None:
    """The job waits until there is room."""
    full = QueueFull()
    full.retry_after_seconds = 0
    place.outcomes = [full] * 5
    job = place.submit()
    async with place.running():
        done = await place.ended(job, JobState.SUCCEEDED)
    assert done.attempt == 1


async def test_progress_is_told(place: Place) -> None:
    """With the lease's next renewal."""
    gate = asyncio.Event()

    async def step(_job: Job, progress: Progress) -> None:
        progress(3, 8)
        await gate.wait()

    place.outcomes = [step]
    job = place.submit()
    async with place.running():
        await until(lambda: place.job(job).total == 8)
        assert place.job(job).done == 3
        gate.set()
        await place.ended(job, JobState.SUCCEEDED)


async def test_a_job_given_up_stops_its_work(place: Place) -> None:
    """The work is cancelled, the device free, the input shredded."""
    stopped = asyncio.Event()
    place.outcomes = [partial(until_cancelled, stopped)]
    job = place.submit()
    async with place.running():
        await place.ended(job, JobState.RUNNING)
        place.desk.cancel(place.job(job))
        await place.ended(job, JobState.CANCELLED)
        await until(lambda: not place.spool.has(job.id, INPUT))
    assert stopped.is_set()


@pytest.mark.parametrize("begun", [True, False])
async def test_a_server_that_stops_hands_its_job_on(place: Place, *, begun: bool) -> None:
    """Another runs it, and no attempt is used up; also where it has been claimed and not yet begun."""
    place.outcomes = [forever]
    job = place.submit()
    async with place.running():
        await until((lambda: bool(place.ran)) if begun else (lambda: place.job(job).state is JobState.RUNNING))
    place.outcomes = []
    assert (place.job(job).state, place.job(job).attempt) == (JobState.QUEUED, 0)
    async with place.running():
        assert (await place.ended(job, JobState.SUCCEEDED)).attempt == 1


async def test_a_lost_workers_job_is_run_by_another_and_answered_once(place: Place) -> None:
    """What the lost one brings later is dropped."""
    job = place.submit()
    lost = place.store.claim([DIGEST], job.created, 0.0)
    assert lost is not None
    async with place.running():
        done = await place.ended(job, JobState.SUCCEEDED)
    assert done.attempt == 2
    assert not place.store.succeed(lost, 2e9, "text/plain")


async def test_a_worker_that_was_stalled_leaves_the_result_of_its_successor_alone(place: Place) -> None:
    """It wakes when the job is done: what is on its way to the archives already is not written over."""

    async def stalled(job: Job, _progress: Progress) -> None:
        place.store.give_back(place.job(job), 0.0)
        successor = place.store.claim([DIGEST], job.created + 1, 30.0)
        assert successor is not None
        place.spool.put(job.id, RESULT, b"the successor's")
        assert place.store.succeed(successor, 2e9, "text/plain")

    place.outcomes = [stalled]
    job = place.submit()
    async with place.running():
        await until(lambda: bool(place.ran))
        await until(lambda: place.job(job).state is JobState.SUCCEEDED)
    assert place.spool.get(job.id, RESULT) == b"the successor's"


async def test_a_worker_that_has_lost_its_lease_stops(place: Place) -> None:
    """Two must not work on one job."""
    stopped = asyncio.Event()
    place.outcomes = [partial(until_cancelled, stopped)]
    job = place.submit()
    async with place.running():
        running = await place.ended(job, JobState.RUNNING)
        place.store.give_back(running, 2e9)
        await until(stopped.is_set)
        assert place.job(job).state is JobState.QUEUED


async def test_a_database_that_is_away_for_a_while_loses_nothing(place: Place) -> None:
    """Workers go on when it is back."""

    class Away(JobStore):
        """Fails the first claims."""

        failures = 3

        def claim(self, digests: Sequence[str], now: float, lease_seconds: float) -> Job | None:
            if self.failures:
                self.failures -= 1
                raise ConnectionError("no route to host")
            return super().claim(digests, now, lease_seconds)

    store = Away(connect(f"sqlite:///{place.folder / 'jobs.db'}"))
    job = place.submit()
    lane = place.lane(store)
    lane.start()
    await place.ended(job, JobState.SUCCEEDED)
    await lane.stop()


async def test_without_a_ready_bundle_nothing_is_claimed(place: Place) -> None:
    """A server that still loads takes no work from the others."""
    job = place.submit()
    place.ready = []
    async with place.running():
        await until(lambda: place.looks > 2)
    assert place.job(job).attempt == 0


async def test_an_input_that_is_gone_is_told(place: Place) -> None:
    """The spool may lie on a disk that is away: the job waits, and is not dead at once."""
    job = place.submit()
    place.spool.shred(job.id, INPUT)
    async with place.running():
        await until(lambda: place.looks > 2)
    assert (place.job(job).state, place.ran) == (JobState.QUEUED, [])


def test_files_that_no_job_names_are_swept_and_old_jobs_forgotten(place: Place) -> None:
    """What a crash between file and row has left; what retention is over for."""
    now = [1_000_000.0]
    settings = place.settings.model_copy(update={"retention_seconds": 100.0, "lease_seconds": -1.0})
    desk = JobDesk(place.store, place.spool, settings, lambda: now[0])
    place.spool.put("e" * 32, INPUT, b"orphan")
    hour_old(place.folder / "spool")
    place.spool.put("f" * 32, INPUT, b"being handed in, to a database that takes its time")
    kept = place.submit(b"kept")
    old = desk.submit(ME, ("heart", "1.0.0", DIGEST), [RawPart(None, "image/png", b"old")], "text/plain")[0]
    claimed = place.store.claim([DIGEST], now[0], 30.0)
    assert claimed is not None
    assert claimed.id == old.id
    place.spool.put(old.id, RESULT, b"answer")
    place.store.succeed(claimed, now[0], "text/plain")
    now[0] += 200
    assert desk.tidy() == 1
    assert place.spool.older_than(-1) == {kept.id, "f" * 32}


def test_an_input_that_a_crash_has_left_is_shredded(place: Place) -> None:
    """The worker wrote down the success and ended before it shredded the input; the result stays."""
    job = place.submit()
    claimed = place.store.claim([DIGEST], job.created, 30.0)
    assert claimed is not None
    place.spool.put(job.id, RESULT, b"answer")
    place.store.succeed(claimed, job.created, "text/plain")
    desk = JobDesk(place.store, place.spool, place.settings.model_copy(update={"lease_seconds": -1.0}))
    assert desk.tidy() == 0
    assert not place.spool.has(job.id, INPUT)
    assert place.spool.get(job.id, RESULT) == b"answer"


def test_the_same_work_handed_in_twice_leaves_one_file(place: Place) -> None:
    """The second copy is shredded at once; many hands at the same moment too."""
    barrier = threading.Barrier(8)

    def submit() -> None:
        barrier.wait()
        place.submit()

    threads = [threading.Thread(target=submit) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (job,) = place.store.find(owner=ME.owner)
    assert place.spool.older_than(-1) == {job.id}


async def test_jobs_that_wait_are_counted(place: Place) -> None:
    """Those that could run here: one runs, two wait."""
    gate = asyncio.Event()

    async def step(_job: Job, _progress: Progress) -> None:
        await gate.wait()

    place.outcomes = [step]
    place.settings = place.settings.model_copy(update={"lease_seconds": 0.2})
    for data in (b"one", b"two", b"three"):
        place.submit(data)
    async with place.running() as lane:
        await until(lambda: bool(place.ran) and lane.waiting == 2)
        gate.set()
        await until(lambda: len(place.ran) == 3 and lane.waiting == 0)
