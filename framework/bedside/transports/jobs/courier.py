"""Carries results from the outbox to their destinations, until each has its own."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress

from bedside.errors import BedsideError
from bedside.jobs.desk import RESULT
from bedside.jobs.outbox import Outbox
from bedside.jobs.records import Delivery
from bedside.jobs.spool import Spool
from bedside.jobs.store import JobStore
from bedside.observability.accounting import slug
from bedside.observability.events import Event
from bedside.observability.logging import get_logger
from bedside.observability.traceparent import trace_parent_from
from bedside.observability.tracing import SpanKind, Tracer
from bedside.settings import JobSettings

Deliver = Callable[[str, int, Iterator[bytes]], Awaitable[None]]
"""Given a result's media type, size and bytes in chunks: returns once the destination has confirmed that it keeps them.

It may be called again with the same result, after a crash between the confirmation and our note of it; results carry
identifiers that do not change, so a destination keeps one."""

_log = get_logger("bedside.jobs")


class Courier:
    """One server's deliveries.

    Args:
        outbox: what is to be delivered.
        store: the jobs that they belong to.
        spool: the results.
        destinations: how to deliver, by the destination's name.
        settings: waits and the time after which a person must look.
        clock: seconds since the epoch.
        tracer: takes a span of each attempt, in the trace of the call that handed the job in.
    """

    def __init__(
        self,
        outbox: Outbox,
        store: JobStore,
        spool: Spool,
        destinations: Mapping[str, Deliver],
        settings: JobSettings,
        clock: Callable[[], float] = time.time,
        tracer: Tracer | None = None,
    ) -> None:
        self._outbox = outbox
        self._store = store
        self._spool = spool
        self._destinations = destinations
        self._settings = settings
        self._clock = clock
        self._tracer = tracer or Tracer()

    async def run(self) -> None:
        """Deliver until cancelled; each destination by itself, so that one that hangs holds no other up."""
        async with asyncio.TaskGroup() as couriers:
            for destination in (*self._destinations, None):
                couriers.create_task(self._carry(destination))

    async def _carry(self, destination: str | None) -> None:
        while True:
            try:
                if await self.deliver_next(destination):
                    continue
            except Exception as error:  # noqa: BLE001 - a database that is away must not end the courier
                _log.error(Event.JOB_STORE_FAILED, error_type=type(error).__name__)
            await asyncio.sleep(self._settings.poll_seconds)

    async def deliver_next(self, destination: str | None) -> bool:
        """Try a destination's delivery that is due first, None: of those not known here; tell whether there was one."""
        lease, known = self._settings.lease_seconds, self._destinations
        delivery = await asyncio.to_thread(
            self._outbox.claim, self._clock(), lease, to=destination, not_to=tuple(known)
        )
        if delivery is None:
            return False
        keeping = asyncio.create_task(self._keep(delivery))
        try:
            async with asyncio.timeout(self._settings.run_seconds):
                await self._deliver(delivery)
        except Exception as error:  # noqa: BLE001 - its text may hold an address with credentials: the class is told
            await asyncio.to_thread(self._failed, delivery, slug(type(error).__name__))
        else:
            await asyncio.to_thread(self._outbox.delivered, delivery)
            _log.info(Event.RESULT_DELIVERED, job=delivery.job, attempt=delivery.attempt)
        finally:
            keeping.cancel()
        return True

    async def _keep(self, delivery: Delivery) -> None:
        """Renew the lease while a large result is on its slow way."""
        while True:
            await asyncio.sleep(self._settings.lease_seconds / 3)
            with suppress(Exception):  # the database is away; the destination keeps one of two
                await asyncio.to_thread(self._outbox.renew, delivery, self._clock(), self._settings.lease_seconds)

    async def _deliver(self, delivery: Delivery) -> None:
        job = await asyncio.to_thread(self._store.get, delivery.job)
        deliver = self._destinations.get(delivery.destination)
        if job is None or deliver is None:
            raise BedsideError("this server knows no such destination")
        size, chunks = await asyncio.to_thread(self._spool.read, job.id, RESULT)
        parent = trace_parent_from(job.trace_parent.encode())
        of_model = {"model": job.model, "version": job.version, "digest": job.digest}
        about = {**of_model, "job": job.id, "attempt": delivery.attempt}  # nothing of where it goes
        with self._tracer.span(f"deliver {job.model}", parent, SpanKind.CLIENT, **about):
            await deliver(job.result_type, size, chunks)

    def _failed(self, delivery: Delivery, code: str) -> None:
        waits = list(map(self._wait, range(1, delivery.attempt + 1)))
        wait = waits[-1] * random.uniform(1.0, 1.5)  # noqa: S311 - jitter, so that retries do not come in waves
        # Of the attempts since somebody drove it again: a result that is a week old gets its time, too.
        final = sum(waits) > self._settings.delivery_seconds
        self._outbox.failed(delivery, code, retry_at=None if final else self._clock() + wait)
        _log.warning(Event.RESULT_NOT_DELIVERED, job=delivery.job, attempt=delivery.attempt, error_code=code)

    def _wait(self, attempt: int) -> float:
        # The exponent is bounded: after a weekend of attempts, the power would be no float any more.
        return min(self._settings.retry_seconds * 2.0 ** min(attempt - 1, 16), self._settings.retry_most_seconds)
