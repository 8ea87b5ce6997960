"""Studies come by C-STORE to a server and a listener that share an inbox; whoever receives or assembles is killed."""

import io
import os
import random
import time
from collections.abc import Iterator
from typing import Any, ClassVar

import pydicom
import pynetdicom
import pytest
import sqlalchemy
from tests.chaos import faults as do
from tests.chaos.play import RUNS, Run, Scene, play_all
from tests.chaos.studies import Study
from tests.chaos.world import World

from bedside.jobs.spool import Spool
from bedside.jobs.states import JobState
from bedside.settings import LimitSettings
from bedside.transports.dicom.inbox import Inbox

ANSWER_SECONDS = 1.0
OUT_OF_RESOURCES = 0xA700


def some_instances(run: Run) -> None:
    """Let some instances be received."""
    for _ in range(run.rng.randint(0, 3)):
        run.world.release(run.held("Inbox.keep after"))


def all_instances(run: Run) -> None:
    """Let every study be received; each sender has released its association."""
    for sender in run.senders:
        sender.join()


class Received(Run):
    """Studies come by C-STORE."""

    faults: ClassVar = {
        "kill process": do.kill_server,
        "kill worker": do.kill_worker,
        "cut senders": do.cut_senders,
        "lose answers to senders": do.lose_answers_to_senders,
        **do.ARCHIVE_FAULTS,
    }
    scenes: ClassVar = (
        Scene(("sent", "kept"), "Inbox.keep", some_instances),
        Scene(("released", "read"), "Inbox.read", all_instances, moments=("before", "after")),
        Scene(("read", "job"), "JobStore.submit", all_instances),
        Scene(("job", "forgotten"), "Inbox.forget", all_instances),
    )

    def __init__(self, world: World, seed: int) -> None:
        self._known = self._rows(world)
        super().__init__(world, seed)

    def send(self, study: Study, way: random.Random) -> None:
        """Send a study by C-STORE, again and again what was not confirmed: to one door, or to either."""
        doors = way.choice([["server"], ["server", "listener"]])
        left = {str(one.SOPInstanceUID): one for one in map(pydicom.dcmread, map(io.BytesIO, study.files))}
        while left and not self.settled.is_set():
            for uid in self._confirmed(way.choice(doors), left):
                del left[uid]
            time.sleep(0.05)

    def _confirmed(self, door: str, left: dict[str, Any]) -> list[str]:
        ae, confirmed = pynetdicom.AE(ae_title="SCANNER"), []
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = ae.connection_timeout = ANSWER_SECONDS
        ae.add_requested_context(next(iter(left.values())).SOPClassUID, pydicom.uid.ExplicitVRLittleEndian)
        association = ae.associate("127.0.0.1", self.world.doors[door].port, ae_title="BEDSIDE")
        for uid, instance in left.items():
            if not association.is_established:
                break
            status = association.send_c_store(instance)
            if status and status.Status == 0:
                confirmed.append(uid)
            elif status and status.Status != OUT_OF_RESOURCES:
                self.refused.append(f"{status.Status:04X}")
        if association.is_established:
            association.release()
        return confirmed

    def waits(self) -> bool:
        """Tell whether something is on its way or in the inbox."""
        return super().waits() or bool(Spool(self.world.inbox).ids())

    def jobs(self) -> dict[str, list[JobState]]:
        """Return one job for each study, where there are as many new ones as studies: their inputs are gone."""
        new = [state for job, state in self._rows(self.world).items() if job not in self._known]
        assert len(new) == len(self.studies), f"{len(new)} jobs of {len(self.studies)} studies"
        return {study.uid: [JobState(state)] for study, state in zip(self.studies, new, strict=True)}

    @staticmethod
    def _rows(world: World) -> dict[str, str]:
        with world.engine.connect() as connection:
            rows = connection.execute(sqlalchemy.text("SELECT id, state FROM bedside_jobs"))
            return {row.id: row.state for row in rows}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Run everything."""
    with World(tmp_path_factory.mktemp("c-store"), "sqlite", receives=True) as running:
        yield running


@pytest.mark.slow
@pytest.mark.timeout(120 + 120 * RUNS)
def test_no_instance_is_lost_once_it_is_confirmed(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Each study becomes one job, whole; no other has its result; at the end, nothing is left in the inbox."""
    play_all(Received, world, capsys)
    for path in world.inbox.glob("*/*"):
        os.utime(path, (1e9, 1e9))  # what a crash has left is shredded an hour later
    Inbox(Spool(world.inbox), LimitSettings(), 1 << 30).tidy()
    assert [*world.inbox.glob("*/*")] == []
