"""Everything that can be killed is, at every transition of a job and of a delivery; see docs/jobs.md.

``CHAOS_RUNS`` says how many runs (20), ``CHAOS_SEED`` which one comes first (a number that is printed; a run that
failed is run again by its seed and ``CHAOS_RUNS=1``).
"""

import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy
from tests.chaos.studies import Received, Study, make_study
from tests.chaos.world import World, wait_until
from tests.conformance.postgres import INSTALL, program

from bedside.jobs.desk import JobDesk
from bedside.jobs.spool import Spool
from bedside.jobs.states import TRANSITIONS, DeliveryState, JobState
from bedside.jobs.store import JobStore
from bedside.settings import JobSettings

RUNS = int(os.environ.get("CHAOS_RUNS", "20"))
SEED = int(os.environ.get("CHAOS_SEED", str(random.SystemRandom().randrange(1 << 20))))
Q, R, S, D, C = JobState.QUEUED, JobState.RUNNING, JobState.SUCCEEDED, JobState.DEAD, JobState.CANCELLED
NEW = "new"


@dataclass(frozen=True)
class Scene:
    """A way to one transition.

    Attributes:
        change: the transition.
        point: the method that makes it.
        lead: brings it about, while a study is on its way.
        last: makes it happen, once its point is armed.
        commits: it is a transaction.
        most: studies that may be on their way.
    """

    change: tuple[str, str]
    point: str
    lead: Callable[["Run"], None] = lambda _run: None
    last: Callable[["Run"], None] = lambda _run: None
    commits: bool = True
    most: int = 3


class Run:
    """One run: some studies, one fault at one point.

    Args:
        world: the processes.
        seed: decides everything.
    """

    def __init__(self, world: World, seed: int) -> None:
        self.world, self.seed, rng = world, seed, random.Random(seed)  # noqa: S311 - no secret
        self.scene = SCENES[seed % len(SCENES)]
        self.when = rng.choice(["before", "within", "after"] if self.scene.commits else ["before", "after"])
        self.fault = rng.choice([*FAULTS] if world.postgres else [name for name in FAULTS if "database" not in name])
        self.studies = [make_study(seed * 4 + number) for number in range(rng.randint(1, self.scene.most))]
        self.senders = [threading.Thread(target=self._send, args=(study,)) for study in self.studies]
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
            FAULTS[self.fault](self)
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
        """Let the server stop at a point on the way; return what it is released by."""
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

    def _send(self, study: Study) -> None:
        """Send a study until it is taken, as modalities do."""
        path, headers = "/dicomweb/models/threshold/studies", {"Content-Type": study.media_type}
        while not self.settled.is_set():
            with suppress(httpx.TransportError):
                answer = self.world.client.post(path, content=study.body, headers=headers)
                if answer.status_code in {httpx.codes.OK, httpx.codes.ACCEPTED}:
                    return
                if answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR:
                    self.refused.append(answer.text)
                    return
                if answer.status_code == httpx.codes.INTERNAL_SERVER_ERROR:
                    self.refused.append(answer.text)
            time.sleep(0.05)

    def _settle(self) -> None:
        def ended() -> bool:
            self.world.serve()
            if any(sender.is_alive() for sender in self.senders):
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

    def check(self) -> None:
        """Hold what the archive and the store have against what was sent."""
        assert self.refused == []
        received, jobs = Received(self.world.archive.kept), self._jobs()
        for study in self.studies:
            states = jobs[study.uid]
            assert states in ([S], [C]), f"{study.uid}: {states}"
            if states == [C]:
                assert self.scene.change[1] == C
                assert study.uid not in received.of
                continue
            assert received.of[study.uid] == {"SEG": 1, "SR": 1}
            assert received.lesions[study.uid] == study.lesion
        assert {len(hashes) for hashes in received.contents.values()} <= {1}

    def _jobs(self) -> dict[str, list[JobState]]:
        """Return the states of every job of each study, by its input's digest."""
        from bedside.jobs.envelope import digest, pack  # noqa: PLC0415
        from bedside.types import RawPart  # noqa: PLC0415

        found: dict[str, list[JobState]] = {}
        with self.world.engine.connect() as connection:
            for study in self.studies:
                key = digest(pack([RawPart(None, study.media_type, study.body)]))
                rows = connection.execute(
                    sqlalchemy.text("SELECT state FROM bedside_jobs WHERE input_digest = :key"), {"key": key}
                )
                found[study.uid] = [JobState(row.state) for row in rows]
        return found


def kill_server(run: Run) -> None:
    """``kill -9``; it is started again when the run settles."""
    run.world.server.end()


def kill_worker(run: Run) -> None:
    """``kill -9`` of the model's process."""
    pid = run.world.model_process()
    if pid is not None:
        os.kill(pid, signal.SIGKILL)


def kill_archive(run: Run) -> None:
    """``kill -9``; it stays away until some attempts have failed."""
    run.world.archive.end()
    run.world.release()
    time.sleep(0.5)
    run.world.archive.start()


def cut_network(run: Run) -> None:
    """No line to the archive for a while."""
    _without(run, run.world.archive.relay, "cut")


def lose_answers(run: Run) -> None:
    """The archive is asked and keeps what it gets, and what it says is lost."""
    _without(run, run.world.archive.relay, "deaf")


def kill_database(run: Run) -> None:
    """``kill -9`` of PostgreSQL, which recovers when it is started again."""
    if run.world.postgres is not None:
        run.world.postgres.end()
        run.world.release()
        time.sleep(0.3)
        run.world.postgres.start()


