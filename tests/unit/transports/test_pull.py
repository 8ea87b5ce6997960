"""Studies from an archive: what is asked for, what is taken, and what an archive may not do."""

import asyncio
from typing import Any

import orjson
import pytest
from tests.unit.transports.dicom_world import RELATED, maker, related
from tests.unit.transports.web_archive import Answer, WebArchive, web_archive

from bedside.bundle.contract import InputSpec
from bedside.bundle.dicom_policy import DicomPolicy, SeriesRule
from bedside.codecs.dicom import MEDIA_TYPES, files_of
from bedside.dicom_settings import DicomSource
from bedside.errors import (
    ArchiveUnavailable,
    ConfigurationError,
    NoMatchingSeries,
    PayloadTooLarge,
    ReferenceNotFound,
    TooManyInstances,
)
from bedside.reference_settings import ReferenceSettings
from bedside.settings import LimitSettings
from bedside.transports.dicom.pull import ArchiveStudies
from bedside.transports.references import DicomwebReference
from bedside.transports.room import Room
from bedside.types import RawPart

pytest.importorskip("pydicom", reason="pip install 'bedside[dicom]'")

STUDY, CT, MR = "1.2.3", "1.2.3.1", "1.2.3.2"
FILES = maker.files(maker.series())
BODY = related(FILES)
TAKEN = Answer(media_type=f"{RELATED}; boundary=cut", body=BODY)
RETRIES = ReferenceSettings(attempts=3, retry_seconds=0.001)


def listed(*series: dict[str, Any]) -> Answer:
    """Return an answer of QIDO-RS."""
    tags = {
        "uid": "0020000E",
        "modality": "00080060",
        "description": "0008103E",
        "part": "00180015",
        "count": "00201209",
    }
    items = [{tags[name]: {"Value": [value]} for name, value in one.items()} for one in series]
    return Answer(body=orjson.dumps(items))


def archive_of(*series: dict[str, Any]) -> Any:
    """Return an archive that has these series, each of the same instances."""
    return lambda path: listed(*series) if "includefield" in path else TAKEN


BOTH = ({"uid": CT, "modality": "CT", "count": 4}, {"uid": MR, "modality": "MR", "count": 4})


def spec(planes: int = 3, **policy: Any) -> InputSpec:
    """Return an input with the bundle's rules."""
    return InputSpec("image", "image", MEDIA_TYPES, planes, dicom=DicomPolicy(**policy))


async def pulled(archive: WebArchive, what: InputSpec, series: str | None = None, **limits: int) -> RawPart:
    """Pull the study."""
    source = DicomSource(url=archive.url, username="bedside", password="secret")
    reference = DicomwebReference(dicomweb="pacs", study=STUDY, series=series)
    with Room(1, 1 << 30, 1).hold("pacs") as hold:
        return await ArchiveStudies(source, LimitSettings(**limits), RETRIES)(reference, what, hold)


async def test_a_series_is_taken_as_it_is() -> None:
    """One request, with the credentials; the archive's body is the input byte for byte."""
    with web_archive(archive_of()) as archive:
        part = await pulled(archive, spec(), CT)
    ((path, headers),) = archive.asked
    assert path == f"/dicom-web/studies/{STUDY}/series/{CT}"
    assert headers["authorization"] == "Basic YmVkc2lkZTpzZWNyZXQ="
    assert headers["accept"] == 'multipart/related; type="application/dicom"; transfer-syntax=*'
    assert part == RawPart(None, TAKEN.media_type, BODY)


@pytest.mark.parametrize(
    ("policy", "wanted"),
    [
        ({"modality": "MR"}, [MR]),
        ({}, [CT, MR]),
        ({"series": (SeriesRule(modality="CT"),)}, [CT]),
        ({"series": (SeriesRule(description="thin"), SeriesRule(modality="CT"))}, [CT, MR]),  # not told: who knows
        ({"series": (SeriesRule(min_instances=5), SeriesRule(max_instances=4, modality="MR"))}, [MR]),
        ({"series": (SeriesRule(orientation="axial", modality="CT"), SeriesRule(modality="MR"))}, [CT, MR]),
        ({"series": (SeriesRule(input="other"),), "modality": "CT"}, [CT]),
    ],
)
async def test_the_bundles_rules_choose_before_anything_is_taken(policy: dict[str, Any], wanted: list[str]) -> None:
    """Only series that may be meant leave the archive; what it does not tell binds nothing."""
    with web_archive(archive_of(*BOTH)) as archive:
        part = await pulled(archive, spec(**policy))
    assert archive.paths[1:] == [f"/dicom-web/studies/{STUDY}/series/{uid}" for uid in wanted]
    assert len(files_of(part, LimitSettings())) == len(FILES) * len(wanted)


