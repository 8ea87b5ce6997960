"""Jobs over HTTP: taken after they were checked, followed to their end, and nobody else's."""

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from tests.unit.observability.test_tracing import PARENT
from tests.unit.transports.fakes import RECORD_BODY, Trail, Wire, World, make_world, record_run
from tests.waiting import PATIENCE_SECONDS, until

from bedside.errors import ExpiredToken
from bedside.interfaces import LISTENER
from bedside.jobs.desk import JobDesk
from bedside.jobs.outbox import Outbox
from bedside.jobs.records import Job, NewJob
from bedside.jobs.spool import Spool
from bedside.jobs.states import JobState
from bedside.jobs.store import JobStore
from bedside.jobs.tables import connect
from bedside.observability.traceparent import TraceParent
from bedside.transports.jobs.lane import JobLane
from bedside.transports.jobs.work import SpineWork
from bedside.transports.rest import job_events
from bedside.transports.rest.app import create_app
from bedside.transports.rest.jobs import describe
from bedside.transports.rest.reply import ASGIApp
from bedside.types import Prediction, Principal, UnverifiedToken, ValidatedInputs

OTHER_BODY = b'{"age": 64, "chol": 233}'
SUBMIT = "/v1/models/heart/jobs"
JSON = {"content-type": "application/json"}


class Office:
    """A world that takes jobs, and the lane that runs them."""

    def __init__(self, folder: Path, audit: Trail | None = None, **limits: int) -> None:
        waits = {"lease_seconds": 30, "poll_seconds": 0.02, "retry_seconds": 0.01, "retry_most_seconds": 0.02}
        plain = make_world(jobs=waits | limits, audit=audit)
        settings = plain.settings.jobs
        engine = connect(f"sqlite:///{folder / 'jobs.db'}")
        self.store, self.spool = JobStore(engine), Spool(folder / "spool")
        desk = JobDesk(self.store, self.spool, settings)
        self.woken = self.looks = 0
        self.redriven: list[tuple[str, str]] = []
        self.outbox = Outbox(engine)
        parts = replace(
            plain.parts,
            jobs=desk,
            wake_jobs=self._wake,
            outbox=self.outbox,
            tell_redrive=lambda who, job: self.redriven.append((who.subject, job)),
        )
        self.world: World = replace(plain, parts=parts, app=create_app(parts))
        work = SpineWork(parts.dataplane, settings)
        self.lane = JobLane(self.store, self.spool, work, self._digests, settings)

    def outbox_with_dead_delivery(self) -> None:
        """Let the result of a job be refused by an archive."""
        self.store.submit(NewJob("1" * 32, "me", "heart", "1", "d", "2", "application/dicom", 1e3, ("pacs",)), 0.0)
        job = self.store.claim(["d"], 1.0, 30.0)
        assert job is not None
        assert self.store.succeed(job, 2.0, "application/dicom")
        delivery = self.outbox.claim(3.0, 30.0)
        assert delivery is not None
        self.outbox.failed(delivery, "refused", retry_at=None)

    def _wake(self) -> None:
        self.woken += 1
        self.lane.wake()

    def _digests(self) -> Sequence[str]:
        self.looks += 1  # the worker asks before it looks for a job
        return [model.digest for model in self.world.repository.models.values()]

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Run jobs meanwhile."""
        self.lane.start()
        try:
            yield
        finally:
            await self.lane.stop()

    def client(self, who: str = "user") -> httpx.AsyncClient:
        """Return a client of a caller's."""
        transport = httpx.ASGITransport(self.world.app)
        return httpx.AsyncClient(
            transport=transport, base_url="http://test", headers={"authorization": f"Bearer {who}"}
        )

    async def submitted(self, client: httpx.AsyncClient) -> str:
        """Hand a job in and return where it is."""
        answer = await client.post(SUBMIT, content=RECORD_BODY, headers=JSON)
        assert answer.status_code == 202, answer.text
        return answer.headers["location"]


@pytest.fixture
def office(tmp_path: Path) -> Office:
    """Return an office whose lane does not work yet."""
    return Office(tmp_path)


