"""Every database keeps jobs the same way: once, durable, fenced, and in the states of the transition table."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from tests.conformance.postgres import postgres

from bedside.jobs.outbox import Outbox
from bedside.jobs.records import Job, NewJob
from bedside.jobs.states import TRANSITIONS, DeliveryState, JobState
from bedside.jobs.store import JobStore
from bedside.jobs.tables import JOBS, METADATA, connect

DIGEST = "sha256:1"
LEASE = 30.0
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
_numbers = iter(range(1, 10**9))


def new(digest: str = "a", *, owner: str = "me", bundle: str = DIGEST, destinations: tuple[str, ...] = ()) -> NewJob:
    """Return a job to be handed in at time 0 with a deadline at 1000."""
    return NewJob(f"{next(_numbers):032x}", owner, "heart", "1.0.0", bundle, digest, "text/plain", 1000.0, destinations)


@pytest.fixture(scope="module")
def postgres_url() -> Iterator[str]:
    """Run PostgreSQL for this module."""
    with postgres() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of an empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'jobs.db'}"
    found: str = request.getfixturevalue("postgres_url")
    engine = connect(found)
    METADATA.drop_all(engine)
    engine.dispose()
    return found


@pytest.fixture
def store(url: str) -> Iterator[JobStore]:
    """Return an empty store."""
    store = JobStore(connect(url))
    yield store
    store.close()


@pytest.fixture
def outbox(url: str) -> Outbox:
    """Return the same database's outbox, over connections of its own."""
    return Outbox(connect(url))


def claim(store: JobStore, now: float = 1.0) -> Job:
    """Claim the next job; there must be one."""
    job = store.claim([DIGEST], now, LEASE)
    assert job is not None
    return job


def state(store: JobStore, job: Job) -> JobState:
    """Return a job's state as it is stored."""
    found = store.get(job.id)
    assert found is not None
    return found.state


def test_a_job_is_kept_as_it_was_handed_in(store: JobStore, url: str) -> None:
    """Another process reads what this one wrote."""
    given = replace(new(destinations=("archive", "viewer")), trace_parent=TRACE)
    job, created = store.submit(given, 5.0)
    assert created
    assert (job.state, job.created, job.attempt, job.destinations) == (JobState.QUEUED, 5.0, 0, ("archive", "viewer"))
    assert job.trace_parent == TRACE
    assert JobStore(connect(url)).get(given.id) == job
    assert store.get("0" * 32) is None


def test_the_same_work_is_one_job(store: JobStore) -> None:
    """While it waits, runs or is done; another caller, bundle or question is other work."""
    first, _ = store.submit(new(), 0.0)
    assert store.submit(new(), 1.0) == (first, False)
    running = claim(store)
    assert store.submit(new(), 2.0) == (running, False)
    store.succeed(running, 3.0, "text/plain")
    again, created = store.submit(new(), 4.0)
    assert (again.id, created) == (first.id, False)
    for other in (new("b"), new(owner="you"), new(bundle="sha256:2"), new(destinations=("archive",))):
        assert store.submit(other, 5.0)[1]


def test_work_that_failed_or_was_given_up_may_be_asked_for_again(store: JobStore) -> None:
    """A dead or cancelled job does not stand in the way."""
    store.submit(new(), 0.0)
    store.fail(claim(store), 2.0, "run_failed", "", retry_at=None)
    second, created = store.submit(new(), 3.0)
    assert created
    store.cancel(second.id, 4.0)
    assert store.submit(new(), 5.0)[1]


def test_work_that_is_being_given_up_may_be_asked_for_again(store: JobStore) -> None:
    """The running job will end without a result: whoever hands the same in now must get one that will not."""
    store.submit(new(), 0.0)
    running = claim(store)
    store.cancel(running.id, 2.0)
    second, created = store.submit(new(), 3.0)
    assert created
    assert store.live(new().key) == second
    assert store.cancel(running.id, 4.0) == store.get(running.id)
    assert store.cancelled(running, 5.0)


