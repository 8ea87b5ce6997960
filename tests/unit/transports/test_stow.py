"""STOW-RS: each study becomes a job, and the answer tells what has become of each instance (PS3.18 §10.5)."""

import gc
import tracemalloc
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.unit.transports.dicom_world import RELATED, Hospital, maker, related
from tests.waiting import until

from bedside.codecs import Answers
from bedside.errors import JobNotFound, SpoolFailed
from bedside.jobs.states import JobState
from bedside.types import DecodedImage, EncodedAnswer

pytest.importorskip("pydicom", reason="pip install 'bedside[dicom]'")

STUDIES = "/dicomweb/models/mask/studies"
ARCHIVE = {"destinations": {"pacs": {"url": "https://pacs.example/dicom-web"}}, "results_to": ["pacs"]}


@pytest.fixture
def hospital(tmp_path: Path) -> Hospital:
    """Return a world whose results go to ``pacs``."""
    return Hospital(tmp_path, dicom=ARCHIVE)


async def send(hospital: Hospital, body: bytes, **headers: str) -> httpx.Response:
    """Send a body to the model."""
    fields = {"Content-Type": f"{RELATED}; boundary=cut", "Accept": "application/dicom+json", **headers}
    async with hospital.world.client() as client:
        return await client.post(STUDIES, content=body, headers=fields)


def uids(answer: httpx.Response, tag: str) -> set[str]:
    """Return the SOP Instance UIDs of a sequence."""
    return {item["00081155"]["Value"][0] for item in answer.json().get(tag, {}).get("Value", [])}


def failure_reasons(answer: httpx.Response, tag: str = "00081198") -> set[int]:
    """Return the failure reasons of a sequence."""
    return {item["00081197"]["Value"][0] for item in answer.json()[tag]["Value"]}


async def test_a_study_becomes_a_job(hospital: Hospital) -> None:
    """All instances are referenced, and the job that answers for them is named."""
    answer = await send(hospital, related(maker.files(maker.series())))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/dicom+json")
    assert uids(answer, "00081199") == {f"{maker.SERIES}.{number}" for number in range(1, 5)}
    assert "00081198" not in answer.json()
    (job,) = hospital.store.find()
    assert answer.headers["location"] == f"/v1/jobs/{job.id}"
    assert answer.headers["link"] == f'</v1/jobs/{job.id}>; rel="monitor"'
    assert (job.model, job.media_type, job.destinations) == ("mask", "multipart/related", ("pacs",))
    assert hospital.woken == 1


async def done(hospital: Hospital) -> None:
    """Run the jobs that there are."""
    hospital.lane.start()
    await until(lambda: all(job.state is JobState.SUCCEEDED for job in hospital.store.find()))
    await hospital.lane.stop()


async def test_a_study_is_in_memory_three_times_at_most(hospital: Hospital) -> None:
    """As it came and as a job's input; as that and its volume or envelope; as volume or as mask and what writes it."""
    body = related(maker.files(maker.series(range(40), rows=256, columns=256, BitsStored=12, HighBit=11)))
    await send(hospital, related(maker.files(maker.series())))  # what is imported and remembered is not counted
    await done(hospital)
    tracemalloc.start()
    try:
        assert (await send(hospital, body)).status_code == 200
        _, received = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        await done(hospital)
        _, ran = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert max(received, ran) < 3.5 * len(body), (received / len(body), ran / len(body))


def studies() -> list[DecodedImage]:
    """Return every decoded study in the process."""
    images = [found for found in gc.get_objects() if isinstance(found, DecodedImage)]
    return [image for image in images if image.source is not None]


