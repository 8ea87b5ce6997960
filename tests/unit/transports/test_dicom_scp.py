"""C-STORE and C-ECHO over a real association: kept before it is confirmed, and a job once its study is complete."""

import asyncio
import io
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from demo.certificate import make_certificate
from tests.unit.observability.test_tracing import Kept
from tests.unit.transports.dicom_world import JOBS, RELATED, Hospital, maker
from tests.waiting import until

from bedside.dicom_settings import DicomSettings
from bedside.errors import ConfigurationError, SpoolFailed
from bedside.jobs import spool as spool_module
from bedside.jobs.spool import Spool
from bedside.jobs.states import JobState
from bedside.transports.dicom.assembly import Assembler, principal_of
from bedside.transports.dicom.inbox import Inbox
from bedside.transports.intake import StudyIntake

pydicom = pytest.importorskip("pydicom", reason="pip install 'bedside[dicom]'")
pynetdicom = pytest.importorskip("pynetdicom", reason="pip install 'bedside[dicom-network]'")
store_scp = pytest.importorskip("bedside.transports.dicom.store_scp")

CT = maker.CT
ROUTE = {"model": "mask", "modality": "CT"}
PORT = {"port": 0, "calling_ae_titles": ["SCANNER", "PACS"], "stable_seconds": 0.001}


class Department:
    """A hospital with an inbox, and what makes jobs of it."""

    def __init__(self, folder: Path, **dicom: Any) -> None:
        self.settings = DicomSettings.model_validate({**PORT, "routes": [ROUTE], **dicom})
        self.hospital = Hospital(folder, dicom=self.settings)
        self.spool = Spool(folder / "inbox")
        world = self.hospital.world
        self.inbox = Inbox(self.spool, world.settings.limits, world.settings.jobs.spool_bytes)
        self.now, self.tracer = 0.0, Kept()
        self.assembler = self.assembler_that_keeps(JOBS.retention_seconds)

    def assembler_that_keeps(self, seconds: float) -> Assembler:
        """Return an assembler that keeps for so long what cannot become a job."""
        world = self.hospital.world
        intake = StudyIntake(world.parts.dataplane, self.hospital.desk, self.hospital.wake, self.settings)
        resolve = world.repository.resolve
        return Assembler(self.inbox, intake, resolve, self.settings, seconds, lambda: self.now, self.tracer)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        """Listen; give the port."""
        said: list[str] = []
        door = store_scp.StoreScp(self.inbox, self.settings, said.append)
        await door.open()
        yield int(said[0].rpartition(":")[2])
        await door.close(None)

    async def hand_in(self) -> list[Any]:
        """Wait until what came is stable, and hand it in; return the jobs."""
        await until(lambda: self.inbox.complete(0.001) == self.inbox.complete(0))
        await self.assembler.hand_in()
        return list(self.hospital.store.find())


def send(port: int, datasets: list[Any], *, calling: str = "SCANNER", called: str = "BEDSIDE") -> list[int] | None:
    """Send data sets by C-STORE; return their statuses, None where the association was rejected."""
    ae = pynetdicom.AE(ae_title=calling)
    for sop_class in {dataset.SOPClassUID for dataset in datasets}:
        ae.add_requested_context(sop_class, [pydicom.uid.ExplicitVRLittleEndian])
    ae.add_requested_context("1.2.840.10008.1.1")
    association = ae.associate("127.0.0.1", port, ae_title=called)
    if not association.is_established:
        return None
    statuses = [association.send_c_echo().Status]
    statuses += [association.send_c_store(dataset).Status for dataset in datasets]
    association.release()
    return statuses


def study(**attributes: Any) -> list[Any]:
    """Return a CT series as it is read from files."""
    return [pydicom.dcmread(io.BytesIO(data)) for data in maker.files(maker.series(**attributes))]


async def sent(department: Department, datasets: list[Any], **how: str) -> list[int] | None:
    """Send over a port that listens."""
    async with department.listening() as port:
        return await asyncio.to_thread(send, port, datasets, **how)


@pytest.fixture
def department(tmp_path: Path) -> Department:
    """Return a department with one route."""
    return Department(tmp_path)