def test_a_job_given_up_whose_attempt_failed_is_not_begun_again(store: JobStore) -> None:
    """Its worker had not heard of it; the sweep ends it."""
    store.submit(new(), 0.0)
    running = claim(store)
    store.cancel(running.id, 2.0)
    store.fail(running, 3.0, "run_failed", "", retry_at=3.0)
    assert store.claim([DIGEST], 4.0, LEASE) is None
    assert store.sweep(5.0, 3) == 1
    assert state(store, running) is JobState.CANCELLED


def test_unfinished_jobs_of_an_owner_are_counted(store: JobStore) -> None:
    """Those that wait and those that run."""
    for digest in "abc":
        store.submit(new(digest), 0.0)
    store.submit(new(owner="you"), 0.0)
    store.succeed(claim(store), 2.0, "text/plain")
    claim(store)
    assert (store.unfinished("me"), store.unfinished("you"), store.unfinished("they")) == (2, 1, 0)


def test_readers_do_not_wait_for_a_writer(store: JobStore, url: str) -> None:
    """A transaction that writes is open meanwhile; what it has changed is not seen yet."""
    job, _ = store.submit(new(), 0.0)
    with connect(url).begin() as writing:
        writing.execute(JOBS.update().values(done=7))
        assert store.get(job.id) == job
        assert store.some([job.id, "0" * 32]) == {job.id: job}


def test_many_hands_submit_one_job(store: JobStore) -> None:
    """Sixteen at once: one is new, all get the same."""
    barrier = threading.Barrier(16)

    def submit(_: int) -> tuple[str, bool]:
        barrier.wait()
        job, created = store.submit(new(), 0.0)
        return job.id, created

    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(submit, range(16)))
    assert len({job for job, _ in found}) == 1
    assert sum(created for _, created in found) == 1


def test_jobs_are_claimed_once_and_in_order(store: JobStore) -> None:
    """Eight workers at once share forty jobs without one going twice."""
    ids = [store.submit(new(str(number)), float(number))[0].id for number in range(40)]
    assert claim(store, 100.0).id == ids[0]
    with ThreadPoolExecutor(8) as pool:
        claimed = [job.id for job in pool.map(lambda _: claim(store, 100.0), range(39))]
    assert sorted(claimed) == sorted(ids[1:])
    assert store.claim([DIGEST], 100.0, LEASE) is None


def test_a_worker_only_gets_what_its_bundles_can_run(store: JobStore) -> None:
    """A job is run by the bundle that it was taken for; never before its time, nor after its deadline."""
    store.submit(new(bundle="sha256:other"), 0.0)
    assert store.claim([DIGEST], 1.0, LEASE) is None
    store.submit(new(), 50.0)
    assert store.claim([DIGEST], 49.0, LEASE) is None
    assert store.claim([DIGEST], 1000.0, LEASE) is None
    assert store.claim([DIGEST], 51.0, LEASE) is not None


def test_a_lease_is_kept_by_renewing_it(store: JobStore) -> None:
    """And tells the progress."""
    store.submit(new(), 0.0)
    job = claim(store)
    renewed = store.renew(job, 20.0, LEASE, done=3, total=8)
    assert renewed is not None
    assert (renewed.lease_until, renewed.done, renewed.total) == (50.0, 3, 8)
    assert store.sweep(40.0, 3) == 0


def test_a_lost_worker_costs_an_attempt_and_nothing_else(store: JobStore) -> None:
    """Its job goes to another; what it reports later counts no more."""
    store.submit(new(), 0.0)
    lost = claim(store)
    assert store.sweep(31.5, 3) == 1
    other = claim(store, 32.0)
    assert (other.id, other.attempt) == (lost.id, 2)
    assert not store.succeed(lost, 33.0, "text/plain")
    assert not store.fail(lost, 33.0, "x", "", retry_at=None)
    assert not store.cancelled(lost, 33.0)
    assert not store.give_back(lost, 33.0)
    assert store.renew(lost, 33.0, LEASE, done=1, total=1) is None
    assert store.succeed(other, 34.0, "text/plain")


def test_a_job_that_costs_its_worker_each_time_is_dead_in_the_end(store: JobStore) -> None:
    """It does not go from server to server for ever."""
    job, _ = store.submit(new(), 0.0)
    for attempt in range(3):
        claim(store, attempt * 100.0 + 1)
        assert store.sweep(attempt * 100.0 + 50, 3) == 1
    found = store.get(job.id)
    assert found is not None
    assert (found.state, found.error_code, found.finished) == (JobState.DEAD, "worker_lost", 250.0)