async def test_descriptions_and_body_parts_choose() -> None:
    """Where the archive tells them."""
    series = (
        {"uid": CT, "modality": "CT", "description": "Thick", "part": "HEAD"},
        {"uid": MR, "modality": "CT", "description": "axial THIN", "part": "Chest"},
    )
    with web_archive(archive_of(*series)) as archive:
        await pulled(archive, spec(series=(SeriesRule(description="thin", body_part=("CHEST",)),)))
    assert archive.paths[-1].endswith(MR)


async def test_views_are_chosen_when_the_images_are_there() -> None:
    """For pictures each image is judged by itself, so every rule's series come."""
    series = ({"uid": CT, "modality": "CR", "count": 9}, {"uid": MR, "modality": "DX"})
    rules = (SeriesRule(view=("PA",), max_instances=1), SeriesRule(view=("",)))
    with web_archive(archive_of(*series)) as archive:
        await pulled(archive, spec(2, series=rules))
    assert len(archive.paths) == 3


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (lambda _: Answer(404), ReferenceNotFound),
        (lambda _: Answer(204), ReferenceNotFound),
        (lambda _: listed(), ReferenceNotFound),
        (archive_of({"uid": CT, "modality": "CT"}), NoMatchingSeries),
        (archive_of({"uid": CT, "modality": "MR", "count": 99999999}), TooManyInstances),
        (lambda _: Answer(401), ArchiveUnavailable),
        (lambda _: Answer(302, fields=(("Location", "http://127.0.0.1:1/"),)), ArchiveUnavailable),
        (lambda _: Answer(body=b"{"), ArchiveUnavailable),
        (lambda _: Answer(body=b'{"a": 1}'), ArchiveUnavailable),
        (lambda _: Answer(body=b"[1]"), ArchiveUnavailable),
        (archive_of({"uid": "../../admin"}), ArchiveUnavailable),
        (archive_of({"uid": "..", "modality": "MR"}), ArchiveUnavailable),
        (archive_of({"uid": "1." + "2" * 64, "modality": "MR"}), ArchiveUnavailable),
        (archive_of({"uid": 5}), ArchiveUnavailable),
        (archive_of({"uid": CT, "count": "many"}), ArchiveUnavailable),
        (lambda _: Answer(media_type="text/html", body=b"<html>"), ArchiveUnavailable),
    ],
)
async def test_what_an_archive_may_answer(answer: Any, error: type[Exception]) -> None:
    """Each has a name, and none is asked twice."""
    with web_archive(answer) as archive:
        with pytest.raises(error):
            await pulled(archive, spec(modality="MR"))
        assert len(archive.asked) == 1


@pytest.mark.parametrize(("most", "asked"), [(len(BODY) - 1, 2), (len(BODY) + 1, 3)])
async def test_no_more_is_taken_than_a_request_may_hold(most: int, asked: int) -> None:
    """Of one series, and of several together."""
    with web_archive(archive_of(*BOTH)) as archive:
        with pytest.raises(PayloadTooLarge):
            await pulled(archive, spec(), body_bytes=most)
        assert len(archive.asked) == asked


async def test_a_busy_archive_is_asked_again() -> None:
    """503 and a body that is cut short, and then it comes."""
    answers = iter([Answer(503), Answer(media_type=TAKEN.media_type, body=BODY, cut=10), TAKEN])
    with web_archive(lambda _: next(answers)) as archive:
        part = await pulled(archive, spec(), CT)
    assert part.data == BODY
    assert len(archive.asked) == 3


async def test_an_archive_that_stays_busy() -> None:
    """After the last attempt the caller is told."""
    with web_archive(lambda _: Answer(502)) as archive:
        with pytest.raises(ArchiveUnavailable):
            await pulled(archive, spec(), CT)
        assert len(archive.asked) == RETRIES.attempts


async def test_an_archive_that_is_away() -> None:
    """Nobody listens."""
    with web_archive(lambda _: TAKEN) as archive:
        pass
    with pytest.raises(ArchiveUnavailable):
        await pulled(archive, spec(), CT)


async def test_pulling_can_be_cancelled() -> None:
    """At once, also while the archive says nothing."""
    asked, answered = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def wait(_: str) -> Answer:
        loop.call_soon_threadsafe(asked.set)
        asyncio.run_coroutine_threadsafe(answered.wait(), loop).result(30)
        return Answer(404)

    with web_archive(wait) as archive:
        task = asyncio.create_task(pulled(archive, spec(), CT))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        answered.set()
        await asyncio.sleep(0)  # let the archive's thread have its answer


def test_patients_do_not_go_in_the_clear() -> None:
    """Plain HTTP to another machine is refused at start-up, unless it is meant."""
    plain = {"url": "http://pacs.example/dicom-web"}
    with pytest.raises(ConfigurationError):
        ArchiveStudies(DicomSource(**plain), LimitSettings(), RETRIES)
    assert ArchiveStudies(DicomSource(**plain, allow_http=True), LimitSettings(), RETRIES)
