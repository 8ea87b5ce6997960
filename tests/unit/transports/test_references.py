"""Inputs that a request names instead of sending: who may, what is meant, and the way they take."""

import asyncio
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.unit.observability.test_tracing import PARENT
from tests.unit.transports.dicom_world import JOBS, RELATED, Hospital, maker, related
from tests.waiting import until

from bedside.dataplane.call import Call
from bedside.errors import (
    ArchiveUnavailable,
    InsufficientScope,
    PayloadTooLarge,
    ReferenceNotFound,
    RequestError,
    RunFailed,
)
from bedside.jobs.states import JobState
from bedside.observability.traceparent import CURRENT_SPAN, TraceParent
from bedside.security.scopes import authorise_retrieval
from bedside.transports.jobs.lane import JobLane
from bedside.transports.jobs.work import SpineWork
from bedside.transports.references import (
    REFERENCE,
    BucketReference,
    DicomwebReference,
    Fetch,
    FileReference,
    Reference,
    References,
    parse_reference,
)
from bedside.transports.rest.app import create_app
from bedside.transports.room import Room
from bedside.types import Principal, RawPart

pytest.importorskip("pydicom", reason="pip install 'bedside[dicom]'")

STUDY = {"dicomweb": "pacs", "study": "1.2.840.1", "series": "1.2.840.2"}
FILE = {"file": "scans", "path": "case/scan.nii.gz"}
SERIES = RawPart(None, f"{RELATED}; boundary=cut", related(maker.files(maker.series())))


def document(**source: Any) -> bytes:
    """Return a reference as it is sent."""
    return orjson.dumps({"source": source})


def test_what_is_meant() -> None:
    """A study, one of its series, a file."""
    assert parse_reference(document(**STUDY)) == DicomwebReference(**STUDY)
    assert parse_reference(document(dicomweb="pacs", study="2.25.7")) == DicomwebReference(
        dicomweb="pacs", study="2.25.7"
    )
    assert parse_reference(document(**FILE)) == FileReference(**FILE)
    assert parse_reference(document(s3="scans", path="case")) == BucketReference(s3="scans", path="case")


@pytest.mark.parametrize(
    ("data", "field"),
    [
        (b"", "source"),
        (b"[]", "source"),
        (b'{"source": "http://169.254.169.254/"}', "source"),
        (b'{"source": {"file": "a", "path": "b"}, "more": 1}', "source"),
        (b'{"source": {}, "source": {}}', "source"),
        (document(), "source.file"),
        (document(url="https://elsewhere.example/"), "source.file"),
        (document(dicomweb="https://elsewhere.example/", study="1.2"), "source.dicomweb"),
        (document(dicomweb="../pacs", study="1.2"), "source.dicomweb"),
        (document(dicomweb="pacs"), "source.study"),
        (document(dicomweb="pacs", study="1.2/../../secret"), "source.study"),
        (document(dicomweb="pacs", study="1.2\n"), "source.study"),
        (document(dicomweb="pacs", study="1.02"), "source.study"),
        (document(dicomweb="pacs", study="1." * 40 + "1"), "source.study"),
        (document(dicomweb="pacs", study="1.2", series=""), "source.series"),
        (document(dicomweb="pacs", study=12), "source.study"),
        (document(dicomweb="pacs", study="1.2", path="x"), "source.path"),
        (document(dicomweb="pacs", study="1.2", patient="Doe^Jane"), "source"),
        (document(file="scans", path=""), "source.path"),
        (document(s3="s3://elsewhere/case", path="x"), "source.s3"),
        (document(s3="scans"), "source.path"),
        (document(s3="scans", file="scans", path="x"), "source.file"),
        (document(file="scans", path="x" * 5000), "source.path"),
        (document(file="scans", path="x" * 9000), "source"),
    ],
)
def test_what_is_no_reference(data: bytes, field: str) -> None:
    """The member is named, and nothing that the caller made up is repeated."""
    with pytest.raises(RequestError) as caught:
        parse_reference(data)
    assert caught.value.field == field
    assert not [made_up for made_up in ("elsewhere", "secret", "Doe") if made_up in str(caught.value)]


