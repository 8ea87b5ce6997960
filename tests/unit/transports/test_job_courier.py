"""Results reach their destinations, however long those are away."""

import asyncio
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import pytest
from tests.unit.observability.test_tracing import PARENT, SPAN, Kept
from tests.waiting import until

from bedside.errors import DeliveryFailed
from bedside.jobs.desk import RESULT
from bedside.jobs.outbox import Outbox
from bedside.jobs.records import Delivery, NewJob
from bedside.jobs.spool import Spool
from bedside.jobs.states import DeliveryState
from bedside.jobs.store import JobStore
from bedside.jobs.tables import connect
from bedside.observability.traceparent import CURRENT_SPAN, TraceParent
from bedside.observability.tracing import Tracer
from bedside.settings import JobSettings
from bedside.transports.jobs.courier import Courier

SETTINGS = JobSettings(retry_seconds=10, retry_most_seconds=100, delivery_seconds=3600, lease_seconds=30)


class Archive:
    """A destination that can be away."""

    def __init__(self) -> None:
        self.away: Exception | None = None
        self.kept: list[tuple[str, int, bytes]] = []
        self.asked_in: list[TraceParent | None] = []

    async def keep(self, media_type: str, size: int, chunks: Iterator[bytes]) -> None:
        """Keep a result, or fail."""
        self.asked_in.append(CURRENT_SPAN.get())
        if self.away:
            raise self.away
        self.kept.append((media_type, size, b"".join(chunks)))


class Place:
    """A finished job with a result for ``archive``, and a clock of its own."""

    def __init__(self, folder: Path) -> None:
        engine = connect(f"sqlite:///{folder / 'jobs.db'}")
        self.store, self.outbox, self.spool = JobStore(engine), Outbox(engine), Spool(folder / "spool")
        self.archive, self.now = Archive(), 100.0
        self.hand_in("1", "archive")
        self.courier = self.courier_to({"archive": self.archive.keep})

    def hand_in(self, digit: str, destination: str, trace: str = "") -> None:
        """Put a job's result into the outbox."""
        new = NewJob(
            digit * 32, "me", "heart", "1", "sha256:1", digit, "application/dicom", 1000.0, (destination,), trace
        )
        self.store.submit(new, 0.0)
        job = self.store.claim(["sha256:1"], 1.0, 30.0)
        assert job is not None
        self.spool.put(job.id, RESULT, b"mask")
        self.store.succeed(job, self.now, "application/dicom")

    def courier_to(
        self,
        destinations: Mapping[str, object],
        settings: JobSettings = SETTINGS,
        clock: Callable[[], float] | None = None,
        tracer: Tracer | None = None,
    ) -> Courier:
        """Return a courier that knows these destinations."""
        return Courier(
            self.outbox,
            self.store,
            self.spool,
            destinations,  # type: ignore[arg-type]
            settings,
            clock or (lambda: self.now),
            tracer,
        )

    @property
    def state(self) -> DeliveryState:
        """Return the delivery's state."""
        (delivery,) = self.outbox.of("1" * 32)
        return delivery.state


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Return a place with one result to deliver."""
    return Place(tmp_path)


@pytest.mark.parametrize("away", [None, DeliveryFailed("Jane Doe")], ids=["delivered", "failed"])
async def test_a_delivery_is_a_span_in_the_trace_of_the_job(place: Place, away: Exception | None) -> None:
    """With the attempt and, where it fails, the error's class; nothing of where it goes."""
    place.archive.away, tracer = away, Kept()
    place.hand_in("2", "other", str(PARENT))
    courier = place.courier_to({"other": place.archive.keep}, tracer=tracer)
    assert await courier.deliver_next("other")
    (span,) = tracer.finished
    assert (span.name, span.parent) == ("deliver heart", PARENT)
    assert place.archive.asked_in == [SPAN]
    ended = {"outcome": "failure", "error_type": "DeliveryFailed"} if away else {"outcome": "success"}
    assert span.facts == {
        "model": "heart",
        "version": "1",
        "digest": "sha256:1",
        "job": "2" * 32,
        "attempt": 1,
        **ended,
    }