async def test_a_volume_is_let_go_before_its_result_is_written(
    hospital: Hospital, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody in the process holds the voxels of a study while its Segmentation is encoded, which shows none of them."""
    encode, seen = Answers.encode, list[list[int]]()

    def looking(self: Answers, *args: Any) -> EncodedAnswer:
        seen.append([len(image.payload) for image in studies() if id(image) not in others])
        return encode(self, *args)

    others = {id(image): image for image in studies()}  # what other tests have left, held so that no id comes again
    monkeypatch.setattr(Answers, "encode", looking)
    await send(hospital, related(maker.files(maker.series())))
    await done(hospital)
    assert seen == [[0]]


async def test_the_same_study_is_the_same_job(hospital: Hospital) -> None:
    """Whatever the order in which its instances come."""
    files = maker.files(maker.series())
    first = await send(hospital, related(files))
    second = await send(hospital, related(files[::-1]))
    assert first.headers["location"] == second.headers["location"]
    assert hospital.woken == 1


async def test_the_result_is_put_into_the_outbox(hospital: Hospital) -> None:
    """Segmentation and report, as multipart/related, for the configured destination."""
    await send(hospital, related(maker.files(maker.series())))
    await done(hospital)
    (job,) = hospital.store.find()
    assert job.result_type.startswith(RELATED)
    assert [delivery.destination for delivery in hospital.outbox.of(job.id)] == ["pacs"]


def missing_slice() -> list[bytes]:
    """Return a series with a gap."""
    files: list[bytes] = maker.files(maker.series((0, 1, 3, 4)))
    return files


async def test_a_refusal_names_its_reason(hospital: Hospital) -> None:
    """409: nothing was stored; the reason is a header, the instances have the failure reason A900."""
    answer = await send(hospital, related(missing_slice()))
    assert answer.status_code == 409
    assert answer.headers["warning"].startswith('299 bedside "missing-slice: image: ')
    assert failure_reasons(answer) == {0xA900}
    assert len(uids(answer, "00081198")) == 4
    assert not hospital.store.find()
    assert [type(call.error).__name__ for call in hospital.world.sink.calls] == ["MissingSlice"]
    assert not [secret for secret in maker.SECRETS if secret in answer.text + str(answer.headers)]


async def test_one_study_of_two_is_refused(hospital: Hospital) -> None:
    """202: each study stands for itself."""
    other = [*maker.series(StudyInstanceUID=f"{maker.ROOT}.7", SeriesInstanceUID=f"{maker.ROOT}.8")]
    for dataset in other:
        dataset.SOPInstanceUID = f"{maker.ROOT}.8.{dataset.InstanceNumber}"
    answer = await send(hospital, related(missing_slice() + maker.files(other)))
    assert answer.status_code == 202
    assert uids(answer, "00081199") == {f"{maker.ROOT}.8.{number}" for number in range(1, 5)}
    assert len(uids(answer, "00081198")) == 4
    assert len(hospital.store.find()) == 1


async def test_what_is_no_instance_is_another_failure(hospital: Hospital) -> None:
    """Without a UID, it can only be counted (Other Failures Sequence)."""
    answer = await send(hospital, related([b"no DICOM", *maker.files(maker.series())]))
    assert answer.status_code == 202
    assert failure_reasons(answer, "0008119A") == {0xC000}


async def test_what_pixels_deny_is_refused(hospital: Hospital) -> None:
    """The check reads the pixels, not only headers."""
    answer = await send(hospital, related(maker.files(maker.series(PixelData=b"\0\0"))))
    assert (answer.status_code, "truncated-pixel-data" in answer.headers["warning"]) == (409, True)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "application/zip"}, 415),
        ({"Content-Type": 'multipart/related; type="application/dicom+json"; boundary=cut'}, 415),
        ({"Content-Type": RELATED}, 400),
        ({"Accept": "application/dicom+xml"}, 406),
        ({"Authorization": "Bearer nobody"}, 403),
        ({"Authorization": ""}, 401),
    ],
    ids=["zip", "metadata", "no-boundary", "xml", "no-scope", "no-token"],
)
async def test_requests_that_are_no_store_request(hospital: Hospital, headers: dict[str, str], status: int) -> None:
    """They are refused before anything is looked at."""
    answer = await send(hospital, related(maker.files(maker.series())), **headers)
    assert (answer.status_code, hospital.store.find()) == (status, [])


async def test_an_empty_body_is_refused(hospital: Hospital) -> None:
    """A store request without instances is a mistake."""
    assert (await send(hospital, b"--cut--\r\n")).status_code == 400


async def test_models_without_dicom_are_told(hospital: Hospital) -> None:
    """A tabular model takes no series."""
    async with hospital.world.client() as client:
        fields = {"Content-Type": f"{RELATED}; boundary=cut"}
        answer = await client.post("/dicomweb/models/heart/studies", content=b"", headers=fields)
    assert (answer.status_code, answer.json()["field"]) == (415, "Content-Type")


async def test_a_full_spool_is_tried_again(hospital: Hospital, monkeypatch: pytest.MonkeyPatch) -> None:
    """503 with Retry-After: nothing was taken, nothing is lost."""

    def refuse(*_: Any) -> None:
        raise SpoolFailed

    monkeypatch.setattr(hospital.spool, "put", refuse)
    answer = await send(hospital, related(maker.files(maker.series())))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


async def test_a_job_is_its_senders(hospital: Hospital) -> None:
    """Who may use the model may not see what others have sent."""
    answer = await send(hospital, related(maker.files(maker.series())))
    async with hospital.world.client(authorization="Bearer mask") as client:
        seen = await client.get(answer.headers["location"])
    assert seen.status_code == 404
    assert JobNotFound.__name__ not in seen.text


async def test_openapi_describes_it(hospital: Hospital) -> None:
    """Path, media types, headers and statuses, for models that take DICOM; jobs for every model."""
    async with hospital.world.client() as client:
        document = (await client.get("/openapi.json")).json()
    operation = document["paths"][STUDIES]["post"]
    assert set(operation["requestBody"]["content"]) == {"multipart/related"}
    assert {"200", "202", "409", "503"} <= set(operation["responses"])
    assert set(operation["responses"]["202"]["content"]) == {"application/dicom+json", "application/json"}
    assert set(operation["responses"]["202"]["headers"]) == {"Location", "Link", "Warning"}
    assert "/v1/models/mask/jobs" in document["paths"]
    assert "/v1/models/heart/jobs" in document["paths"]
    assert "/dicomweb/models/heart/studies" not in document["paths"]
    assert "application/json" not in document["paths"]["/v1/models/mask/predict"]["post"]["requestBody"]["content"]
