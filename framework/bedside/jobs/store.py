"""The store of jobs: durable, shared by any number of workers, the only place that changes a job's state.

At least once: a job whose worker is lost is given to another when its lease ends. Never twice to the outside: only the
holder of the current lease may end a job, and a result and its deliveries are written in one transaction.
"""

import secrets
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, and_, delete, func, select, update
from sqlalchemy.exc import IntegrityError

from bedside.jobs.records import Job, NewJob
from bedside.jobs.states import FINISHED, LIVE, UNFINISHED, DeliveryState, JobState, may_become
from bedside.jobs.tables import DELIVERIES, JOBS, READ_ONLY

_COLUMNS = [JOBS.c[name] for name in Job.__slots__]


class JobStore:
    """Jobs in a database; thread-safe.

    Args:
        engine: of :func:`bedside.jobs.tables.connect`.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._reads = engine.execution_options(**READ_ONLY)

    def submit(self, new: NewJob, now: float) -> tuple[Job, bool]:
        """Return the job for a piece of work, and whether it is new: the same work twice is one job."""
        for _ in range(2):
            try:
                with self._engine.begin() as connection:
                    found = _one(connection, and_(JOBS.c.key == new.key, JOBS.c.state.in_(LIVE)))
                    if found is not None:
                        return found, False
                    return _insert(connection, new, now), True
            except IntegrityError:  # another replica was quicker; it is found the second time
                continue
        raise AssertionError("a live job with this key exists and cannot be read")  # pragma: no cover

    def get(self, job_id: str) -> Job | None:
        """Return a job."""
        with self._reads.connect() as connection:
            return _one(connection, JOBS.c.id == job_id)

    def live(self, key: str) -> Job | None:
        """Return the job that a second submission of the same work (``NewJob.key``) would be answered with."""
        with self._reads.connect() as connection:
            return _one(connection, and_(JOBS.c.key == key, JOBS.c.state.in_(LIVE)))

    def some(self, job_ids: Collection[str]) -> Mapping[str, Job]:
        """Return jobs by their id; those that are not there are left out."""
        query = select(*_COLUMNS).where(JOBS.c.id.in_(job_ids))
        with self._reads.connect() as connection:
            return {row.id: _job(row) for row in connection.execute(query)}

    def unfinished(self, owner: str) -> int:
        """Return how many jobs of an owner wait or run."""
        query = select(func.count()).where(JOBS.c.owner == owner, JOBS.c.state.in_(UNFINISHED))
        with self._reads.connect() as connection:
            return connection.execute(query).scalar_one()

    def find(self, *, owner: str | None = None, states: Sequence[JobState] = (), limit: int = 100) -> Sequence[Job]:
        """Return jobs, the newest first; of all owners where none is named."""
        query = select(*_COLUMNS).order_by(JOBS.c.created.desc(), JOBS.c.id).limit(limit)
        query = query if owner is None else query.where(JOBS.c.owner == owner)
        query = query.where(JOBS.c.state.in_(states)) if states else query
        with self._reads.connect() as connection:
            return [_job(row) for row in connection.execute(query)]

    def counts(self) -> Mapping[JobState, int]:
        """Return how many jobs are in each state."""
        query = select(JOBS.c.state, func.count()).group_by(JOBS.c.state)
        with self._reads.connect() as connection:
            found = {JobState(state): number for state, number in connection.execute(query)}
        return {state: found.get(state, 0) for state in JobState}

    def waiting(self, digests: Sequence[str], now: float) -> int:
        """Return how many jobs of the bundles with these digests could be claimed now."""
        with self._reads.connect() as connection:
            return connection.execute(select(func.count()).where(_waiting(digests, now))).scalar_one()

    def claim(self, digests: Sequence[str], now: float, lease_seconds: float) -> Job | None:
        """Lease the job that has waited longest, of the bundles with these digests; None where none waits.

        One statement: two workers never get the same job.
        """
        waiting = _waiting(digests, now)
        oldest = select(JOBS.c.id).where(waiting).order_by(JOBS.c.created).limit(1).with_for_update(skip_locked=True)
        values = {
            "state": JobState.RUNNING,
            "attempt": JOBS.c.attempt + 1,
            "started": now,
            "lease": secrets.token_hex(16),
            "lease_until": now + lease_seconds,
            "done": 0,
            "total": 0,
        }
        statement = update(JOBS).where(JOBS.c.id == oldest.scalar_subquery(), waiting).values(values)
        with self._engine.begin() as connection:
            row = connection.execute(statement.returning(*_COLUMNS)).first()
        return None if row is None else _job(row)

    def renew(self, job: Job, now: float, lease_seconds: float, *, done: int, total: int) -> Job | None:
        """Keep a lease and tell the progress. None where the lease is lost: the work must be dropped."""
        values = {"lease_until": now + lease_seconds, "done": done, "total": total}
        return self._change(_held(job), values)

    def remember_reading(self, job: Job, digest: str) -> bool:
        """Remember what a job's references led to. False: an earlier attempt read something else, or the lease is lost.

        From the first reading on, the same references handed in are another job: they may lead elsewhere by then.
        """
        first = and_(_held(job), JOBS.c.read_digest == "")
        with self._engine.begin() as connection:
            values = {"read_digest": digest, "key": JOBS.c.key + "|" + JOBS.c.id}
            found = _change(connection, first, values) or _one(connection, _held(job))
        return found is not None and found.read_digest == digest

    def succeed(self, job: Job, now: float, result_type: str) -> bool:
        """End a job with its result, and put the result's deliveries into the outbox. False: the lease was lost."""
        ended = _ended(JobState.SUCCEEDED, now) | {"result_type": result_type, "error_code": "", "error_detail": ""}
        with self._engine.begin() as connection:
            if _change(connection, _held(job), ended) is None:
                return False
            for destination in job.destinations:
                pending = {"state": DeliveryState.PENDING, "not_before": now}
                connection.execute(DELIVERIES.insert().values(job=job.id, destination=destination, **pending))
        return True

    def fail(self, job: Job, now: float, code: str, detail: str, *, retry_at: float | None) -> bool:
        """End an attempt: again at ``retry_at``, or for good where that is None. False: the lease was lost."""
        told = {"error_code": code, "error_detail": detail}
        again = _ended(JobState.DEAD, now) if retry_at is None else _queued(retry_at)
        return self._change(_held(job), told | again) is not None

    def give_back(self, job: Job, retry_at: float) -> bool:
        """Queue a job again that could not be begun, or that a stopping server hands on: no attempt is used up."""
        return self._change(_held(job), _queued(retry_at) | {"attempt": JOBS.c.attempt - 1}) is not None

    def cancel(self, job_id: str, now: float) -> Job | None:
        """Cancel a job that waits; ask the worker of one that runs to stop. None where there is none.

        The same work handed in from now on is another job: this one will not answer it.
        """
        waiting = and_(JOBS.c.id == job_id, JOBS.c.state == JobState.QUEUED)
        running = and_(JOBS.c.id == job_id, JOBS.c.state == JobState.RUNNING, JOBS.c.cancel_requested.is_(False))
        asked = {"cancel_requested": True, "key": JOBS.c.key + "|" + JOBS.c.id}
        with self._engine.begin() as connection:
            return (
                _change(connection, waiting, _ended(JobState.CANCELLED, now))
                or _change(connection, running, asked)
                or _one(connection, JOBS.c.id == job_id)
            )

    def cancelled(self, job: Job, now: float) -> bool:
        """Record that a worker has stopped a job. False: the lease was lost."""
        return self._change(_held(job), _ended(JobState.CANCELLED, now)) is not None

    def redrive(self, job_id: str, now: float, deadline: float) -> Job | None:
        """Queue a dead job again, with all its attempts. None where it is not dead, or the same work lives again."""
        values = _queued(now) | {"attempt": 0, "deadline": deadline, "finished": None, "cancel_requested": False}
        try:
            return self._change(and_(JOBS.c.id == job_id, JOBS.c.state == JobState.DEAD), values)
        except IntegrityError:
            return None

    def sweep(self, now: float, most_attempts: int) -> int:
        """Give back what lost its worker, end what is too late; return how many jobs changed.

        A job that has cost its worker each time is not given to another for ever.
        """
        lost = and_(JOBS.c.state == JobState.RUNNING, JOBS.c.lease_until < now)
        # Given up while an attempt ran, which failed or was handed on before its worker heard of it.
        given_up = and_(JOBS.c.state == JobState.QUEUED, JOBS.c.cancel_requested)
        late = and_(JOBS.c.state == JobState.QUEUED, JOBS.c.deadline <= now)
        told = {"error_code": "worker_lost", "error_detail": "The worker ended while it ran the job."}
        too_late = {"error_code": "deadline_exceeded", "error_detail": "The job's deadline passed while it waited."}
        changes = (
            (and_(lost, JOBS.c.cancel_requested), _ended(JobState.CANCELLED, now)),
            (given_up, _ended(JobState.CANCELLED, now)),
            (and_(lost, JOBS.c.attempt >= most_attempts), told | _ended(JobState.DEAD, now)),
            (lost, told | _queued(now)),
            (late, too_late | _ended(JobState.DEAD, now)),
        )
        with self._engine.begin() as connection:
            return sum(
                connection.execute(update(JOBS).where(where).values(**values)).rowcount for where, values in changes
            )

    def purge(self, finished_before: float) -> Sequence[str]:
        """Forget jobs that ended before a time and whose results are delivered; return their ids."""
        open_ones = select(DELIVERIES.c.job).where(DELIVERIES.c.state != DeliveryState.DELIVERED)
        old = and_(JOBS.c.state.in_(FINISHED), JOBS.c.finished < finished_before, JOBS.c.id.not_in(open_ones))
        with self._engine.begin() as connection:
            return [row.id for row in connection.execute(delete(JOBS).where(old).returning(JOBS.c.id))]

    def states(self, job_ids: Sequence[str]) -> Mapping[str, JobState]:
        """Return the states of these jobs; those that are not there are left out."""
        found: dict[str, JobState] = {}
        with self._reads.connect() as connection:
            for start in range(0, len(job_ids), 500):  # SQLite takes 32,766 parameters
                some = JOBS.c.id.in_(job_ids[start : start + 500])
                rows = connection.execute(select(JOBS.c.id, JOBS.c.state).where(some))
                found.update((row.id, JobState(row.state)) for row in rows)
        return found

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def _change(self, where: ColumnElement[bool], values: Mapping[str, Any]) -> Job | None:
        with self._engine.begin() as connection:
            return _change(connection, where, values)