def test_an_attempt_that_fails_is_repeated_later(store: JobStore) -> None:
    """Not before its time, and with the error of the last one told."""
    store.submit(new(), 0.0)
    store.fail(claim(store), 2.0, "worker_crashed", "It ended.", retry_at=10.0)
    assert store.claim([DIGEST], 9.0, LEASE) is None
    job = claim(store, 10.0)
    assert (job.attempt, job.error_code, job.error_detail) == (2, "worker_crashed", "It ended.")


def test_what_could_not_be_begun_uses_up_no_attempt(store: JobStore) -> None:
    """A full queue or a stopping server is not the job's fault."""
    store.submit(new(), 0.0)
    for now in (1.0, 2.0, 3.0):
        assert store.give_back(claim(store, now), now + 1)
    assert claim(store, 5.0).attempt == 1


def test_a_late_job_is_dead(store: JobStore) -> None:
    """Nobody waits for its answer any more."""
    job, _ = store.submit(new(), 0.0)
    assert store.sweep(1000.0, 3) == 1
    found = store.get(job.id)
    assert found is not None
    assert (found.state, found.error_code) == (JobState.DEAD, "deadline_exceeded")


def test_a_waiting_job_is_cancelled_at_once_and_a_running_one_is_asked(store: JobStore) -> None:
    """Its worker hears of it with the next renewal; a lost worker's job is cancelled too."""
    waiting, _ = store.submit(new("a"), 0.0)
    cancelled = store.cancel(waiting.id, 1.0)
    assert cancelled is not None
    assert cancelled.state is JobState.CANCELLED
    for digest in ("b", "c"):
        store.submit(new(digest), 0.0)
        job = claim(store)
        asked = store.cancel(job.id, 2.0)
        assert asked is not None
        assert (asked.state, asked.cancel_requested) == (JobState.RUNNING, True)
        if digest == "b":
            renewed = store.renew(job, 3.0, LEASE, done=0, total=0)
            assert renewed is not None
            assert renewed.cancel_requested
            assert store.cancelled(job, 3.0)
        else:
            assert store.sweep(100.0, 3) == 1
        assert state(store, job) is JobState.CANCELLED
    assert store.cancel("0" * 32, 1.0) is None


def test_what_has_ended_stays_ended(store: JobStore) -> None:
    """Success is not cancelled afterwards, nor driven again."""
    store.submit(new(), 0.0)
    job = claim(store)
    store.succeed(job, 2.0, "text/plain")
    found = store.cancel(job.id, 3.0)
    assert found is not None
    assert found.state is JobState.SUCCEEDED
    assert store.redrive(job.id, 3.0, 1000.0) is None


def test_a_dead_job_is_driven_again_with_all_its_attempts(store: JobStore) -> None:
    """Unless the same work is under way in another job."""
    store.submit(new(), 0.0)
    dead = claim(store)
    store.fail(dead, 2.0, "run_failed", "", retry_at=None)
    driven = store.redrive(dead.id, 3.0, 2000.0)
    assert driven is not None
    assert (driven.state, driven.attempt, driven.deadline, driven.finished) == (JobState.QUEUED, 0, 2000.0, None)
    store.fail(claim(store, 4.0), 5.0, "run_failed", "", retry_at=None)
    store.submit(new(), 6.0)
    assert store.redrive(dead.id, 7.0, 2000.0) is None


def test_a_result_and_its_deliveries_come_together(store: JobStore, outbox: Outbox) -> None:
    """One transaction: a success without its deliveries would be a lost study."""
    store.submit(new(destinations=("archive", "viewer")), 0.0)
    job = claim(store)
    assert outbox.of(job.id) == []
    assert store.succeed(job, 2.0, "application/dicom")
    assert [(d.destination, d.state) for d in outbox.of(job.id)] == [
        ("archive", DeliveryState.PENDING),
        ("viewer", DeliveryState.PENDING),
    ]
    assert not store.succeed(job, 3.0, "application/dicom")
    assert len(outbox.of(job.id)) == 2