async def test_a_full_inbox_takes_no_instance(department: Department) -> None:
    """Out of resources (PS3.4 table B.2-1): the sender keeps it and tries again."""
    department.inbox = Inbox(department.spool, department.hospital.world.settings.limits, 100)
    assert await sent(department, study()) == [0, *[0xA700] * 4]
    assert await department.hand_in() == []


async def test_a_study_becomes_a_job(department: Department) -> None:
    """Echo and stores succeed; the job is the sender's, and its answer is DICOM."""
    assert await sent(department, study()) == [0] * 5
    (job,) = await department.hand_in()
    assert (job.model, job.media_type) == ("mask", "multipart/related")
    assert job.owner == principal_of("SCANNER").owner
    assert department.inbox.complete(0) == []
    department.hospital.lane.start()
    await until(lambda: department.hospital.store.find()[0].state is JobState.SUCCEEDED)
    await department.hospital.lane.stop()
    assert department.hospital.store.find()[0].result_type.startswith(RELATED)


async def test_a_received_study_begins_a_trace(department: Department) -> None:
    """A C-STORE is in none: what hands the study in is a span, and the job's run belongs to it."""
    await sent(department, study())
    (job,) = await department.hand_in()
    (span,) = department.tracer.finished
    assert job.trace_parent == str(span.span)
    assert (span.name, span.parent, span.facts["outcome"]) == ("study mask", None, "success")


async def test_confirmed_instances_outlive_the_process(department: Department, tmp_path: Path) -> None:
    """Another process finds them in the inbox and goes on."""
    await sent(department, study())
    (job,) = await Department(tmp_path).hand_in()
    assert job.model == "mask"


async def test_the_same_study_again_is_the_same_job(department: Department) -> None:
    """A crash between the job and the inbox costs nothing."""
    first = (await sent(department, study()), await department.hand_in())
    second = (await sent(department, study()), await department.hand_in())
    assert first[0] == second[0]
    assert [job.id for job in first[1]] == [job.id for job in second[1]]


@pytest.mark.parametrize("how", [{"calling": "STRANGER"}, {"called": "OTHER"}], ids=["calling", "called"])
async def test_strangers_are_rejected(department: Department, how: dict[str, str]) -> None:
    """Before anything is sent (PS3.8 §9.3.4)."""
    assert await sent(department, study(), **how) is None
    assert department.inbox.complete(0) == []


async def test_a_study_without_volume_is_a_dead_job(department: Department) -> None:
    """It is kept, listed with its reason, and can be driven again."""
    await sent(department, study(heights=(0, 1, 3, 4)))
    await department.hand_in()
    department.hospital.lane.start()
    await until(lambda: department.hospital.store.find()[0].state is JobState.DEAD)
    await department.hospital.lane.stop()
    (job,) = department.hospital.store.find(states=(JobState.DEAD,))
    assert job.error_code == "missing_slice"
    assert not [secret for secret in (*maker.SECRETS, maker.ROOT) if secret in job.error_detail]
    assert department.hospital.desk.redrive(job).state is JobState.QUEUED


async def test_a_study_that_no_route_matches_is_kept(tmp_path: Path) -> None:
    """It becomes a job once there is a route."""
    department = Department(tmp_path, routes=[{"model": "mask", "modality": "MR"}])
    await sent(department, study())
    assert await department.hand_in() == []
    assert await department.hand_in() == []
    (kept,) = department.inbox.complete(0)
    assert department.inbox.count(kept) == 4
    assert len(await Department(tmp_path).hand_in()) == 1


@pytest.mark.parametrize(
    ("route", "matches"),
    [
        ({}, True),
        ({"modality": "MR"}, False),
        ({"description": "axial"}, True),
        ({"description": "^coronal"}, False),
        ({"body_part": ["head"]}, True),
        ({"body_part": ["CHEST"]}, False),
        ({"calling_ae_titles": ["SCANNER"]}, True),
        ({"calling_ae_titles": ["PACS"]}, False),
    ],
    ids=str,
)
async def test_routes(tmp_path: Path, route: dict[str, Any], *, matches: bool) -> None:
    """Every condition that is set must hold."""
    department = Department(tmp_path, routes=[{"model": "mask", **route}])
    await sent(department, study(BodyPartExamined="HEAD"))
    assert len(await department.hand_in()) == int(matches)


