"""One run: some studies are sent, a process is stopped at one point, something breaks, and all is held to its promises.

``CHAOS_RUNS`` says how many runs (20), ``CHAOS_SEED`` which one comes first (a number that is printed; a run that
failed is run again by its seed and ``CHAOS_RUNS=1``).
"""

import os
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import httpx
import pytest
import sqlalchemy
from tests.chaos.studies import Received, Study, make_study
from tests.chaos.world import World
from tests.waiting import wait_until

from bedside.jobs.desk import JobDesk
from bedside.jobs.envelope import digest, pack
from bedside.jobs.spool import Spool
from bedside.jobs.states import JobState
from bedside.jobs.store import JobStore
from bedside.settings import JobSettings
from bedside.types import RawPart

RUNS = int(os.environ.get("CHAOS_RUNS", "20"))
SEED = int(os.environ.get("CHAOS_SEED", str(random.SystemRandom().randrange(1 << 20))))

Fault = Callable[["Run"], None]


@dataclass(frozen=True)
class Scene:
    """A way to one transition.

    Attributes:
        change: the transition.
        point: the method that makes it.
        lead: brings it about, while a study is on its way.
        last: makes it happen, once its point is armed.
        moments: at which the server may be stopped.
        most: studies that may be on their way.
    """

    change: tuple[str, str]
    point: str
    lead: Fault = lambda _run: None
    last: Fault = lambda _run: None
    moments: tuple[str, ...] = ("before", "within", "after")
    most: int = 3


