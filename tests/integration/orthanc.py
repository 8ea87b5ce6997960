"""A real archive: Orthanc with its DICOMweb plug-in, on free ports of this machine."""

import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.loopback import PLAIN
from tests.waiting import wait_until

from bedside.delivery.processes import free_port

INSTALL = "apt-get install orthanc orthanc-dicomweb dcmtk (scripts/install_test_servers.sh)"
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
USER = ("archivist", "f1rst-aid")


@dataclass
class Orthanc:
    """An archive that can be stopped and started again on the same ports, with what it holds."""

    folder: Path
    http: int
    dicom: int
    modality: int
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def dicomweb(self) -> str:
        """Return the root of its DICOMweb service."""
        return f"http://127.0.0.1:{self.http}/dicom-web"

    def client(self) -> httpx.Client:
        """Return a client of its REST API."""
        return httpx.Client(base_url=f"http://127.0.0.1:{self.http}", auth=USER, timeout=60, verify=PLAIN)

    def start(self) -> None:
        """Start it and wait until it answers."""
        settings = {
            "Name": "test",
            "HttpPort": self.http,
            "DicomPort": self.dicom,
            "DicomAet": "ORTHANC",
            "StorageDirectory": str(self.folder / "db"),
            "IndexDirectory": str(self.folder / "db"),
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": True,
            "RegisteredUsers": dict([USER]),
            "DicomAlwaysAllowStore": True,
            "StableAge": 1,
            "DicomModalities": {"bedside": ["BEDSIDE", "127.0.0.1", self.modality]},
            "Plugins": [str(PLUGIN)],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        }
        file = self.folder / "orthanc.json"
        file.write_text(json.dumps(settings))
        with (self.folder / "orthanc.log").open("ab") as log:
            self.process = subprocess.Popen(["Orthanc", str(file)], stdout=log, stderr=subprocess.STDOUT)
        with self.client() as client:
            wait_until(lambda: client.get("/system").status_code == httpx.codes.OK)

    def stop(self) -> None:
        """End it; it takes some seconds to let go of its ports."""
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(60)
            self.process = None

    def store(self, folder: Path) -> str:
        """Put the files of a folder into the archive by its REST API; return its id of the study."""
        study = ""
        with self.client() as client:
            for path in folder.iterdir():
                answer = client.post("/instances", content=path.read_bytes())
                assert answer.status_code == httpx.codes.OK
                study = answer.json()["ParentStudy"]
        return study

    def instances(self, study: str, modality: str) -> list[dict[str, Any]]:
        """Return what QIDO-RS finds of a modality in a study (PS3.18 §10.6)."""
        with self.client() as client:
            answer = client.get(f"/dicom-web/studies/{study}/instances", params={"Modality": modality})
            return list(answer.json()) if answer.status_code == httpx.codes.OK and answer.content else []


@contextmanager
def running(folder: Path) -> Iterator[Orthanc]:
    """Run an archive with a folder of its own, or skip where Orthanc is not installed."""
    if shutil.which("Orthanc") is None or not PLUGIN.is_file():
        pytest.skip(f"needs Orthanc: {INSTALL}")
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port(1, 2)
    archive = Orthanc(folder, port, port + 1, port + 2)
    archive.start()
    try:
        yield archive
    finally:
        archive.stop()