_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_MEMBERS = st.dictionaries(
    st.sampled_from(["dicomweb", "study", "series", "file", "s3", "path", "url"]), _ANY, max_size=4
)


@given(
    st.binary(max_size=200)
    | st.one_of(_ANY, st.fixed_dictionaries({"source": _MEMBERS | _ANY})).map(str).map(str.encode)
)
@example(b'{"source": {"file": "a", "path": "\\ud800"}}')
def test_any_bytes(data: bytes) -> None:
    """Only named errors come out, and what is taken is a name and a path of bounded form."""
    try:
        field = f"source.{parse_reference(data).source}"
    except RequestError as error:
        field = error.field or ""
    assert re.fullmatch(r"source(\.[a-z0-9-]+)?", field)


@given(_MEMBERS)
def test_any_members(members: dict[str, Any]) -> None:
    """The same for well-formed JSON; a study that is taken can stand in an address."""
    try:
        reference = parse_reference(orjson.dumps({"source": members}))
    except (RequestError, TypeError, orjson.JSONEncodeError):
        return
    if isinstance(reference, DicomwebReference):
        assert set(reference.study + (reference.series or "")) <= set("0123456789.")


def test_the_scope_is_that_of_the_source() -> None:
    """``bedside.infer`` alone does not let a caller see through the server's eyes."""
    for scopes in ({"bedside.retrieve"}, {"bedside.retrieve:pacs"}):
        authorise_retrieval(Principal("a", "b", frozenset(scopes), 0), "pacs")
    for scopes in ({"bedside.infer", "bedside.admin"}, {"bedside.retrieve:other"}):
        with pytest.raises(InsufficientScope) as caught:
            authorise_retrieval(Principal("a", "b", frozenset(scopes), 0), "pacs")
        assert caught.value.scope == "bedside.retrieve"