async def test_a_large_result_goes_out_in_pieces(place: Place) -> None:
    """It is never in memory as a whole."""
    megabytes = 0

    async def count(_media_type: str, size: int, chunks: Iterator[bytes]) -> None:
        nonlocal megabytes
        megabytes = sum(len(chunk) == 1 << 20 for chunk in chunks)
        assert size == megabytes << 20

    place.spool.put("1" * 32, RESULT, bytes(16 << 20))
    courier = place.courier_to({"archive": count})
    tracemalloc.start()
    try:
        assert await courier.deliver_next("archive")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (megabytes, place.state) == (16, DeliveryState.DELIVERED)
    assert peak < 8 << 20


async def test_a_result_is_delivered_once(place: Place) -> None:
    """With its media type; then there is nothing to do."""
    assert await place.courier.deliver_next("archive")
    assert place.archive.kept == [("application/dicom", 4, b"mask")]
    assert place.state is DeliveryState.DELIVERED
    assert not await place.courier.deliver_next("archive")


async def test_an_archive_that_is_away_for_an_hour_loses_nothing(place: Place) -> None:
    """It is tried again with growing waits, and delivered when it is back."""
    place.archive.away = ConnectionRefusedError("10.1.2.3: user:password")
    begin, tries = place.now, 0
    while place.now < begin + 3000:
        tries += await place.courier.deliver_next("archive")
        place.now += 1.0
    assert 20 < tries < 60
    place.archive.away = None
    place.now += 200
    assert await place.courier.deliver_next("archive")
    assert len(place.archive.kept) == 1
    (delivery,) = place.outbox.of("1" * 32)
    assert "password" not in repr(delivery)


async def test_what_cannot_be_delivered_in_time_waits_for_a_person(place: Place) -> None:
    """And is delivered when somebody drives it again."""
    place.archive.away = TimeoutError()
    while place.state is DeliveryState.PENDING:
        await place.courier.deliver_next("archive")
        place.now += 50.0
    assert place.state is DeliveryState.DEAD
    assert place.now < 100.0 + 3600 * 1.5 + 300  # chance adds up to half to each wait
    place.now += 7 * 86400.0
    place.outbox.redrive("1" * 32, place.now)
    assert await place.courier.deliver_next("archive")
    assert str(place.state) == "pending"  # it has all its time again
    place.archive.away = None
    place.now += 100
    assert await place.courier.deliver_next("archive")
    assert len(place.archive.kept) == 1


async def test_an_archive_that_hangs_holds_no_other_up(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each destination has a courier of its own; a slow one keeps its lease, and nobody else carries the same."""
    hanging = asyncio.Event()

    async def hang(_media_type: str, _size: int, _chunks: Iterator[bytes]) -> None:
        hanging.set()
        await asyncio.Event().wait()

    renewed: list[tuple[str, float]] = []
    renew = place.outbox.renew

    def noted(delivery: Delivery, now: float, lease_seconds: float) -> None:
        renew(delivery, now, lease_seconds)
        renewed.append((delivery.destination, now))

    monkeypatch.setattr(place.outbox, "renew", noted)
    settings = SETTINGS.model_copy(update={"poll_seconds": 0.01, "lease_seconds": 0.3})
    place.hand_in("2", "slow")
    place.hand_in("3", "slow")
    destinations = {"slow": hang, "archive": place.archive.keep}
    carrying = asyncio.create_task(place.courier_to(destinations, settings).run())
    await hanging.wait()
    await until(lambda: place.state is DeliveryState.DELIVERED)
    for _ in range(3):
        place.now += 0.2
        await until(lambda: ("slow", place.now) in renewed)
    assert place.outbox.claim(place.now, 30.0, to="slow") is not None  # the other one for the slow archive
    assert place.outbox.claim(place.now, 30.0, to="slow") is None
    carrying.cancel()
    with suppress(asyncio.CancelledError):
        await carrying


async def test_a_destination_that_is_not_known_here_is_tried_again(place: Place) -> None:
    """Another replica, or the next configuration, may know it."""
    assert await place.courier_to({}).deliver_next(None)
    place.now += 100
    assert await place.courier.deliver_next("archive")
    assert place.state is DeliveryState.DELIVERED


async def test_a_courier_that_is_lost_after_delivering_delivers_again(place: Place) -> None:
    """At least once: the destination is given the same object, and keeps one."""
    claimed = place.outbox.claim(place.now, 30.0)
    assert claimed is not None
    place.now += 31
    assert await place.courier.deliver_next("archive")
    assert place.state is DeliveryState.DELIVERED