def test_a_delivery_is_tried_until_it_has_arrived(store: JobStore, outbox: Outbox) -> None:
    """One courier at a time; a lost one's delivery goes to another after its lease; arrived stays arrived."""
    store.submit(new(destinations=("archive",)), 0.0)
    store.succeed(claim(store), 2.0, "application/dicom")
    first = outbox.claim(3.0, LEASE)
    assert first is not None
    assert outbox.claim(4.0, LEASE) is None
    outbox.failed(first, "connection_refused", retry_at=10.0)
    assert outbox.claim(9.0, LEASE) is None
    second = outbox.claim(10.0, LEASE)
    assert second is not None
    assert (second.attempt, second.error_code) == (2, "connection_refused")
    third = outbox.claim(41.0, LEASE)
    assert third is not None
    outbox.delivered(third)
    outbox.failed(second, "late", retry_at=42.0)
    assert [d.state for d in outbox.of(first.job)] == [DeliveryState.DELIVERED]
    assert outbox.claim(1000.0, LEASE) is None


def test_a_dead_delivery_waits_for_a_person(store: JobStore, outbox: Outbox) -> None:
    """And goes again when told to."""
    store.submit(new(destinations=("archive",)), 0.0)
    store.succeed(claim(store), 2.0, "application/dicom")
    delivery = outbox.claim(3.0, LEASE)
    assert delivery is not None
    outbox.failed(delivery, "refused", retry_at=None)
    assert outbox.claim(1000.0, LEASE) is None
    assert outbox.redrive(delivery.job, 1001.0) == 1
    assert outbox.claim(1001.0, LEASE) is not None


def test_old_jobs_are_forgotten_but_not_before_they_are_delivered(store: JobStore, outbox: Outbox) -> None:
    """Retention never loses a result that is still on its way."""
    store.submit(new("a"), 0.0)
    plain = claim(store)
    store.succeed(plain, 2.0, "text/plain")
    store.submit(new("b", destinations=("archive",)), 0.0)
    carried = claim(store)
    store.succeed(carried, 2.0, "text/plain")
    waiting, _ = store.submit(new("c"), 0.0)
    assert store.purge(2.0) == []
    assert store.purge(3.0) == [plain.id]
    delivery = outbox.claim(3.0, LEASE)
    assert delivery is not None
    outbox.delivered(delivery)
    assert store.purge(3.0) == [carried.id]
    assert outbox.of(carried.id) == []
    assert store.states([plain.id, carried.id, waiting.id]) == {waiting.id: JobState.QUEUED}


def test_jobs_are_found_by_owner_and_state(store: JobStore) -> None:
    """The newest first, no more than asked for."""
    for number in range(3):
        store.submit(new(str(number)), float(number))
    store.submit(new(owner="you"), 9.0)
    claim(store, 10.0)
    assert [job.created for job in store.find(owner="me")] == [2.0, 1.0, 0.0]
    assert [job.created for job in store.find(states=[JobState.RUNNING])] == [0.0]
    assert len(store.find(limit=2)) == 2
    assert store.counts() == {**dict.fromkeys(JobState, 0), JobState.QUEUED: 3, JobState.RUNNING: 1}


def test_every_state_can_be_reached_and_ended() -> None:
    """The table has no dead ends but those that are meant."""
    reached = {after for following in TRANSITIONS.values() for after in following} | {JobState.QUEUED}
    assert reached == set(JobState)
    assert {before for before, after in TRANSITIONS.items() if not after} == {JobState.SUCCEEDED, JobState.CANCELLED}


def test_what_waits_is_what_could_be_claimed(store: JobStore) -> None:
    """Of these bundles, due, not too late; what runs does not wait."""
    for bundle in (DIGEST, DIGEST, "sha256:2"):
        store.submit(new(f"input {next(_numbers)}", bundle=bundle), 0.0)
    assert [store.waiting(digests, 1.0) for digests in ([], [DIGEST], [DIGEST, "sha256:2"])] == [0, 2, 3]
    assert store.waiting([DIGEST], 1001.0) == 0
    assert store.claim([DIGEST], 1.0, LEASE) is not None
    assert store.waiting([DIGEST], 1.0) == 1