async def ended(client: httpx.AsyncClient, location: str) -> dict[str, object]:
    """Follow a job to its end."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            job: dict[str, object] = (await client.get(location)).json()
            if job["state"] not in {"queued", "running"}:
                return job
            await asyncio.sleep(0.01)


async def test_a_job_from_its_taking_to_its_result(office: Office) -> None:
    """202 with a place to look; then the answer that ``predict`` would have given."""
    async with office.client() as client, office.working():
        location = await office.submitted(client)
        job = await ended(client, location)
        assert (job["state"], job["model"], job["version"]) == ("succeeded", "heart", "1.0.0")
        assert job["result"] == {"href": f"{location}/result", "media_type": "application/json"}
        result = await client.get(f"{location}/result")
        direct = await client.post("/v1/models/heart/predict", content=RECORD_BODY, headers=JSON)
        assert result.json() == direct.json()
        assert result.headers["content-type"] == direct.headers["content-type"]
    assert office.woken == 1


async def test_a_run_tells_its_job_how_far_it_is(office: Office) -> None:
    """Unknown until the executor tells; no key once nothing runs any more."""
    told, go_on = asyncio.Event(), asyncio.Event()

    async def sliding(inputs: ValidatedInputs, seconds: float) -> Prediction:
        await told.wait()
        listener = LISTENER.get()
        assert listener is not None
        listener(3, 8)
        await go_on.wait()
        return await record_run(inputs, seconds)

    office.world.model("heart").executor.run_one = sliding
    async with office.client() as client, office.working():
        location = await office.submitted(client)
        await until(lambda: office.store.find()[0].state is JobState.RUNNING)
        assert (await client.get(location)).json()["progress"] is None
        told.set()
        await until(lambda: office.store.find()[0].total == 8)
        assert (await client.get(location)).json()["progress"] == {"done": 3, "total": 8}
        go_on.set()
        assert "progress" not in await ended(client, location)


async def test_every_call_is_accounted_for(office: Office) -> None:
    """The taking with its caller, the run with the job's id."""
    async with office.client() as client, office.working():
        location = await office.submitted(client)
        await ended(client, location)
    taken, run = office.world.sink.calls
    assert (taken.operation, taken.transport, taken.rows) == ("jobs", "rest", 1)
    assert (run.request_id, run.transport, run.model) == (location.rpartition("/")[2], "jobs", "heart")


async def test_a_run_that_fails_unforeseen_is_accounted_as_failed(office: Office) -> None:
    """Not as one that went well, and without a word of what it said."""

    async def failing(_inputs: ValidatedInputs, _seconds: float) -> Prediction:
        raise ValueError("DOE^JOHN")

    office.world.model("heart").executor.run_one = failing
    async with office.client() as client, office.working():
        dead = await ended(client, await office.submitted(client))
    assert "bedside_error" in str(dead["error"])
    assert "DOE" not in str(dead)
    assert all(call.error is not None for call in office.world.sink.calls[1:])


