"""With a real archive: studies go from Orthanc to a model and come back as SEG and SR; nothing is lost on the way."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from tests.assets.dicom import make_series
from tests.integration.orthanc import INSTALL, USER, Orthanc, running
from tests.loopback import PLAIN
from tests.waiting import wait_until

from bedside.bootstrap import mint_token
from bedside.delivery.processes import free_port
from bedside.settings import load_settings

pydicom = pytest.importorskip("pydicom", reason="pip install 'bedside[dicom]'")
pytest.importorskip("pynetdicom", reason="pip install 'bedside[dicom-network]'")
session_utils = pytest.importorskip("dicomweb_client.session_utils", reason="pip install 'bedside[dev]'")
dicomweb_client = pytest.importorskip("dicomweb_client", reason="pip install 'bedside[dev]'")

APPS = Path(__file__).resolve().parents[2] / "apps"
STABLE_SECONDS = 1.0
SENDERS = ("ORTHANC", "STORESCU", "DEADLINE")


@dataclass
class Service:
    """``bedside serve``, its settings in a file."""

    folder: Path
    port: int
    dicom: int
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        """Return its address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """Return what it and its listener have said."""
        return "".join(path.read_text() for path in self.folder.glob("*.log"))

    def client(self, *scopes: str) -> httpx.Client:
        """Return a client with a token of the embedded issuer."""
        settings = load_settings(runtime={"state_dir": self.folder / "state"})
        token = mint_token(settings, subject="tester", scopes=scopes or ("bedside.infer",), seconds=3600)
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {token}"}, timeout=60, verify=PLAIN)

    def start(self) -> None:
        """Start it and wait until the models answer."""
        bundles = [str(APPS / name) for name in ("hippocampus_mr", "chest_xray_pneumonia")]
        self.process = self.run("serve", *bundles, "--port", str(self.port))
        wait_until(lambda: httpx.get(f"{self.url}/readyz", verify=PLAIN).status_code == httpx.codes.OK)

    def run(self, *arguments: str) -> "subprocess.Popen[bytes]":
        """Start a command of ``bedside`` with these settings."""
        with (self.folder / f"{arguments[0]}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "bedside", *arguments, "--config", str(self.folder / "bedside.toml")],
                env={**os.environ, "BEDSIDE_LOG__LEVEL": "debug"},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(60)
            self.process = None

    def jobs(self) -> list[dict[str, Any]]:
        """Return every job, as an administrator sees them."""
        with self.client("bedside.admin", "bedside.infer") as client:
            return list(client.get("/v1/jobs").json())


def written(folder: Path, archive: Orthanc, destination: str = "stow", port: int | None = None) -> Service:
    """Write the settings of a service that answers to an archive; without a port it is the one that Orthanc knows."""
    port = port or archive.modality
    folder.mkdir(parents=True, exist_ok=True)
    ways = {
        "stow": f'url = "{archive.dicomweb}"\nusername = "{USER[0]}"\npassword = "{USER[1]}"',
        "store": f'ae_title = "ORTHANC"\nhost = "127.0.0.1"\nport = {archive.dicom}',
    }
    senders = json.dumps(SENDERS)
    (folder / "bedside.toml").write_text(f"""
[runtime]
state_dir = "{folder / "state"}"
forecast_seconds = 0.5
[jobs]
retry_seconds = 0.2
retry_most_seconds = 0.5
poll_seconds = 0.1
[dicom]
port = {port}
calling_ae_titles = {senders}
stable_seconds = {STABLE_SECONDS}
results_to = ["pacs"]
[dicom.destinations.pacs]
{ways[destination]}
[dicom.sources.pacs]
{ways["stow"]}
[[dicom.routes]]
model = "hippocampus_mr"
modality = "MR"
[[dicom.routes]]
model = "chest_xray_pneumonia"
modality = "DX"
""")
    return Service(folder, free_port(), port)


@contextmanager
def running_service(service: Service) -> Iterator[Service]:
    """Run a service."""
    try:
        service.start()
        yield service
    finally:
        service.stop()


@pytest.fixture(scope="module")
def shared_archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """Run an archive, empty at first."""
    with running(tmp_path_factory.mktemp("orthanc")) as found:
        yield found


@pytest.fixture
def archive(shared_archive: Orthanc) -> Iterator[Orthanc]:
    """Return the archive; whoever ended it need not start it again."""
    yield shared_archive
    if shared_archive.process is None:
        wait_until(lambda: _is_free(shared_archive.dicom))
        shared_archive.start()


@pytest.fixture(scope="module")
def bedside(shared_archive: Orthanc, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Run a service that sends its results to the archive by STOW-RS; each test has a study of its own."""
    with running_service(written(tmp_path_factory.mktemp("service"), shared_archive)) as found:
        yield found


@pytest.fixture
def study(bedside_data: Path, tmp_path: Path) -> Path:
    """Return the folder of a public MR series that the model takes, with UIDs of its own."""
    folder, uids = tmp_path / "study", defaultdict[str, str](pydicom.uid.generate_uid)
    folder.mkdir()
    for path in (bedside_data / "hippocampus_mr" / "dicom" / "study1_hippocampus_crop").iterdir():
        dataset = pydicom.dcmread(path)
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID"):
            dataset[keyword].value = uids[str(dataset[keyword].value)]
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.save_as(folder / path.name)
    return folder


def uid_of(study: Path) -> str:
    """Return the Study Instance UID of a folder."""
    return str(pydicom.dcmread(next(study.iterdir()), stop_before_pixels=True).StudyInstanceUID)


def secrets_of(study: Path) -> set[str]:
    """Return what identifies the patient, and every UID of the study."""
    found: set[str] = set()
    for path in study.iterdir():
        dataset = pydicom.dcmread(path, stop_before_pixels=True)
        found |= {str(dataset.PatientID), str(dataset.StudyInstanceUID), str(dataset.SOPInstanceUID)}
        found |= {part for part in str(dataset.PatientName).split("^") if len(part) > 2}
    return found


def results(archive: Orthanc, study: Path) -> list[dict[str, Any]]:
    """Return SEG and SR once both are in the archive."""
    uid = uid_of(study)

    def both() -> list[dict[str, Any]]:
        found = [archive.instances(uid, "SEG"), archive.instances(uid, "SR")]
        return found[0] + found[1] if all(found) else []

    return list(wait_until(both))


def storescu(port: int, study: Path, calling: str = "STORESCU") -> "subprocess.CompletedProcess[str]":
    """Send a folder with dcmtk's own client."""
    if shutil.which("storescu") is None:
        pytest.skip(f"needs dcmtk: {INSTALL}")
    return subprocess.run(
        ["storescu", "-aet", calling, "-aec", "BEDSIDE", "127.0.0.1", str(port), "+sd", str(study)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_study_goes_there_and_comes_back(bedside: Service, archive: Orthanc, study: Path) -> None:
    """Pushed by Orthanc over C-STORE; SEG and SR are found by QIDO in the patient's study."""
    stored = archive.store(study)
    with archive.client() as client:
        pushed = client.post("/modalities/bedside/store", json={"Resources": [stored], "Synchronous": True})
        assert pushed.status_code == httpx.codes.OK, pushed.text
        found = results(archive, study)
        assert {item["0020000D"]["Value"][0] for item in found} == {uid_of(study)}
        (identifier,) = client.post("/tools/lookup", content=found[0]["00080018"]["Value"][0]).json()
        segmentation = pydicom.dcmread(BytesIO(client.get(f"/instances/{identifier['ID']}/file").content))
        assert segmentation.SOPClassUID.keyword == "SegmentationStorage"
        assert segmentation.pixel_array.any()
        jobs = json.dumps(bedside.jobs())
        with bedside.client() as caller:
            metrics = caller.get("/metrics").text
    for secret in secrets_of(study):
        for text in (bedside.log, metrics, jobs):
            assert secret not in text


@pytest.mark.slow
def test_a_foreign_client_sends_and_results_go_by_c_store(archive: Orthanc, study: Path, tmp_path: Path) -> None:
    """Dcmtk's storescu and echoscu; sending the study twice makes one job and one result."""
    with running_service(written(tmp_path, archive, "store", free_port())) as bedside:
        echo = ["echoscu", "-aet", "STORESCU", "-aec", "BEDSIDE", "127.0.0.1", str(bedside.dicom)]
        assert subprocess.run(echo, check=False, timeout=60).returncode == 0
        assert storescu(bedside.dicom, study).returncode == 0
        assert len(results(archive, study)) == 2
        assert storescu(bedside.dicom, study).returncode == 0
        inbox = bedside.folder / "state" / "inbox" / "data"
        wait_until(lambda: not list(inbox.iterdir()))
        assert len(bedside.jobs()) == 1
        assert storescu(bedside.dicom, study, calling="STRANGER").returncode != 0


def test_stow_by_a_foreign_client(bedside: Service, archive: Orthanc, study: Path) -> None:
    """dicomweb-client understands the answer; the results reach the archive."""
    with bedside.client() as caller:
        session = session_utils.create_session()
        session.headers["Authorization"] = caller.headers["Authorization"]
        client = dicomweb_client.DICOMwebClient(f"{bedside.url}/dicomweb/models/hippocampus_mr", session=session)
        datasets = [pydicom.dcmread(path) for path in study.iterdir()]
        answer = client.store_instances(datasets)
        assert len(answer.ReferencedSOPSequence) == len(datasets)
        assert "FailedSOPSequence" not in answer
        assert len(results(archive, study)) == 2


def test_an_archive_that_is_away_gets_everything_later(bedside: Service, archive: Orthanc, study: Path) -> None:
    """The job succeeds, its result waits, and is delivered when the archive is back."""
    earlier, said = len(succeeded(bedside)), len(bedside.log)
    archive.stop()
    assert storescu(bedside.dicom, study).returncode == 0
    wait_until(lambda: len(succeeded(bedside)) > earlier)
    wait_until(lambda: "result_not_delivered" in bedside.log[said:])
    wait_until(lambda: _is_free(archive.dicom))
    archive.start()
    assert len(results(archive, study)) == 2


def succeeded(bedside: Service) -> list[dict[str, Any]]:
    """Return the jobs that came to their end."""
    return [job for job in bedside.jobs() if job["state"] == "succeeded"]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.slow
def test_nothing_is_lost_by_kill(archive: Orthanc, study: Path, tmp_path: Path) -> None:
    """The server is killed between the success of C-STORE and the job; after a restart the assembly goes on."""
    with running_service(written(tmp_path, archive, port=free_port())) as bedside:
        assert storescu(bedside.dicom, study).returncode == 0
        bedside.stop(signal.SIGKILL)
        assert list((bedside.folder / "state" / "inbox" / "data").iterdir())
        assert not archive.instances(uid_of(study), "SEG")
        bedside.start()
        assert len(results(archive, study)) == 2


@pytest.mark.slow
def test_a_listener_of_its_own(archive: Orthanc, study: Path, tmp_path: Path) -> None:
    """``bedside dicom listen`` takes studies while no model is there; a server makes jobs of them later."""
    bedside = written(tmp_path, archive, port=free_port())
    listener = bedside.run("dicom", "listen")
    try:
        wait_until(lambda: not _is_free(bedside.dicom))
        assert storescu(bedside.dicom, study).returncode == 0
        listener.send_signal(signal.SIGTERM)
        assert listener.wait(30) == 0
        bedside.start()
        assert len(results(archive, study)) == 2
    finally:
        listener.kill()
        listener.wait()
        bedside.stop()


def test_a_refused_study_is_listed_and_driven_again(bedside: Service, study: Path) -> None:
    """A series with a gap: a dead job with its reason, which an administrator may drive again."""
    (study / "9.dcm").unlink()
    assert storescu(bedside.dicom, study).returncode == 0
    with bedside.client("bedside.admin", "bedside.infer") as admin:
        (dead,) = wait_until(lambda: admin.get("/v1/jobs", params={"state": "dead"}).json())
        assert dead["error"]["code"] == "missing_slice"
        again = admin.post(f"/v1/jobs/{dead['id']}/redrive")
        assert (again.status_code, again.json()["state"]) == (200, "queued")
    assert not [secret for secret in secrets_of(study) if secret in json.dumps(dead) + bedside.log]


def reference(study: Path, **more: str) -> dict[str, Any]:
    """Return what names a study in the archive."""
    return {"source": {"dicomweb": "pacs", "study": uid_of(study), **more}}


def test_a_study_is_pulled_by_its_name(bedside: Service, archive: Orthanc, study: Path) -> None:
    """A job that only names a study: the series is found by QIDO, taken by WADO, and SEG and SR are back."""
    archive.store(study)
    with bedside.client("bedside.infer", "bedside.retrieve") as caller:
        path = "/v1/models/hippocampus_mr/jobs"
        answer = caller.post(path, json=reference(study))
        assert answer.status_code == httpx.codes.ACCEPTED, answer.text
        found = results(archive, study)
        assert {item["0020000D"]["Value"][0] for item in found} == {uid_of(study)}
        # Now the study holds results, too; they are not taken for the series.
        job = caller.post(path, json=reference(study)).headers["location"]
        assert wait_until(lambda: caller.get(job).json()["state"] == "succeeded")
        absent = caller.post("/v1/models/hippocampus_mr/predict", json=reference(study, series="1.2.3"))
        assert (absent.status_code, absent.json()["type"]) == (422, "urn:bedside:problem:reference-not-found")
        with bedside.client("bedside.infer") as other:
            assert other.post(path, json=reference(study)).status_code == httpx.codes.FORBIDDEN
        jobs, metrics = json.dumps(bedside.jobs()), caller.get("/metrics").text
    for secret in secrets_of(study):
        for text in (bedside.log, metrics, jobs, absent.text):
            assert secret not in text


@pytest.mark.slow
def test_predict_names_a_series(bedside: Service, archive: Orthanc, study: Path, tmp_path: Path) -> None:
    """On the command line, and the same objects as for the files themselves; while the archive is away, 503."""
    archive.store(study)
    dataset = pydicom.dcmread(next(study.iterdir()), stop_before_pixels=True)
    name = f"dicomweb:pacs/{dataset.StudyInstanceUID}/{dataset.SeriesInstanceUID}"
    with bedside.client("bedside.infer", "bedside.retrieve") as caller:
        token = caller.headers["Authorization"].removeprefix("Bearer ")
        made: list[list[str]] = []
        for case in (name, str(study)):
            out = tmp_path / f"out{len(made)}"
            command = [sys.executable, "-m", "bedside", "predict", "hippocampus_mr", case, "--url", bedside.url]
            environment = {**os.environ, "BEDSIDE_TOKEN": token}
            subprocess.run([*command, "-o", str(out)], env=environment, check=True, timeout=120)
            made.append(sorted(str(pydicom.dcmread(path).SOPInstanceUID) for path in out.iterdir()))
        assert made[0] == made[1]
        said = len(bedside.log)
        archive.stop()
        away = caller.post("/v1/models/hippocampus_mr/predict", json=reference(study))
        assert (away.status_code, away.json()["type"]) == (503, "urn:bedside:problem:archive-unavailable")
        wait_until(lambda: "reference_not_retrieved" in bedside.log[said:])
        wait_until(lambda: _is_free(archive.dicom))


def radiograph(folder: Path) -> Path:
    """Write a made-up radiograph of a chest into a folder."""
    pixels = np.random.default_rng(4).integers(0, 4096, (64, 80), np.uint16)
    folder.mkdir()
    (folder / "chest.dcm").write_bytes(make_series.written(make_series.radiograph(pixels, BitsStored=12, HighBit=11)))
    return folder


def test_a_radiograph_comes_back_as_a_report(bedside: Service, archive: Orthanc, tmp_path: Path) -> None:
    """By C-STORE, and pulled: the classifier's probability is in the patient's study."""
    chest = radiograph(tmp_path / "chest")
    archive.store(chest)
    with bedside.client("bedside.infer", "bedside.retrieve") as caller:
        assert storescu(bedside.dicom, chest).returncode == 0
        (report,) = wait_until(lambda: archive.instances(uid_of(chest), "SR"))
        assert report["0020000D"]["Value"] == [uid_of(chest)]
        headers = {"Accept": "application/dicom"}
        pulled = caller.post("/v1/models/chest_xray_pneumonia/predict", json=reference(chest), headers=headers)
        assert pulled.status_code == httpx.codes.OK, pulled.text
        same = pydicom.dcmread(BytesIO(pulled.content))
        assert str(same.SOPInstanceUID) == report["00080018"]["Value"][0]
    assert not [secret for secret in secrets_of(chest) if secret in bedside.log]
