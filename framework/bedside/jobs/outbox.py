"""The outbox: results that are kept until their destinations have them, however long an archive is away."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Engine, and_, select, update

from bedside.jobs.records import Delivery
from bedside.jobs.states import DeliveryState
from bedside.jobs.tables import DELIVERIES, READ_ONLY

_COLUMNS = [DELIVERIES.c[name] for name in Delivery.__slots__]


class Outbox:
    """Deliveries in the job store's database; thread-safe. ``JobStore.succeed`` puts them there.

    Args:
        engine: the job store's.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._reads = engine.execution_options(**READ_ONLY)

    def claim(
        self, now: float, lease_seconds: float, *, to: str | None = None, not_to: Collection[str] = ()
    ) -> Delivery | None:
        """Lease the delivery that is due first: of one destination, of all but some, or of any."""
        table = DELIVERIES.c
        due = and_(table.state == DeliveryState.PENDING, table.not_before <= now, table.lease_until < now)
        due = and_(due, table.destination.not_in(not_to) if to is None else table.destination == to)
        first = select(*_COLUMNS).where(due).order_by(table.not_before).limit(1).with_for_update(skip_locked=True)
        with self._engine.begin() as connection:
            row = connection.execute(first).first()
            if row is None:
                return None
            values = {"lease_until": now + lease_seconds, "attempt": row.attempt + 1}
            connection.execute(update(DELIVERIES).where(_same_delivery(row)).values(**values))
        return replace(_delivery(row), attempt=row.attempt + 1)

    def renew(self, delivery: Delivery, now: float, lease_seconds: float) -> None:
        """Keep the lease of a delivery that is under way."""
        self._set(delivery, DELIVERIES.c.attempt == delivery.attempt, lease_until=now + lease_seconds)

    def delivered(self, delivery: Delivery) -> None:
        """Record that the destination has it."""
        self._set(delivery, state=DeliveryState.DELIVERED, error_code="")

    def failed(self, delivery: Delivery, code: str, *, retry_at: float | None) -> None:
        """Try again at ``retry_at``; where that is None, leave it to a person."""
        # Only by whoever tried last: what a slower one says of its own attempt tells nothing about the one under way.
        again = {"state": DeliveryState.DEAD} if retry_at is None else {"not_before": retry_at}
        self._set(delivery, DELIVERIES.c.attempt == delivery.attempt, error_code=code, lease_until=0.0, **again)

    def of(self, job_id: str) -> Sequence[Delivery]:
        """Return a job's deliveries."""
        query = select(*_COLUMNS).where(DELIVERIES.c.job == job_id).order_by(DELIVERIES.c.destination)
        with self._reads.connect() as connection:
            return [_delivery(row) for row in connection.execute(query)]

    def find(self, state: DeliveryState, limit: int = 100) -> Sequence[Delivery]:
        """Return deliveries in a state, those that were due last first."""
        query = select(*_COLUMNS).where(DELIVERIES.c.state == state).order_by(DELIVERIES.c.not_before.desc())
        with self._reads.connect() as connection:
            return [_delivery(row) for row in connection.execute(query.limit(limit))]

    def redrive(self, job_id: str, now: float) -> int:
        """Try a job's dead deliveries again; return how many."""
        dead = and_(DELIVERIES.c.job == job_id, DELIVERIES.c.state == DeliveryState.DEAD)
        values = {"state": DeliveryState.PENDING, "attempt": 0, "not_before": now}
        with self._engine.begin() as connection:
            return connection.execute(update(DELIVERIES).where(dead).values(**values)).rowcount

    def _set(self, delivery: Delivery, *where: ColumnElement[bool], **values: Any) -> None:
        # A delivery that has arrived stays so, whatever a slower worker reports later.
        open_ = and_(_same_delivery(delivery), DELIVERIES.c.state != DeliveryState.DELIVERED, *where)
        with self._engine.begin() as connection:
            connection.execute(update(DELIVERIES).where(open_).values(**values))


def _same_delivery(row: Any) -> ColumnElement[bool]:
    return and_(DELIVERIES.c.job == row.job, DELIVERIES.c.destination == row.destination)


def _delivery(row: Any) -> Delivery:
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
    return Delivery(**values | {"state": DeliveryState(values["state"])})
