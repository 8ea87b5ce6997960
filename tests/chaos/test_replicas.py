"""Two servers over one PostgreSQL and one spool: one is killed, stopped or stands still while the other goes on."""

from collections.abc import Iterator
from typing import ClassVar

import pytest
from tests.chaos import faults as do
from tests.chaos.play import RUNS, Run, Scene, play_all
from tests.chaos.world import World
from tests.conformance.postgres import INSTALL, program

from bedside.jobs.states import DeliveryState, JobState

Q, R, S, C = JobState.QUEUED, JobState.RUNNING, JobState.SUCCEEDED, JobState.CANCELLED
P = DeliveryState.PENDING


class TwoServers(Run):
    """Studies come by STOW-RS to either server. One that was killed stays away until everything has its end."""

    least = 1
    faults: ClassVar = {
        "kill server": do.kill_server,
        "stop server": do.stop_the_one,
        "pause server": do.pause_server,
        "kill both servers": do.kill_all,
        "kill worker": do.kill_worker,
        "lose answers": do.lose_answers,
        **do.DATABASE_FAULTS,
    }
    # Only what the other server does not do first: sweeping and driving again are tried on one server.
    scenes: ClassVar = (
        Scene(("new", Q), "JobStore.submit"),
        Scene((Q, R), "JobStore.claim"),
        Scene((R, S), "JobStore.succeed"),
        Scene((R, "written"), "Spool.put", moments=("before", "after")),
        Scene((R, Q), "JobStore.fail", do.crash),
        Scene((R, Q), "JobStore.give_back", do.stop_server),
        Scene((R, C), "JobStore.cancelled", do.hold_run, do.in_background(Run.cancel)),
        Scene(("new", P), "Outbox.claim"),
        Scene((P, "sent"), "StoreDestination._send", moments=("before", "after")),
        Scene((P, DeliveryState.DELIVERED), "Outbox.delivered"),
        Scene((P, P), "Outbox.failed", do.cut_archive_off),
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Run everything."""
    if program("postgres") is None:
        pytest.skip(f"needs PostgreSQL: {INSTALL}")
    with World(tmp_path_factory.mktemp("replicas"), "postgres", replicas=2) as running:
        yield running


@pytest.mark.slow
@pytest.mark.timeout(120 + 120 * RUNS)
def test_one_replica_goes_on_where_another_ends(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """No study lost, none answered twice, none with another's result; at the end, no input is left."""
    play_all(TwoServers, world, capsys)