def _waiting(digests: Sequence[str], now: float) -> ColumnElement[bool]:
    return and_(
        JOBS.c.state == JobState.QUEUED,
        JOBS.c.not_before <= now,
        JOBS.c.deadline > now,
        JOBS.c.digest.in_(digests),
        JOBS.c.cancel_requested.is_(False),
    )


def _held(job: Job) -> ColumnElement[bool]:
    return and_(JOBS.c.id == job.id, JOBS.c.state == JobState.RUNNING, JOBS.c.lease == job.lease)


def _ended(state: JobState, now: float) -> dict[str, Any]:
    return {"state": state, "finished": now, "lease": "", "lease_until": 0.0}


def _queued(not_before: float) -> dict[str, Any]:
    return {"state": JobState.QUEUED, "not_before": not_before, "lease": "", "lease_until": 0.0}


def _change(connection: Connection, where: ColumnElement[bool], values: Mapping[str, Any]) -> Job | None:
    if "state" in values:
        where = and_(where, JOBS.c.state.in_(may_become(values["state"])))
    row = connection.execute(update(JOBS).where(where).values(**values).returning(*_COLUMNS)).first()
    return None if row is None else _job(row)


def _insert(connection: Connection, new: NewJob, now: float) -> Job:
    values = {name: getattr(new, name) for name in NewJob.__slots__} | {
        "key": new.key,
        "destinations": ",".join(new.destinations),
        "state": JobState.QUEUED,
        "created": now,
        "not_before": now,
    }
    return _job(connection.execute(JOBS.insert().values(**values).returning(*_COLUMNS)).one())


def _one(connection: Connection, where: ColumnElement[bool]) -> Job | None:
    row = connection.execute(select(*_COLUMNS).where(where)).first()
    return None if row is None else _job(row)


def _job(row: Any) -> Job:
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
    values["state"] = JobState(values["state"])
    values["destinations"] = tuple(values["destinations"].split(",")) if values["destinations"] else ()
    return Job(**values)
