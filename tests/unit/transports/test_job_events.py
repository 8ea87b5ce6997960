"""How many streams of job events there may be, and how long one goes on."""

import asyncio
from pathlib import Path

import pytest
from tests.unit.transports.fakes import Wire
from tests.unit.transports.test_jobs import Office

from bedside.errors import QueueFull
from bedside.transports.rest import job_events
from bedside.transports.rest.jobs import describe


@pytest.fixture
def office(tmp_path: Path) -> Office:
    """Return an office whose lane does not work yet."""
    return Office(tmp_path)


async def test_event_streams_of_all_callers_leave_connections_for_others(office: Office) -> None:
    """However many callers there are; a place is free again once a stream has ended, and before its first event."""
    async with office.client() as client:
        await office.submitted(client)
    (job,) = office.store.find()
    streams = job_events.JobEvents(lambda _: {}, describe, most=2, together=3)
    held = [streams.follow(job, caller, 2e9) for caller in ("one", "one", "other")]
    with pytest.raises(QueueFull, match="half of"):
        streams.follow(job, "third", 2e9)
    wire = Wire("/", method="GET")
    await held[0](wire.scope, wire.receive, wire.send)
    assert streams.follow(job, "third", 2e9)


async def test_an_event_stream_ends_with_its_callers_token(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever may not ask any more is told nothing more, though the job goes on for a day."""
    monkeypatch.setattr(job_events, "EVENT_SECONDS", 0.01)
    async with office.client() as client:
        await office.submitted(client)
    (job,) = office.store.find()
    moments = iter([0.0, 5.0, 10.0])
    streams = job_events.JobEvents(lambda asked: dict.fromkeys(asked, job), describe, 1, 1, clock=lambda: next(moments))
    wire = Wire("/", method="GET")
    await asyncio.wait_for(streams.follow(job, "me", 10.0)(wire.scope, wire.receive, wire.send), 30)
    assert b"event: queued" in wire.body
    assert next(moments, None) is None
