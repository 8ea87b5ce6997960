"""What breaks, and what is done on purpose on the way to it."""

import os
import signal
import threading
import time
from typing import Any

from tests.chaos.play import Fault, Run
from tests.waiting import wait_until


def kill_server(run: Run) -> None:
    """``kill -9``; it is started again when the run settles."""
    run.world.stopped.end()


def kill_worker(run: Run) -> None:
    """``kill -9`` of the model's process."""
    pid = run.world.model_process()
    if pid is not None:
        os.kill(pid, signal.SIGKILL)


def kill_all(run: Run) -> None:
    """``kill -9`` of every server."""
    for server in run.world.servers:
        server.end()


def stop_the_one(run: Run) -> None:
    """SIGTERM, to the one that has stopped at the point: it hands on what it can."""
    server = run.world.server
    assert server.process is not None
    server.process.send_signal(signal.SIGTERM)
    run.world.release()
    server.process.wait(60)


def pause_server(run: Run) -> None:
    """Let it stand still until its leases are over and the other has taken its work; then it goes on."""
    server = run.world.server
    server.pause()
    run.world.release()
    try:
        time.sleep(3)  # two leases
    finally:
        server.resume()


def cut_senders(run: Run) -> None:
    """No line from the senders for a moment."""
    _deal_with_senders(run, "cut")


def lose_answers_to_senders(run: Run) -> None:
    """Instances are kept, and their senders do not hear of it."""
    _deal_with_senders(run, "deaf")


def _deal_with_senders(run: Run, mode: Any) -> None:
    for door in run.world.doors.values():
        door.set(mode)
    run.world.release()
    time.sleep(0.3)
    for door in run.world.doors.values():
        door.set("open")


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
    _without(run, run.world.server.database_relay, "cut")


def lose_database_answers(run: Run) -> None:
    """What the database has done is not heard of."""
    _without(run, run.world.server.database_relay, "deaf")


def _without(run: Run, relay: Any, mode: Any) -> None:
    relay.set(mode)
    run.world.release()
    time.sleep(0.5)
    relay.set("open")


ARCHIVE_FAULTS: dict[str, Fault] = {
    "kill archive": kill_archive,
    "cut network": cut_network,
    "lose answers": lose_answers,
}
DATABASE_FAULTS: dict[str, Fault] = {
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
    run.world.stopped.end()
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


def in_background(work: Fault) -> Fault:
    """Return what begins the work, which will stop at the point."""
    return lambda run: threading.Thread(target=work, args=(run,), daemon=True).start()