class Run:
    """One run: some studies, one fault at one point.

    Args:
        world: the processes.
        seed: decides everything.

    Attributes:
        scenes, faults: what is chosen from.
        least: servers that are started again before everything has its end; None: all.
    """

    scenes: ClassVar[Sequence[Scene]] = ()
    faults: ClassVar[Mapping[str, Fault]] = {}
    least: ClassVar[int | None] = None

    def __init__(self, world: World, seed: int) -> None:
        self.world, self.seed, self.rng = world, seed, random.Random(seed)  # noqa: S311 - no secret
        self.scene = self.scenes[seed % len(self.scenes)]
        self.when = self.rng.choice(self.scene.moments)
        self.fault = self.rng.choice([name for name in self.faults if world.postgres or "database" not in name])
        self.studies = [make_study(seed * 4 + number) for number in range(self.rng.randint(1, self.scene.most))]
        ways = [random.Random(self.rng.random()) for _ in self.studies]  # noqa: S311 - as above
        self.senders = [threading.Thread(target=self.send, args=pair) for pair in zip(self.studies, ways, strict=True)]
        self.refused: list[str] = []
        self.settled = threading.Event()

    def __str__(self) -> str:
        """Tell what it does."""
        what = f"{self.scene.change[0]} → {self.scene.change[1]} ({self.scene.point} {self.when})"
        return f"CHAOS_SEED={self.seed}: {len(self.studies)} studies, {self.fault} at {what}"

    def play(self) -> None:
        """Let it happen, mend what was broken, and wait until every study has its end."""
        for sender in self.senders:
            sender.start()
        self.scene.lead(self)
        # Before a change that finds nothing to do there is no point: every look would be one.
        reached = self.world.arm(f"{self.scene.point} {self.when}")
        self.scene.last(self)
        if self.world.reach(reached):
            self.faults[self.fault](self)
        self.world.archive.relay.set("open")
        self.world.release()
        self._settle()

    def recover(self) -> None:
        """Mend everything for the next run."""
        self.settled.set()
        self.world.archive.relay.set("open")
        self.world.release()
        self.world.serve()

    def held(self, point: str) -> Path:
        """Let a server stop at a point on the way; return what it is released by."""
        reached = self.world.arm(point)
        self.world.reach(reached)
        return reached

    def cancel(self) -> None:
        """Give up whatever waits or runs; the answer may get lost."""
        with suppress(httpx.HTTPError):
            for job in self.world.jobs():
                if job["state"] in {"queued", "running"}:
                    self.world.client.delete(f"/v1/jobs/{job['id']}")

    def redrive(self) -> None:
        """Try again what is dead, as an administrator would; the answer may get lost."""
        with suppress(httpx.HTTPError):
            for job in self.world.jobs(state="dead"):
                self.world.client.post(f"/v1/jobs/{job['id']}/redrive")
            for delivery in self.world.client.get("/v1/deliveries").json():
                self.world.client.post(f"/v1/deliveries/{delivery['job']}/redrive")

    def send(self, study: Study, way: random.Random) -> None:
        """Send a study by STOW-RS until it is taken, as modalities do."""
        path, headers = "/dicomweb/models/threshold/studies", {"Content-Type": study.media_type}
        while not self.settled.is_set():
            with suppress(httpx.TransportError):
                answer = way.choice(self.world.servers).client.post(path, content=study.body, headers=headers)
                if answer.status_code in {httpx.codes.OK, httpx.codes.ACCEPTED}:
                    return
                if answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR:
                    self.refused.append(answer.text)
                    return
                if answer.status_code == httpx.codes.INTERNAL_SERVER_ERROR:
                    self.refused.append(answer.text)
            time.sleep(0.05)

    def waits(self) -> bool:
        """Tell whether a study is still on its way to becoming a job."""
        return any(sender.is_alive() for sender in self.senders)

    def _settle(self) -> None:
        def ended() -> bool:
            self.world.serve(self.least)
            if self.waits():
                return False
            self.redrive()
            states = Counter(job["state"] for job in self.world.jobs())
            open_ones = self.world.client.get("/v1/deliveries?state=pending").json()
            # In this order: what was on its way a moment ago may have been given up since.
            given_up = self.world.client.get("/v1/deliveries").json()
            return not (states["queued"] or states["running"] or states["dead"] or open_ones or given_up)

        try:
            wait_until(ended, str(self))
        finally:
            self.settled.set()
        self.world.serve()

    def check(self) -> None:
        """Hold what the archive and the store have against what was sent."""
        assert self.refused == []
        received, jobs = Received(self.world.archive.kept), self.jobs()
        for study in self.studies:
            states = jobs[study.uid]
            assert states in ([JobState.SUCCEEDED], [JobState.CANCELLED]), f"{study.uid}: {states}"
            if states == [JobState.CANCELLED]:
                assert self.scene.change[1] == JobState.CANCELLED
                assert study.uid not in received.of
                continue
            assert received.of[study.uid] == {"SEG": 1, "SR": 1}
            assert received.lesions[study.uid] == study.lesion
        assert {len(hashes) for hashes in received.contents.values()} <= {1}

    def jobs(self) -> dict[str, list[JobState]]:
        """Return the states of every job of each study, by its input's digest."""
        found: dict[str, list[JobState]] = {}
        with self.world.engine.connect() as connection:
            for study in self.studies:
                key = digest(pack([RawPart(None, study.media_type, study.body)]))
                rows = connection.execute(
                    sqlalchemy.text("SELECT state FROM bedside_jobs WHERE input_digest = :key"), {"key": key}
                )
                found[study.uid] = [JobState(row.state) for row in rows]
        return found


def play_all(kind: type[Run], world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Play as many runs as are asked for, print each with its seed, and fail with those that failed."""
    failed = []
    for seed in range(SEED, SEED + RUNS):
        run, begin, outcome = kind(world, seed), time.monotonic(), "ok"
        try:
            run.play()
            run.check()
        except AssertionError as error:
            outcome = f"FAILED: {error}"
            failed.append(f"{run}: {error}")
            run.recover()
        with capsys.disabled():
            sys.stdout.write(f"{run}: {outcome}, {time.monotonic() - begin:.1f} s\n")
    assert failed == []
    _check_spool(world)


def _check_spool(world: World) -> None:
    """Nothing but results is left; once their retention is over, nothing is."""
    spool, store = Spool(world.spool), JobStore(world.engine)
    succeeded = {job.id for job in store.find(states=[JobState.SUCCEEDED], limit=100_000)}

    def left() -> set[str]:
        return {path.name for path in world.spool.glob("*/*")} - {f"{job}.result" for job in succeeded}

    for path in world.spool.glob("*/*"):
        os.utime(path, (1e9, 1e9))  # what a crash has left is shredded an hour later
    settings = JobSettings(lease_seconds=1, retention_seconds=60)
    JobDesk(store, spool, settings).tidy()
    assert left() == set()
    JobDesk(store, spool, settings, lambda: time.time() + 3600).tidy()
    assert [*world.spool.glob("*/*")] == []