async def test_only_the_series_that_matches_goes_to_the_model(tmp_path: Path) -> None:
    """Two series of a study, one route: the other one is left aside."""
    department = Department(tmp_path, routes=[{"model": "mask", "description": "thin"}])
    other = study(SeriesInstanceUID=f"{maker.ROOT}.9", SeriesDescription="Thin")
    for dataset in other:
        dataset.SOPInstanceUID = f"{maker.ROOT}.9.{dataset.InstanceNumber}"
    await sent(department, study() + other)
    (job,) = await department.hand_in()
    assert department.hospital.spool.get(job.id, "input").count(b"Content-Type: application/dicom") == 4


async def test_a_model_that_is_not_there_holds_the_study(tmp_path: Path) -> None:
    """A slip in the settings loses nothing."""
    department = Department(tmp_path, routes=[{"model": "nobody"}])
    await sent(department, study())
    assert await department.hand_in() == []
    assert len(department.inbox.complete(0)) == 1


async def test_a_model_that_loads_is_waited_for(department: Department) -> None:
    """The study becomes a job as soon as the model is ready."""
    department.hospital.world.model("mask").state = "LOADING"
    await sent(department, study())
    assert await department.hand_in() == []
    department.hospital.world.model("mask").state = "READY"
    assert await department.hand_in() == []
    department.now = 5.0
    assert len(await department.hand_in()) == 1


async def test_a_route_that_comes_to_work_is_tried_again(tmp_path: Path) -> None:
    """A model that was not there is looked for again after a minute."""
    department = Department(tmp_path, routes=[{"model": "later"}])
    await sent(department, study())
    assert await department.hand_in() == []
    models = department.hospital.world.repository.models
    models["later"] = models["mask"]
    assert await department.hand_in() == []
    department.now = 60.0
    assert len(await department.hand_in()) == 1