async def test_a_version_that_has_gone_since_the_claim_is_no_refusal(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another server may still have it: the job waits, and no attempt is used up."""
    model = office.world.model("heart")
    async with office.client() as client:
        await office.submitted(client)
        office.world.repository.models.clear()
        monkeypatch.setattr(office.lane, "_digests", lambda: [model.digest])
        async with office.working():
            await until(lambda: office.store.find()[0].not_before > 0 and len(office.world.sink.calls) > 1)
            await until(lambda: office.store.find()[0].state is JobState.QUEUED)
    assert office.store.find()[0].attempt == 0


async def test_what_can_never_succeed_is_refused_at_once(office: Office) -> None:
    """By its field, and nothing is kept of it."""
    async with office.client() as client:
        answer = await client.post(SUBMIT, content=b'{"age": 1}', headers=JSON)
        assert (answer.status_code, answer.json()["field"]) == (422, "chol")
        answer = await client.post(SUBMIT, content=RECORD_BODY, headers={**JSON, "accept": "application/dicom"})
        assert answer.status_code == 406
        assert (await client.get("/v1/jobs")).json() == []
    assert office.spool.older_than(-1) == frozenset()


async def test_the_same_work_twice_is_one_job(office: Office) -> None:
    """A client that repeats a request after a time-out does not pay twice."""
    async with office.client() as client:
        assert await office.submitted(client) == await office.submitted(client)
    async with office.client("admin") as other:
        assert (await other.post(SUBMIT, content=RECORD_BODY, headers=JSON)).status_code == 202
    assert len(office.store.find()) == 2


async def test_a_job_is_its_owners(office: Office) -> None:
    """Others get 404 for it; an administrator sees that it is there, and not its result."""
    async with office.client() as mine, office.client("mask") as other, office.client("admin") as admin:
        async with office.working():
            location = await office.submitted(mine)
            await ended(mine, location)
        for method, path in [("GET", ""), ("GET", "/result"), ("GET", "/events"), ("DELETE", ""), ("POST", "/redrive")]:
            answer = await other.request(method, location + path)
            assert (answer.status_code, answer.json()["type"]) == (404, "urn:bedside:problem:job-not-found")
        assert (await other.get("/v1/jobs")).json() == []
        assert (await admin.get(location)).json()["state"] == "succeeded"
        assert (await admin.get(f"{location}/result")).status_code == 404
        assert len((await admin.get("/v1/jobs")).json()) == 1
    async with office.client("wrong") as stranger:
        assert (await stranger.get(location)).status_code == 401


@pytest.mark.parametrize("name", ["%00", "..%2Fjobs.db", "A" * 32, "a" * 33, "'--", "%F0%9F%98%80"])
async def test_what_is_no_id_is_no_job(office: Office, name: str) -> None:
    """404, whatever the database would have made of it."""
    async with office.client() as client:
        for end in ("", "/events", "/result"):
            assert (await client.get(f"/v1/jobs/{name}{end}")).status_code == 404


async def test_a_job_without_a_result_says_so(office: Office) -> None:
    """409, with its state."""
    async with office.client() as client:
        location = await office.submitted(client)
        answer = await client.get(f"{location}/result")
        assert answer.status_code == 409
        assert "queued" in answer.json()["detail"]


async def test_events_tell_the_way_to_the_end(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """queued, running, its end; comments while nothing happens; then the stream ends."""
    monkeypatch.setattr(job_events, "EVENT_SECONDS", 0.01)
    monkeypatch.setattr(job_events, "SILENCE_SECONDS", 0.02)
    gate = asyncio.Event()
    run = office.world.model("heart").executor.run_one

    async def gated(inputs: ValidatedInputs, seconds: float) -> Prediction:
        await gate.wait()
        return await run(inputs, seconds)

    office.world.model("heart").executor.run_one = gated
    async with office.client() as client:
        location = await office.submitted(client)
        wire, reading = await opened(office.world.app, f"{location}/events")
        async with office.working():
            await until(lambda: b"event: running" in wire.body and b": still there" in wire.body)
            gate.set()
            await reading
    assert wire.headers["content-type"].startswith("text/event-stream")
    names = [line.removeprefix(b"event: ") for line in wire.body.splitlines() if line.startswith(b"event: ")]
    assert names == [b"queued", b"running", b"succeeded"]


async def test_progress_is_an_event(office: Office) -> None:
    """Steps done and in all, while it runs."""
    async with office.client() as client:
        location = await office.submitted(client)
    (job,) = office.store.find()
    steps: list[Job | None] = [
        replace(job, state=JobState.RUNNING, attempt=1),
        replace(job, state=JobState.RUNNING, attempt=1, done=1, total=4),
        None,
    ]

    async def look() -> Job | None:
        return steps.pop(0)

    events = [text async for text in job_events.events(job, look, describe)]
    assert [text.split(b"\n")[0] for text in events] == [b"event: queued", b"event: running", b"event: progress"]
    assert b'"progress":{"done":1,"total":4}' in events[2]
    assert location.endswith(job.id)


async def opened(app: ASGIApp, path: str) -> tuple[Wire, asyncio.Task[Wire]]:
    """Open an event stream and wait for its first event."""
    wire = Wire(path, method="GET")
    driven = asyncio.create_task(wire.drive(app))
    await until(lambda: len(wire.sent) > 1 or driven.done())
    return wire, driven


async def test_one_caller_has_so_many_event_streams_and_others_theirs(tmp_path: Path) -> None:
    """429 for the next one, until one has been closed."""
    office = Office(tmp_path, event_streams=2)
    async with office.client() as client, office.client("admin") as admin:
        location = await office.submitted(client)
        streams = [await opened(office.world.app, f"{location}/events") for _ in range(2)]
        refused = await client.get(f"{location}/events")
        assert (refused.status_code, refused.json()["type"]) == (429, "urn:bedside:problem:caller-limit-reached")
        assert refused.headers["retry-after"] == "10"
        streams[0][0].gone.set()
        await streams[0][1]
        await client.delete(location)
        assert (await client.get(f"{location}/events")).status_code == 200
        assert (await admin.get(f"{location}/events")).status_code == 200
        assert b"event: cancelled" in (await streams[1][1]).body


async def test_many_streams_are_one_look_at_the_store(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many read, the database is asked once for all; who came after a look has begun waits for the next."""
    monkeypatch.setattr(job_events, "EVENT_SECONDS", 0.01)
    async with office.client() as client:
        await office.submitted(client)
    (job,) = office.store.find()
    looks: list[frozenset[str]] = []

    def look(asked: Collection[str]) -> dict[str, Job]:
        looks.append(frozenset(asked))
        return {one: replace(job, id=one, state=JobState.CANCELLED) for one in asked}

    streams = job_events.JobEvents(look, describe, most=100, together=100)
    wires = [Wire("/", method="GET") for _ in range(50)]
    asked = [streams.follow(replace(job, id=str(number)), "me", 2e9) for number in range(50)]
    await asyncio.gather(
        *(answer(wire.scope, wire.receive, wire.send) for answer, wire in zip(asked, wires, strict=True))
    )
    assert all(b"event: cancelled" in wire.body for wire in wires)
    assert looks == [frozenset(map(str, range(50)))]


async def test_event_streams_end_with_the_server(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else each would hold the shut-down up until its deadline."""
    monkeypatch.setattr(job_events, "EVENT_SECONDS", 0.01)
    async with office.client() as client:
        location = await office.submitted(client)
        _, driven = await opened(office.world.app, f"{location}/events")
        office.world.lifecycle.close(30)
        assert b"event: queued" in (await driven).body


async def test_one_caller_has_so_many_jobs(tmp_path: Path) -> None:
    """429 for the next one, not for one that is there, and not for another caller."""
    office = Office(tmp_path, most_unfinished=1)
    async with office.client() as client, office.client("admin") as admin:
        location = await office.submitted(client)
        assert await office.submitted(client) == location
        refused = await client.post(SUBMIT, content=OTHER_BODY, headers=JSON)
        assert (refused.status_code, refused.json()["type"]) == (429, "urn:bedside:problem:caller-limit-reached")
        await office.submitted(admin)
        await client.delete(location)
        assert (await client.post(SUBMIT, content=OTHER_BODY, headers=JSON)).status_code == 202


async def test_a_full_spool_takes_no_job(tmp_path: Path) -> None:
    """503 before a byte is written; what was taken is still run and answered."""
    office = Office(tmp_path, spool_bytes=60)
    async with office.client() as client:
        location = await office.submitted(client)
        refused = await client.post(SUBMIT, content=OTHER_BODY, headers=JSON)
        assert (refused.status_code, refused.json()["type"]) == (503, "urn:bedside:problem:spool-full")
        async with office.working():
            assert (await ended(client, location))["state"] == "succeeded"
    assert office.spool.older_than(-1) == {location.rpartition("/")[2]}


async def test_a_job_is_given_up(office: Office) -> None:
    """At once while it waits; twice is no error."""
    async with office.client() as client:
        location = await office.submitted(client)
        for _ in range(2):
            answer = await client.delete(location)
            assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")


async def test_a_dead_job_is_driven_again(office: Office) -> None:
    """409 while it is not dead; its error is told."""

    async def failing(_inputs: ValidatedInputs, _seconds: float) -> Prediction:
        raise ValueError("DOE^JOHN")

    executor = office.world.model("heart").executor
    run, executor.run_one = executor.run_one, failing
    async with office.client() as client, office.working():
        location = await office.submitted(client)
        dead = await ended(client, location)
        assert dead["state"] == "dead"
        assert "DOE" not in str(dead)
        executor.run_one = run
        assert (await client.post(f"{location}/redrive")).json()["state"] == "queued"
        assert (await ended(client, location))["state"] == "succeeded"
        assert (await client.post(f"{location}/redrive")).status_code == 409
    assert office.redriven == [("user", location.rpartition("/")[2])]


async def test_who_asks_is_found_once(office: Office) -> None:
    """A token that expires while its caller's request is worked on does not make 401 of what was done."""
    known: set[str] = set()
    parts = office.world.parts

    async def expiring(token: UnverifiedToken) -> Principal:
        if str(token) in known:
            raise ExpiredToken
        known.add(str(token))
        return await parts.gate.authenticate(token)

    async with office.client() as client:
        location = await office.submitted(client)
    claimed = office.store.claim(["sha256:" + "0" * 64], time.time(), 1.0)
    assert claimed is not None
    office.store.fail(claimed, time.time(), "run_failed", "", retry_at=None)
    transport = httpx.ASGITransport(create_app(replace(parts, gate=replace(parts.gate, authenticate=expiring))))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        answer = await client.post(f"{location}/redrive", headers={"authorization": "Bearer user"})
    assert (answer.status_code, answer.json().get("state")) == (200, "queued")
    assert office.redriven == [("user", location.rpartition("/")[2])]


async def test_a_job_of_a_replaced_bundle_waits_and_is_not_run_by_another(office: Office) -> None:
    """An answer by another version than the one that was asked would be a wrong answer."""
    async with office.client() as client:
        location = await office.submitted(client)
        model = office.world.model("heart")
        model.contract = replace(model.contract, digest="sha256:" + "9" * 64)
        async with office.working():
            await until(lambda: office.looks > 1)
            assert (await client.get(location)).json()["state"] == "queued"


@pytest.mark.parametrize(
    ("query", "field"), [("limit=0", "limit"), ("limit=1001", "limit"), ("limit=DOE", "limit"), ("state=lost", "state")]
)
async def test_a_listing_is_bounded(office: Office, query: str, field: str) -> None:
    """By number and by known states."""
    async with office.client() as client:
        answer = await client.get(f"/v1/jobs?{query}")
        assert (answer.status_code, answer.json()["field"]) == (422, field)
        assert "DOE" not in answer.text


async def test_jobs_are_listed_by_state(office: Office) -> None:
    """For whoever looks after the dead ones."""
    async with office.client() as client:
        await office.submitted(client)
        assert len((await client.get("/v1/jobs?state=queued&limit=5")).json()) == 1
        assert (await client.get("/v1/jobs?state=dead")).json() == []


async def test_an_administrator_has_a_result_delivered_again(office: Office) -> None:
    """Deliveries that were given up are listed and driven again, by nobody else, and it is told who did."""
    office.outbox_with_dead_delivery()
    (job,) = office.store.find()
    path = f"/v1/deliveries/{job.id}/redrive"
    dead = {"job": job.id, "destination": "pacs", "state": "dead", "attempt": 1, "error": "refused"}
    async with office.client() as client, office.client("admin") as admin:
        for answer in (await client.get("/v1/deliveries"), await client.post(path)):
            assert (answer.status_code, answer.json()["scope"]) == (403, "bedside.admin")
        assert (await admin.get("/v1/deliveries")).json() == [dead]
        driven = [{**dead, "state": "pending", "attempt": 0}]
        assert (await admin.post(path)).json() == driven
        assert (await admin.get("/v1/deliveries")).json() == []
        assert (await admin.get("/v1/deliveries?state=pending&limit=1")).json() == driven
        assert (await admin.post(path)).status_code == 409
        for unknown in ("0" * 32, "%00"):
            assert (await admin.post(f"/v1/deliveries/{unknown}/redrive")).status_code == 404
        for query, field in (("state=lost", "state"), ("limit=0", "limit")):
            answer = await admin.get(f"/v1/deliveries?{query}")
            assert (answer.status_code, answer.json()["field"]) == (422, field)
    assert office.redriven == [("admin", job.id)]


async def test_a_server_without_jobs_has_no_such_path() -> None:
    """404 as for any other."""
    world = make_world()
    async with world.client() as client:
        assert (await client.post(SUBMIT, content=RECORD_BODY, headers=JSON)).status_code == 404
        assert (await client.get("/v1/jobs")).status_code == 404


@pytest.mark.parametrize("parent", [PARENT, None], ids=["a trace", "none"])
async def test_a_job_runs_in_the_trace_of_who_handed_it_in(office: Office, parent: TraceParent | None) -> None:
    """Also after a restart: it is in the job's row."""
    headers = JSON if parent is None else {**JSON, "traceparent": str(parent)}
    async with office.client() as client, office.working():
        answer = await client.post(SUBMIT, content=RECORD_BODY, headers=headers)
        await ended(client, answer.headers["location"])
    assert [job.trace_parent for job in office.store.find()] == [str(parent or "")]
    assert [(call.transport, call.parent) for call in office.world.sink.calls] == [("rest", parent), ("jobs", parent)]