class Archive:
    """A source that answers as it is told."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.asked_in: list[TraceParent | None] = []
        self.answers: list[Any] = [SERIES]

    async def __call__(self, reference: Any, _spec: Any, _hold: Any) -> RawPart:
        """Give the next answer; the last one again and again."""
        self.asked.append(reference)
        self.asked_in.append(CURRENT_SPAN.get())
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, asyncio.Event):
            await answer.wait()
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, RawPart)
        return answer


class Wing(Hospital):
    """A hospital whose model ``mask`` may be referred to studies of the archive ``pacs``."""

    def __init__(self, folder: Path, seconds: float = 30.0, room: Room | None = None, **settings: Any) -> None:
        network = {
            "destinations": {"pacs": {"url": "https://pacs.example"}, "other": {"url": "https://other.example"}},
            "results_to": ["pacs"],
            "sources": {
                "pacs": {"url": "https://pacs.example"},
                "old": {"url": "https://old.example", "results_to": ()},
            },
        }
        super().__init__(folder, dicom=network, **settings)
        self.archive, self.allowed = Archive(), {"user"}
        sources: dict[tuple[type[Reference], str], Fetch] = {
            (DicomwebReference, "pacs"): self.archive,
            (DicomwebReference, "old"): self.archive,
            (FileReference, "scans"): self.archive,
        }
        references = References(sources, self._authorise, seconds, 64 * 1024 * 1024, room or Room(8, 1 << 30, 3))
        parts = replace(self.world.parts, references=references)
        self.world = replace(self.world, parts=parts, app=create_app(parts))
        work = SpineWork(parts.dataplane, JOBS, references, self.store.remember_reading)
        digests = [self.world.model("mask").contract.digest]
        self.lane = JobLane(self.store, self.spool, work, lambda: digests, JOBS)

    def _authorise(self, principal: Principal, _source: str) -> None:
        if principal.subject not in self.allowed:
            raise InsufficientScope(scope="bedside.retrieve")

    async def post(self, what: str, body: bytes, **headers: str) -> httpx.Response:
        """Send a reference."""
        async with self.world.client() as client:
            fields = {"Content-Type": "application/json", **headers}
            return await client.post(f"/v1/models/mask/{what}", content=body, headers=fields)

    async def done(self, state: JobState) -> Any:
        """Run the one job until it is in a state."""
        self.lane.start()
        await until(lambda: self.store.find()[0].state is state)
        await self.lane.stop()
        return self.store.find()[0]


@pytest.fixture
def wing(tmp_path: Path) -> Wing:
    """Return a hospital with an archive."""
    return Wing(tmp_path)


async def test_predict_by_reference(wing: Wing) -> None:
    """As if the study had been sent; the time is that of the first stage."""
    answer = await wing.post("predict", document(**STUDY), Accept="application/dicom")
    assert answer.status_code == 200, answer.text
    assert answer.content[128:132] == b"DICM"
    assert wing.archive.asked == [DicomwebReference(**STUDY)]
    assert wing.world.sink.calls[0].stages["receive"] >= 0


@pytest.mark.parametrize("what", ["predict", "jobs"])
async def test_an_archive_is_asked_in_the_trace_of_the_call(wing: Wing, what: str) -> None:
    """Now, or when the job runs; afterwards nothing else is."""
    answer = await wing.post(what, document(**STUDY), traceparent=str(PARENT))
    assert answer.status_code in {200, 202}, answer.text
    if what == "jobs":
        await wing.done(JobState.SUCCEEDED)
    assert wing.archive.asked_in == [PARENT]
    assert CURRENT_SPAN.get() is None


async def test_a_part_of_a_form_may_be_a_reference(wing: Wing) -> None:
    """For models with several inputs."""
    async with wing.world.client() as client:
        files = {"image": ("x", document(**STUDY), "application/json")}
        answer = await client.post("/v1/models/mask/predict", files=files)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("media_type", ["application/json", REFERENCE])
async def test_who_may_not_retrieve(wing: Wing, media_type: str) -> None:
    """403 with the scope, whatever the media type says; nothing is fetched, and unknown sources are not told apart."""
    wing.allowed.clear()
    files = {"image": ("x", document(**STUDY), media_type)}
    async with wing.world.client() as client:
        form = await client.post("/v1/models/mask/predict", files=files)
    for source in ("pacs", "unknown"):
        answer = await wing.post("predict", document(**{**STUDY, "dicomweb": source}), **{"Content-Type": media_type})
        assert (answer.status_code, answer.json()["scope"]) == (403, "bedside.retrieve")
    assert form.status_code == 403
    assert not wing.archive.asked


@pytest.mark.parametrize(
    ("source", "status", "field"),
    [
        ({**STUDY, "dicomweb": "elsewhere"}, 422, "source.dicomweb"),
        ({**FILE, "file": "pacs"}, 422, "source.file"),
        ({"s3": "pacs", "path": "case"}, 422, "source.s3"),
        ({**STUDY, "study": "x"}, 422, "source.study"),
    ],
)
@pytest.mark.parametrize("what", ["predict", "jobs"])
async def test_what_is_refused_at_once(wing: Wing, what: str, source: Any, status: int, field: str) -> None:
    """Before anything is fetched or becomes a job."""
    answer = await wing.post(what, document(**source))
    assert (answer.status_code, answer.json()["field"]) == (status, field)
    assert not wing.store.find()


async def test_a_model_without_dicom(wing: Wing) -> None:
    """Has no use for a study; a file it may read."""
    contract = wing.world.model("mask").contract
    (image,) = contract.inputs
    plain = replace(contract, inputs=(replace(image, media_types=("application/gzip",)),))
    wing.world.model("mask").contract = plain
    answer = await wing.post("predict", document(**STUDY))
    assert (answer.status_code, answer.json()["field"]) == (415, "image")


async def test_json_without_sources_is_what_it_was(tmp_path: Path) -> None:
    """A server that has none tells what the model takes."""
    async with Hospital(tmp_path).world.client() as client:
        answer = await client.post("/v1/models/mask/predict", json={"source": STUDY})
        part = {"image": ("x", document(**STUDY), REFERENCE)}
        marked = await client.post("/v1/models/mask/predict", files=part)
    assert (answer.status_code, marked.status_code) == (415, 422)


@pytest.mark.parametrize(("error", "status"), [(ReferenceNotFound(), 422), (ArchiveUnavailable(), 503)])
async def test_what_the_source_says(wing: Wing, error: Exception, status: int) -> None:
    """Is what the caller is told."""
    wing.archive.answers = [error]
    assert (await wing.post("predict", document(**STUDY))).status_code == status


@pytest.mark.parametrize(
    ("settings", "status"), [({"seconds": 0.01}, 503), ({"limits": {"request_seconds": 0.01}}, 504)]
)
async def test_a_source_that_takes_too_long(tmp_path: Path, settings: Any, status: int) -> None:
    """Whichever bound is the narrower one says so."""
    wing = Wing(tmp_path, **settings)
    wing.archive.answers = [asyncio.Event()]
    assert (await wing.post("predict", document(**STUDY))).status_code == status


async def test_a_source_that_is_read_for_others(tmp_path: Path) -> None:
    """503 with Retry-After at once; a job waits for its turn, and what another source holds can be had."""
    wing = Wing(tmp_path, room=Room(1, 1 << 30, 3))
    hangs = asyncio.Event()
    wing.archive.answers = [hangs, SERIES]
    first = asyncio.create_task(wing.post("predict", document(**STUDY)))
    await until(lambda: bool(wing.archive.asked))
    busy = await wing.post("predict", document(**STUDY))
    assert (busy.status_code, busy.headers["retry-after"]) == (503, "1")
    assert busy.json()["type"].endswith("queue-full")
    other = await wing.post("predict", document(**{**STUDY, "dicomweb": "old"}))
    assert other.status_code == 200, other.text
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert (await wing.post("predict", document(**STUDY))).status_code == 200


async def test_a_job_by_reference(wing: Wing) -> None:
    """Taken at once, read when it runs; DICOM objects come out and go to the archives."""
    answer = await wing.post("jobs", document(**STUDY))
    assert answer.status_code == 202, answer.text
    assert not wing.archive.asked
    again = await wing.post("jobs", document(**STUDY))
    assert again.headers["location"] == answer.headers["location"]
    job = await wing.done(JobState.SUCCEEDED)
    assert (job.media_type, job.destinations) == ("multipart/related", ("pacs",))
    assert [delivery.destination for delivery in wing.outbox.of(job.id)] == ["pacs"]


@pytest.mark.parametrize(
    ("source", "accept", "media_type", "destinations"),
    [
        ({**STUDY, "dicomweb": "old"}, "*/*", "multipart/related", ()),
        (STUDY, "application/json", "application/json", ()),
        (STUDY, RELATED, "multipart/related", ("pacs",)),
        (FILE, "*/*", "application/gzip", ()),
    ],
)
async def test_where_results_go(wing: Wing, source: Any, accept: str, media_type: str, destinations: Any) -> None:
    """DICOM objects of an archive's study, and to where its settings say."""
    answer = await wing.post("jobs", document(**source), Accept=accept)
    assert answer.status_code == 202, answer.text
    (job,) = wing.store.find()
    assert (job.media_type, job.destinations) == (media_type, destinations)