def cut_database(run: Run) -> None:
    """No line to the database for a while."""
    _without(run, run.world.database_relay, "cut")


def lose_database_answers(run: Run) -> None:
    """What the database has done is not heard of."""
    _without(run, run.world.database_relay, "deaf")


def _without(run: Run, relay: Any, mode: Any) -> None:
    relay.set(mode)
    run.world.release()
    time.sleep(0.5)
    relay.set("open")


FAULTS: dict[str, Callable[[Run], None]] = {
    "kill server": kill_server,
    "kill worker": kill_worker,
    "kill archive": kill_archive,
    "cut network": cut_network,
    "lose answers": lose_answers,
    "kill database": kill_database,
    "cut database": cut_database,
    "lose database answers": lose_database_answers,
}


def crash(run: Run) -> None:
    """End the model's process while it runs: an attempt is used up."""
    held = run.held("run before")
    kill_worker(run)
    run.world.release(held)


def crash_twice(run: Run) -> None:
    """Both attempts of the only job."""
    crash(run)
    crash(run)


def stop_server(run: Run) -> None:
    """End the server in its orderly way while a job runs."""
    run.held("run before")
    assert run.world.server.process is not None
    run.world.server.process.send_signal(signal.SIGTERM)


def lose_server(run: Run) -> None:
    """Kill the server while a job runs."""
    run.held("run before")
    run.world.server.end()
    run.world.release()


def hold_queue(run: Run) -> None:
    """Keep the jobs waiting, all of them taken."""
    run.held("JobStore.claim before")
    for sender in run.senders:
        sender.join()


def pass_deadline(run: Run) -> None:
    """Let a job wait until it is too late."""
    hold_queue(run)
    run.world.late()


def hold_run(run: Run) -> None:
    """Keep a job running."""
    run.held("run before")


def die(run: Run) -> None:
    """Let a job be dead."""
    pass_deadline(run)
    run.world.release()
    wait_until(lambda: run.world.jobs(state="dead"), "a job is dead")


def cut_archive_off(run: Run) -> None:
    """Let the archive be away, until the run settles."""
    run.world.archive.relay.set("cut")


def give_result_up(run: Run) -> None:
    """Let the archive be away until a delivery is dead."""
    cut_archive_off(run)
    wait_until(lambda: run.world.client.get("/v1/deliveries").json(), "a delivery is dead")


def in_background(work: Callable[[Run], None]) -> Callable[[Run], None]:
    """Return what begins the work, which will stop at the point."""
    return lambda run: threading.Thread(target=work, args=(run,), daemon=True).start()


P = DeliveryState.PENDING
SCENES = (
    Scene((NEW, Q), "JobStore.submit"),
    Scene((Q, R), "JobStore.claim"),
    Scene((Q, D), "JobStore.sweep", pass_deadline),
    Scene((Q, C), "JobStore.cancel", hold_queue, in_background(Run.cancel)),
    Scene((R, S), "JobStore.succeed"),
    Scene((R, Q), "JobStore.fail", crash),
    Scene((R, Q), "JobStore.give_back", stop_server),
    Scene((R, Q), "JobStore.sweep", lose_server, lambda run: run.world.serve()),
    Scene((R, D), "JobStore.fail for good", crash_twice, most=1),
    Scene((R, C), "JobStore.cancelled", hold_run, in_background(Run.cancel)),
    Scene((D, Q), "JobStore.redrive", die, in_background(Run.redrive)),
    Scene((NEW, P), "Outbox.claim"),
    Scene((P, "sent"), "StoreDestination._send", commits=False),
    Scene((P, DeliveryState.DELIVERED), "Outbox.delivered"),
    Scene((P, P), "Outbox.failed", cut_archive_off),
    Scene((P, DeliveryState.DEAD), "Outbox.failed for good", cut_archive_off),
    Scene((DeliveryState.DEAD, P), "Outbox.redrive", give_result_up, in_background(Run.redrive)),
)


def test_every_transition_of_the_table_has_a_scene() -> None:
    """A state that is added gets one, too."""
    table = {(before, after) for before, afters in TRANSITIONS.items() for after in afters}
    assert table <= {scene.change for scene in SCENES}


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Run everything."""
    if request.param == "postgres" and program("postgres") is None:
        pytest.skip(f"needs PostgreSQL: {INSTALL}")
    folder = tmp_path_factory.mktemp(request.param)
    with World(folder, request.param) as running:
        yield running


@pytest.mark.slow
@pytest.mark.timeout(60 + 120 * RUNS)
def test_nothing_is_lost_or_mixed_up(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """No study lost, none answered twice, none with another's result; at the end, no input is left."""
    failed = []
    for seed in range(SEED, SEED + RUNS):
        run, begin, outcome = Run(world, seed), time.monotonic(), "ok"
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
    spool, store = Spool(world.state / "spool"), JobStore(world.engine)
    succeeded = {job.id for job in store.find(states=[S], limit=100_000)}

    def left() -> set[str]:
        return {path.name for path in (world.state / "spool").glob("*/*")} - {f"{job}.result" for job in succeeded}

    for path in (world.state / "spool").glob("*/*"):
        os.utime(path, (1e9, 1e9))  # what a crash has left is shredded an hour later
    settings = JobSettings(lease_seconds=1, retention_seconds=60)
    JobDesk(store, spool, settings).tidy()
    assert left() == set()
    JobDesk(store, spool, settings, lambda: time.time() + 3600).tidy()
    assert [*(world.state / "spool").glob("*/*")] == []
