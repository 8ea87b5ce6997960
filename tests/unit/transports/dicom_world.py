"""A world whose model takes DICOM series, and the series that it is sent."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.assets.dicom import make_series
from tests.unit.transports.fakes import IMAGE, FakeExecutor, FakeModel, World, image_run, make_world

from bedside.codecs.dicom import MEDIA_TYPES
from bedside.jobs.desk import JobDesk
from bedside.jobs.outbox import Outbox
from bedside.jobs.spool import Spool
from bedside.jobs.store import JobStore
from bedside.jobs.tables import connect
from bedside.settings import JobSettings
from bedside.transports.jobs.lane import JobLane
from bedside.transports.jobs.work import SpineWork
from bedside.transports.rest.app import create_app

RELATED = 'multipart/related; type="application/dicom"'
JOBS = JobSettings(lease_seconds=30, poll_seconds=0.02, retry_seconds=0.01, retry_most_seconds=0.02)


maker: Any = make_series


def related(files: list[bytes]) -> bytes:
    """Return files as the body of a STOW-RS request."""
    parts = b"".join(b"--cut\r\nContent-Type: application/dicom\r\n\r\n" + data + b"\r\n" for data in files)
    return parts + b"--cut--\r\n"


class Hospital:
    """A world with the model ``mask``, which takes CT series, and with jobs."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        plain = make_world(**settings)
        (image,) = IMAGE.inputs
        contract = replace(IMAGE, inputs=(replace(image, media_types=(*image.media_types, *MEDIA_TYPES)),))
        plain.repository.models["mask"] = FakeModel(contract, FakeExecutor(contract, image_run))
        engine = connect(f"sqlite:///{folder / 'jobs.db'}")
        self.store, self.outbox, self.spool = JobStore(engine), Outbox(engine), Spool(folder / "spool")
        self.desk, self.woken = JobDesk(self.store, self.spool, JOBS), 0
        parts = replace(plain.parts, jobs=self.desk, wake_jobs=self.wake)
        self.world: World = replace(plain, parts=parts, app=create_app(parts))
        self.lane = JobLane(self.store, self.spool, SpineWork(parts.dataplane, JOBS), lambda: [contract.digest], JOBS)

    def wake(self) -> None:
        """Count what was handed in."""
        self.woken += 1
        self.lane.wake()