async def test_a_job_waits_for_its_archive(wing: Wing) -> None:
    """One that is away costs no attempt."""
    away = ArchiveUnavailable()
    away.retry_after_seconds = 0
    wing.archive.answers = [away, away, away, away, SERIES]
    await wing.post("jobs", document(**STUDY))
    job = await wing.done(JobState.SUCCEEDED)
    assert len(wing.archive.asked) == 5
    assert job.attempt == 1


async def test_a_job_whose_study_is_not_there(wing: Wing) -> None:
    """Is dead, with the reason."""
    wing.archive.answers = [ReferenceNotFound()]
    await wing.post("jobs", document(**STUDY))
    assert (await wing.done(JobState.DEAD)).error_code == "reference_not_found"


async def test_a_job_that_is_tried_again_reads_what_its_first_attempt_read(wing: Wing) -> None:
    """An object that was replaced meanwhile may be another patient's: it is not answered as this job's."""
    model, fails = wing.world.model("mask"), [RunFailed()]
    run = model.executor.run_one

    async def failing_once(inputs: Any, seconds: float) -> Any:
        if fails:
            raise fails.pop()
        return await run(inputs, seconds)

    model.executor.run_one = failing_once
    wing.archive.answers = [SERIES, replace(SERIES, data=SERIES.data + b"another patient's")]
    await wing.post("jobs", document(**FILE))
    job = await wing.done(JobState.DEAD)
    assert (job.error_code, job.attempt) == ("reference_changed", 2)


