"""Runs jobs: claims one, takes it along the spine, keeps its lease, and writes down how it ended.

A worker that is lost costs an attempt and nothing else: its lease ends, and another worker takes the job.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from bedside.errors import BedsideError, DeadlineExceeded, InputNotProcessable, RequestError, Unavailable
from bedside.interfaces import Progress
from bedside.jobs.desk import INPUT, RESULT
from bedside.jobs.envelope import unpack
from bedside.jobs.records import Job
from bedside.jobs.spool import Spool
from bedside.jobs.states import JobState
from bedside.jobs.store import JobStore
from bedside.observability.accounting import slug
from bedside.observability.events import Event
from bedside.observability.logging import get_logger
from bedside.settings import JobSettings
from bedside.types import EncodedAnswer, RawInput

Work = Callable[[Job, list[RawInput], Progress], Awaitable[EncodedAnswer]]
"""Stages 3 to 9 of the spine for one job. It may empty the list of inputs, once they are decoded."""

T = TypeVar("T")

TIDY_SECONDS = 60.0
"""How often old jobs are forgotten."""

_REFUSED = (RequestError, InputNotProcessable, DeadlineExceeded)
"""What the next attempt would end in as well."""

_log = get_logger("bedside.jobs")


class JobLane:
    """One server's workers.

    Args:
        store: where jobs come from.
        spool: their inputs and results.
        work: runs one.
        digests: the bundles that are ready here.
        settings: leases, attempts, waits.
        tidy: called now and then; forgets what is old.
    """

    def __init__(
        self,
        store: JobStore,
        spool: Spool,
        work: Work,
        digests: Callable[[], Sequence[str]],
        settings: JobSettings,
        tidy: Callable[[], object] = lambda: None,
    ) -> None:
        self._tidy = tidy
        self._store = store
        self._spool = spool
        self._work = work
        self._digests = digests
        self._settings = settings
        self._due = asyncio.Event()
        self._workers: list[asyncio.Task[None]] = []
        self._stopping = False
        self.waiting = 0
        """Jobs that could run here and wait, of whichever replica; counted three times in ``lease_seconds``."""

    def start(self) -> None:
        """Begin to work."""
        self._stopping = False
        self._workers = [asyncio.create_task(self._work_on()) for _ in range(self._settings.concurrency)]
        self._workers.append(asyncio.create_task(self._sweep()))

    def wake(self) -> None:
        """Look for work now: a job has just been handed in here."""
        self._due.set()

    async def stop(self) -> None:
        """Stop, and hand what is running back to the others without using up an attempt."""
        self._stopping = True
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        self._workers = []

    async def _work_on(self) -> None:
        while True:
            self._due.clear()  # before looking: what comes while it is looked for wakes again
            try:
                job = await self._claim()
                if job is None:
                    await self._rest()
                else:
                    await self._run(job)
            except Exception as error:  # noqa: BLE001 - a database that is away must not end the worker
                _log.error(Event.JOB_STORE_FAILED, error_type=type(error).__name__)
                await asyncio.sleep(self._settings.poll_seconds)

    async def _rest(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.poll_seconds):
                await self._due.wait()

    async def _claim(self) -> Job | None:
        digests = self._digests()
        if not digests:
            return None
        claiming = asyncio.ensure_future(
            asyncio.to_thread(self._store.claim, digests, time.time(), self._settings.lease_seconds)
        )
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            job = await claiming  # a thread cannot be stopped: what it got is handed on
            if job is not None:
                await asyncio.to_thread(self._store.give_back, job, time.time())
            raise

    async def _run(self, job: Job) -> None:
        progress = _Progress()
        working = asyncio.create_task(self._attempt(job, progress.tell))
        keeping = asyncio.create_task(self._keep(job, progress, working))
        try:
            answer = await working
        except BedsideError as error:
            await asyncio.to_thread(self._failed, job, error)
        except asyncio.CancelledError:
            await asyncio.shield(asyncio.to_thread(self._interrupted, job, progress))
            if self._stopping:
                raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this job's, and its text may quote the input
            await asyncio.to_thread(self._failed, job, BedsideError(f"unexpected {type(error).__name__}"))
        else:
            await asyncio.to_thread(self._succeeded, job, answer)
        finally:
            working.cancel()
            keeping.cancel()

    async def _attempt(self, job: Job, progress: Progress) -> EncodedAnswer:
        return await self._work(job, await asyncio.to_thread(self._inputs, job), progress)

    def _inputs(self, job: Job) -> list[RawInput]:
        _, chunks = self._spool.read(job.id, INPUT)
        return unpack(chunks)

    async def _keep(self, job: Job, progress: "_Progress", working: asyncio.Task[EncodedAnswer]) -> None:
        """Renew the lease until the work is over; stop the work where it was given up, or the lease is lost."""
        kept = time.time()
        while True:
            await asyncio.sleep(min(1.0, self._settings.lease_seconds / 3))
            now = time.time()
            try:
                renewed = await asyncio.to_thread(
                    self._store.renew, job, now, self._settings.lease_seconds, done=progress.done, total=progress.total
                )
            except Exception:  # noqa: BLE001 - the database is away; until the lease ends, nobody else has the job
                if now - kept < self._settings.lease_seconds:
                    continue
                renewed = None
            if renewed is None or renewed.cancel_requested:
                progress.lost, progress.given_up = renewed is None, renewed is not None
                working.cancel()
                return
            kept = now

    def _succeeded(self, job: Job, answer: EncodedAnswer) -> None:
        # The file before the row: a row that says "succeeded" always has its result. Only under the lease, asked for
        # once nobody else writes: whoever has taken the job meanwhile may have a result that is on its way already.
        stored = self._spool.put(job.id, RESULT, answer.body, only_if=lambda: self._held(job))
        if stored and self._store.succeed(job, time.time(), answer.media_type):
            self._spool.shred(job.id, INPUT)
            self._log(job, JobState.SUCCEEDED)
        else:
            self._log(job, None)

    def _held(self, job: Job) -> bool:
        now, lease = time.time(), self._settings.lease_seconds
        return self._store.renew(job, now, lease, done=job.total, total=job.total) is not None

    def _failed(self, job: Job, error: BedsideError) -> None:
        now, code = time.time(), slug(type(error).__name__)
        if isinstance(error, Unavailable):
            self._store.give_back(job, now + error.retry_after_seconds)
            return
        final = isinstance(error, _REFUSED) or job.attempt >= self._settings.attempts
        retry_at = None if final else now + self._pause(job.attempt)
        if self._store.fail(job, now, code, error.detail, retry_at=retry_at):
            self._log(job, JobState.DEAD if final else JobState.QUEUED, code)

    def _interrupted(self, job: Job, progress: "_Progress") -> None:
        if progress.given_up or progress.lost:
            self._given_up(job, lost=progress.lost)
        else:  # this server stops, or the work was cancelled beneath us: neither is the job's fault
            self._store.give_back(job, time.time() + (0.0 if self._stopping else self._settings.retry_seconds))

    def _given_up(self, job: Job, *, lost: bool) -> None:
        if not lost and self._store.cancelled(job, time.time()):
            self._spool.shred(job.id, INPUT)
        self._log(job, None if lost else JobState.CANCELLED)

    def _pause(self, attempt: int) -> float:
        wait = min(self._settings.retry_seconds * 2.0 ** (attempt - 1), self._settings.retry_most_seconds)
        return wait * random.uniform(1.0, 1.5)  # noqa: S311 - jitter, so that retries do not come in waves

    def _log(self, job: Job, state: JobState | None, code: str | None = None) -> None:
        """Log the end of an attempt; ``state`` is None where the lease was lost."""
        told = "lease_lost" if state is None else str(state)
        _log.info(
            Event.JOB_ATTEMPT_ENDED, job=job.id, job_state=told, attempt=job.attempt, model=job.model, error_code=code
        )

    async def _sweep(self) -> None:
        """Give back what other workers have lost, and end what is too late."""
        tidied = 0.0
        while True:
            with suppress(Exception):  # the database is away; the workers say so
                if await asyncio.to_thread(self._store.sweep, time.time(), self._settings.attempts):
                    self.wake()
                self.waiting = await asyncio.to_thread(self._store.waiting, self._digests(), time.time())
                if time.monotonic() - tidied >= TIDY_SECONDS:
                    tidied = time.monotonic()
                    await asyncio.to_thread(self._tidy)
            await asyncio.sleep(self._settings.lease_seconds / 3)


class _Progress:
    """How far the work is, and why it was stopped."""

    __slots__ = ("done", "given_up", "lost", "total")

    def __init__(self) -> None:
        self.done = self.total = 0
        self.given_up = self.lost = False

    def tell(self, done: int, total: int) -> None:
        self.done, self.total = done, total
