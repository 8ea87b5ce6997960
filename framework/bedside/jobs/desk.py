"""Where jobs are handed in, asked for and given up: store and spool together, each step safe against a crash after it.

A file is written before the row that names it and shredded after the row has changed, so a crash leaves at most a file
that no row names; those are swept. All methods may block: call them in a thread.
"""

import re
import secrets
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from bedside.errors import CallerLimitReached, JobNotDead, JobNotFinished, JobNotFound, SpoolFull
from bedside.jobs.envelope import digest, pack
from bedside.jobs.records import Job, NewJob
from bedside.jobs.spool import Spool
from bedside.jobs.states import JobState
from bedside.jobs.store import JobStore
from bedside.observability.traceparent import TraceParent
from bedside.settings import JobSettings
from bedside.types import Principal, RawInput

_ID = re.compile("[0-9a-f]{32}")

INPUT, RESULT = "input", "result"

ORPHAN_SECONDS = 3600.0
"""Age from which on a file that no job names is what a crash has left."""

Clock = Callable[[], float]


class JobDesk:
    """Implements what a transport needs of jobs.

    Args:
        store: rows.
        spool: files.
        settings: deadlines and retention.
        clock: seconds since the epoch.
    """

    def __init__(self, store: JobStore, spool: Spool, settings: JobSettings, clock: Clock = time.time) -> None:
        self._store = store
        self._spool = spool
        self._settings = settings
        self._clock = clock

    def submit(
        self,
        principal: Principal,
        served: tuple[str, str, str],
        inputs: Sequence[RawInput],
        media_type: str,
        destinations: Sequence[str] = (),
        trace: TraceParent | None = None,
    ) -> tuple[Job, bool]:
        """Take inputs that have been checked against the contract; return the job and whether it is new.

        Args:
            principal: who asks.
            served: model, version and digest of the bundle that was resolved.
            inputs: as they came.
            media_type: of the answer.
            destinations: names of archives that get the result.
            trace: span of the call that hands it in.

        Raises:
            CallerLimitReached, SpoolFull, SpoolFailed: nothing was taken.
        """
        now, envelope = self._clock(), pack(inputs)
        model, version, bundle_digest = served
        new = NewJob(
            id=secrets.token_hex(16),
            owner=principal.owner,
            model=model,
            version=version,
            digest=bundle_digest,
            input_digest=digest(envelope),
            media_type=media_type,
            deadline=now + self._settings.deadline_seconds,
            destinations=tuple(destinations),
            trace_parent="" if trace is None else str(trace),
        )
        known = self._store.live(new.key)
        if known is not None:
            return known, False
        self._check_room(new.owner, len(envelope))
        self._spool.put(new.id, INPUT, envelope)
        job, created = self._store.submit(new, now)
        if not created:
            self._spool.shred(new.id, INPUT)
        return job, created

    def _check_room(self, owner: str, size: int) -> None:
        most = self._settings.most_unfinished
        if self._store.unfinished(owner) >= most:
            raise CallerLimitReached(f"{most} of your jobs wait or run already")
        if self._spool.size() + size > self._settings.spool_bytes:
            raise SpoolFull

    def get(self, job_id: str, principal: Principal, *, admin: bool = False) -> Job:
        """Return a job of the caller's. Raises JobNotFound, also where it is somebody else's."""
        # PostgreSQL takes no NUL in a text; what is no id needs no look.
        job = self._store.get(job_id) if _ID.fullmatch(job_id) else None
        if job is None or not (admin or job.owner == principal.owner):
            raise JobNotFound
        return job

    def some(self, job_ids: Collection[str]) -> Mapping[str, Job]:
        """Return jobs by their id, whoever they belong to; those that are forgotten are left out."""
        return self._store.some(job_ids)

    def find(
        self, principal: Principal, *, admin: bool = False, states: Sequence[JobState] = (), limit: int = 100
    ) -> Sequence[Job]:
        """Return the caller's jobs, or for an administrator all, the newest first."""
        return self._store.find(owner=None if admin else principal.owner, states=states, limit=limit)

    def result(self, job: Job) -> tuple[str, int, Iterator[bytes]]:
        """Return media type, size and bytes, in chunks, of a job's result. Raises JobNotFinished, SpoolFailed."""
        if job.state is not JobState.SUCCEEDED:
            raise JobNotFinished(f"the job is {job.state}; it has no result")
        return job.result_type, *self._spool.read(job.id, RESULT)

    def cancel(self, job: Job) -> Job:
        """Give a job up: at once where it waits, as soon as its worker hears of it where it runs."""
        changed = self._store.cancel(job.id, self._clock()) or job
        if changed.state is JobState.CANCELLED:
            self._spool.shred(job.id, INPUT)
        return changed

    def redrive(self, job: Job) -> Job:
        """Queue a dead job again. Raises JobNotDead."""
        now = self._clock()
        changed = self._store.redrive(job.id, now, now + self._settings.deadline_seconds)
        if changed is None:
            raise JobNotDead(f"the job is {job.state}, or the same work is under way in another job")
        return changed

    def tidy(self) -> int:
        """Forget old jobs, and shred what a crash has left behind; return how many jobs were forgotten."""
        gone = self._store.purge(self._clock() - self._settings.retention_seconds)
        states = self._store.states(sorted(self._spool.older_than(self._settings.lease_seconds)))
        # The file of a job that is being handed in is not yet named by a row, for as long as a database may take.
        for job in {*gone, *(self._spool.older_than(ORPHAN_SECONDS) - states.keys())}:
            self._spool.shred_all(job)
        for job, state in states.items():
            if state in (JobState.SUCCEEDED, JobState.CANCELLED) and self._spool.has(job, INPUT):
                self._spool.shred(job, INPUT)
        return len(gone)