@pytest.mark.parametrize(("source", "same"), [(STUDY, True), (FILE, False)])
async def test_once_a_job_has_read_a_file_its_name_is_another_job(wing: Wing, source: Any, same: Any) -> None:
    """Another patient's may lie there by then; a study has its UID, and what waits has read nothing yet."""
    first = await wing.post("jobs", document(**source))
    waiting = await wing.post("jobs", document(**source))
    await wing.done(JobState.SUCCEEDED)
    after = await wing.post("jobs", document(**source))
    assert waiting.headers["location"] == first.headers["location"]
    assert (after.headers["location"] == first.headers["location"]) is same


async def test_a_job_can_be_cancelled_while_it_is_read(wing: Wing) -> None:
    """The archive says nothing; the job ends all the same."""
    wing.archive.answers = [asyncio.Event()]
    location = (await wing.post("jobs", document(**STUDY))).headers["location"]
    wing.lane.start()
    await until(lambda: bool(wing.archive.asked))
    async with wing.world.client() as client:
        assert (await client.delete(location)).status_code == 200
    await until(lambda: wing.store.find()[0].state is JobState.CANCELLED)
    await wing.lane.stop()


async def test_a_source_that_this_server_has_not(wing: Wing) -> None:
    """Its settings may have changed since, or another replica took the job: the job waits."""
    await wing.post("jobs", document(**STUDY))
    lane = JobLane(
        wing.store, wing.spool, SpineWork(wing.world.parts.dataplane, JOBS), lambda: [wing.store.find()[0].digest], JOBS
    )
    lane.start()
    await until(lambda: bool(wing.world.sink.calls[1:]) and wing.store.find()[0].state is JobState.QUEUED)
    await lane.stop()


async def test_openapi_describes_references(wing: Wing) -> None:
    """For models of images, where this server has sources."""
    async with wing.world.client() as client:
        document = (await client.get("/openapi.json")).json()
    for path in ("/v1/models/mask/predict", "/v1/models/mask/jobs"):
        schema = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
        assert schema == {"$ref": "#/components/schemas/Reference"}
    members = [
        set(kind["required"])
        for kind in document["components"]["schemas"]["Reference"]["properties"]["source"]["anyOf"]
    ]
    assert members == [{"dicomweb", "study"}, {"file", "path"}]


async def test_a_file_that_is_named_again_and_again_is_bounded_like_a_body(wing: Wing) -> None:
    """A few bytes for each name would else fill the memory; what comes after the bound is not read."""
    sources: Any = {(FileReference, "scans"): wing.archive}
    bounded = References(sources, lambda *_: None, 30.0, len(SERIES.data) * 2, Room(1, 1 << 30, 1))
    named = RawPart("image", REFERENCE, FileReference(**FILE).model_dump_json().encode())
    contract = wing.world.model("mask").contract
    with pytest.raises(PayloadTooLarge):
        async with bounded.fetched(Call("a" * 32, "rest", "predict"), contract, [named] * 9, 30.0):
            pass
    assert len(wing.archive.asked) == 3
    async with bounded.fetched(Call("a" * 32, "rest", "predict"), contract, [named] * 2, 30.0) as found:
        assert len(found) == 2