async def test_a_study_that_is_cut_short_while_it_is_shredded(
    department: Department, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What is left of it after a crash never becomes a study of its own."""
    await sent(department, study())
    shredded: list[Path] = []
    destroy = spool_module._destroy

    def cut_short(key: Path) -> None:
        if len(shredded) == 2:
            raise OSError
        shredded.append(key)
        destroy(key)

    monkeypatch.setattr(spool_module, "_destroy", cut_short)
    (job,) = await department.hand_in()
    monkeypatch.undo()
    restarted = Department(tmp_path)
    assert len(shredded) == 2
    assert [job.id] == [found.id for found in await restarted.hand_in()]
    assert restarted.inbox.complete(0) == []


async def test_a_study_that_another_server_takes_is_left_to_it(
    department: Department, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have been listed while the other one was shredding."""
    await sent(department, study())
    (waiting,) = department.inbox.complete(0)
    monkeypatch.setattr(department.inbox, "_finish", lambda _study: None)
    department.spool.put(waiting, "taken", b"")
    with pytest.raises(SpoolFailed):
        department.inbox.read(waiting)


async def test_what_comes_late_is_kept(department: Department) -> None:
    """An instance that comes while its study is shredded stays."""
    await sent(department, study())
    (waiting,) = department.inbox.complete(0)
    found = department.inbox.read(waiting)
    await sent(department, study(heights=range(5))[-1:] + study(heights=range(5)))
    department.inbox.forget(waiting, found.names)
    assert department.inbox.count(waiting) == 1


async def test_a_defect_of_one_study_holds_no_other(department: Department, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is logged and looked at again later."""
    other = study(StudyInstanceUID=f"{maker.ROOT}.7", SeriesInstanceUID=f"{maker.ROOT}.8")
    await sent(department, study() + other)
    first, _ = department.inbox.complete(0)
    read = department.inbox.read

    def fail(study: str) -> Any:
        if study == first:
            raise RuntimeError
        return read(study)

    monkeypatch.setattr(department.inbox, "read", fail)
    assert len(await department.hand_in()) == 1
    assert department.inbox.complete(0) == [first]


async def test_a_full_disk_is_told_to_the_sender(department: Department, monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of resources (A700): the sender tries again."""

    def refuse(*_: Any, **_options: Any) -> None:
        raise SpoolFailed

    monkeypatch.setattr(department.spool, "put", refuse)
    assert await sent(department, study()[:1]) == [0, 0xA700]


@pytest.mark.parametrize(
    ("attributes", "status"),
    [({"StudyInstanceUID": None}, 0x0120), ({"SeriesInstanceUID": "Doe^Jane"}, 0xA900)],
    ids=["missing", "invalid"],
)
async def test_instances_without_a_study_are_refused(
    department: Department, attributes: dict[str, Any], status: int
) -> None:
    """Nobody could say where they belong."""
    assert await sent(department, study(**attributes)[:1]) == [0, status]


async def test_what_cannot_become_a_job_is_shredded_in_the_end(tmp_path: Path) -> None:
    """After the jobs' retention time."""
    department = Department(tmp_path, routes=[{"model": "nobody"}])
    await sent(department, study())
    department.assembler = department.assembler_that_keeps(0.0)
    await until(lambda: bool(department.inbox.complete(0.001)))
    await department.assembler.hand_in()
    assert department.inbox.complete(0) == []


async def test_a_port_that_is_taken_is_told(department: Department) -> None:
    """In words, at start-up."""
    async with department.listening() as port:
        taken = department.settings.model_copy(update={"port": port})
        with pytest.raises(ConfigurationError):
            await store_scp.StoreScp(department.inbox, taken).open()


async def test_the_assembler_outlives_a_disk_that_is_away(
    department: Department, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks again."""
    looks: list[float] = []

    def fail(_seconds: float) -> list[str]:
        looks.append(1)
        raise OSError

    monkeypatch.setattr(department.inbox, "complete", fail)
    running = asyncio.create_task(department.assembler.run())
    await until(lambda: len(looks) > 1)
    running.cancel()


async def test_a_sender_that_a_restart_cut_off_gets_its_time(
    department: Department, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that has just started takes nothing for complete, however old the files are."""
    await sent(department, study()[:2])
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        raise asyncio.CancelledError

    monkeypatch.setattr("bedside.transports.dicom.assembly.asyncio.sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await department.assembler.run()
    assert slept == [department.settings.stable_seconds]
    assert not department.hospital.store.find()


async def test_what_a_crash_has_left_is_no_study(department: Department, tmp_path: Path) -> None:
    """Data without a key were never confirmed: an hour later they are shredded."""
    (orphan, partial) = [tmp_path / "inbox" / name for name in ("data/ab.i1", "keys/ab.i1.partial")]
    for path in (orphan, partial):
        path.write_bytes(b"half")
    assert department.inbox.complete(-1) == []
    department.inbox.tidy()
    assert orphan.exists()
    for path in (orphan, partial):
        os.utime(path, (1e9, 1e9))
    await department.assembler.hand_in()
    assert not orphan.exists()
    assert not partial.exists()


def echo(port: int, context: ssl.SSLContext | None) -> bool:
    """Tell whether C-ECHO succeeds."""
    ae = pynetdicom.AE(ae_title="SCANNER")
    ae.acse_timeout = ae.connection_timeout = 5
    ae.add_requested_context("1.2.840.10008.1.1")
    tls = None if context is None else (context, "127.0.0.1")
    association = ae.associate("127.0.0.1", port, ae_title="BEDSIDE", tls_args=tls)
    if not association.is_established:
        return False
    status = association.send_c_echo()
    association.release()
    return bool(status) and status.Status == 0


async def test_tls_with_client_certificates(tmp_path: Path) -> None:
    """Who shows a certificate is let in; without one, or in the clear, nobody is."""
    certificate, key = make_certificate(tmp_path)
    files = {"tls_certificate": certificate, "tls_key": key, "tls_client_authorities": certificate}
    department = Department(tmp_path, **files)
    stranger = ssl.create_default_context(cafile=certificate)
    known = ssl.create_default_context(cafile=certificate)
    known.load_cert_chain(certificate, key)
    async with department.listening() as port:
        asked = [await asyncio.to_thread(echo, port, context) for context in (known, stranger, None)]
    assert asked == [True, False, False]


async def test_a_certificate_that_is_none_is_told(tmp_path: Path) -> None:
    """At start-up."""
    file = tmp_path / "certificate.pem"
    file.write_text("nothing")
    department = Department(tmp_path, tls_certificate=file, tls_key=file)
    with pytest.raises(ConfigurationError):
        await store_scp.StoreScp(department.inbox, department.settings).open()
