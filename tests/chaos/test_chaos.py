"""Everything that can be killed is, at every transition of a job and of a delivery; see docs/jobs.md."""

from collections.abc import Iterator
from typing import ClassVar

import pytest
from tests.chaos import faults as do
from tests.chaos.play import RUNS, Run, Scene, play_all
from tests.chaos.world import World
from tests.conformance.postgres import INSTALL, program

from bedside.jobs.states import TRANSITIONS, DeliveryState, JobState

Q, R, S, D, C = JobState.QUEUED, JobState.RUNNING, JobState.SUCCEEDED, JobState.DEAD, JobState.CANCELLED
NEW = "new"
P = DeliveryState.PENDING


class OneServer(Run):
    """Studies come by STOW-RS to one server."""

    faults: ClassVar = {
        "kill server": do.kill_server,
        "kill worker": do.kill_worker,
        **do.ARCHIVE_FAULTS,
        **do.DATABASE_FAULTS,
    }
    scenes: ClassVar = (
        Scene((NEW, Q), "JobStore.submit"),
        Scene((Q, R), "JobStore.claim"),
        Scene((Q, D), "JobStore.sweep", do.pass_deadline),
        Scene((Q, C), "JobStore.cancel", do.hold_queue, do.in_background(Run.cancel)),
        Scene((R, S), "JobStore.succeed"),
        Scene((R, Q), "JobStore.fail", do.crash),
        Scene((R, Q), "JobStore.give_back", do.stop_server),
        Scene((R, Q), "JobStore.sweep", do.lose_server, lambda run: run.world.serve()),
        Scene((R, D), "JobStore.fail for good", do.crash_twice, most=1),
        Scene((R, C), "JobStore.cancelled", do.hold_run, do.in_background(Run.cancel)),
        Scene((D, Q), "JobStore.redrive", do.die, do.in_background(Run.redrive)),
        Scene((NEW, P), "Outbox.claim"),
        Scene((P, "sent"), "StoreDestination._send", moments=("before", "after")),
        Scene((P, DeliveryState.DELIVERED), "Outbox.delivered"),
        Scene((P, P), "Outbox.failed", do.cut_archive_off),
        Scene((P, DeliveryState.DEAD), "Outbox.failed for good", do.cut_archive_off),
        Scene((DeliveryState.DEAD, P), "Outbox.redrive", do.give_result_up, do.in_background(Run.redrive)),
    )


def test_every_transition_of_the_table_has_a_scene() -> None:
    """A state that is added gets one, too."""
    table = {(before, after) for before, afters in TRANSITIONS.items() for after in afters}
    assert table <= {scene.change for scene in OneServer.scenes}


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
    play_all(OneServer, world, capsys)
