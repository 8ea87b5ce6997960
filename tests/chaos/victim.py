"""``bedside`` with failpoints, run as ``python -m tests.chaos.victim serve …``. The server itself is unchanged.

Each change of state passes a point, before it is asked for, within its transaction, and after its commit. Where the
folder ``CHAOS_POINTS`` holds a file ``N.armed`` with the point's name, the server stops there: the file becomes
``N.reached``, which holds its process id, and it goes on when there is an ``N.release``, if it still lives.

The fork server that keeps MONAI in memory is the test's own, at ``CHAOS_FORKS``: it outlives the servers that are
killed, so that the next one is ready in seconds. Model processes are forked and end as ever.
"""

import asyncio
import os
import threading
import time
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any

PAUSE_SECONDS = 0.01
_points = Path(os.environ.get("CHAOS_POINTS", "."))
_here = threading.local()


def _reached(name: str) -> Path | None:
    """Return what releases the point, where it is armed."""
    for armed in _points.glob("*.armed"):
        with suppress(FileNotFoundError):  # another thread was quicker
            if armed.read_text() == name:
                mine = armed.rename(armed.with_suffix(f".{os.getpid()}"))
                mine.write_text(str(os.getpid()))
                mine.rename(armed.with_suffix(".reached"))
                return armed.with_suffix(".release")
    return None


def hit(name: str) -> None:
    """Stop here for as long as the test wants."""
    release = _reached(name)
    while release is not None and not release.exists():
        time.sleep(PAUSE_SECONDS)


async def hit_async(name: str) -> None:
    """Stop here; the event loop goes on."""
    release = _reached(name)
    while release is not None and not release.exists():  # noqa: ASYNC110 - another process's file
        await asyncio.sleep(PAUSE_SECONDS)


def watch(owner: Any, method: str, *, changes: bool = False) -> None:
    """Make points ``METHOD before``, ``within`` (its transaction, once it has changed something) and ``after``.

    Args:
        owner: a class.
        method: of it.
        changes: something, whenever it is called; else a transaction tells.
    """
    original = getattr(owner, method)

    @wraps(original)
    def watched(self: Any, *args: Any, **options: Any) -> Any:
        name = f"{owner.__name__}.{method}"
        if "retry_at" in options and options["retry_at"] is None:
            name += " for good"
        hit(f"{name} before")
        _here.name, _here.changed = name, changes
        try:
            result = original(self, *args, **options)
            changed = _here.changed
        finally:
            _here.name = ""
        if changed:
            hit(f"{name} after")
        return result

    setattr(owner, method, watched)


def watch_transactions() -> None:
    """Make the points within transactions."""
    from sqlalchemy import Engine, event  # noqa: PLC0415 - model processes import this module, too

    @event.listens_for(Engine, "begin")
    def begun(connection: Any) -> None:
        raw = connection.connection.dbapi_connection
        _here.raw, _here.before = raw, getattr(raw, "total_changes", 0)

    @event.listens_for(Engine, "after_cursor_execute")
    def executed(_connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if not hasattr(_here.raw, "total_changes") and statement.startswith(("INSERT", "UPDATE")):
            _here.changed = getattr(_here, "changed", False) or cursor.rowcount > 0

    @event.listens_for(Engine, "commit")
    def committing(_connection: Any) -> None:
        if hasattr(_here.raw, "total_changes"):
            _here.changed = _here.raw.total_changes > _here.before
        if getattr(_here, "name", "") and _here.changed:
            hit(f"{_here.name} within")


def watch_inbox() -> None:
    """Make the points of received instances: within, their data lie there and their key does not, or the reverse."""
    from bedside.jobs import spool  # noqa: PLC0415 - as above
    from bedside.transports.dicom.inbox import Inbox  # noqa: PLC0415

    for method in ("keep", "read", "forget"):
        watch(Inbox, method, changes=True)
    write, destroy = spool._write, spool._destroy

    def written(path: Path, chunks: Any) -> None:
        write(path, chunks)
        if getattr(_here, "name", "") == "Inbox.keep":
            hit("Inbox.keep within")

    def destroyed(key: Path) -> None:
        destroy(key)
        if getattr(_here, "name", "") == "Inbox.forget":
            hit("Inbox.forget within")

    spool._write = written
    spool._destroy = destroyed


def watch_results() -> None:
    """Make a point before a job's result is written."""
    from bedside.jobs.spool import Spool  # noqa: PLC0415 - as above

    put = Spool.put

    def result_put(self: Spool, job: str, name: str, *args: Any, **options: Any) -> bool:
        if name == "result":
            hit("Spool.put before")
        stored = put(self, job, name, *args, **options)
        if name == "result":
            hit("Spool.put after")
        return stored

    Spool.put = result_put  # type: ignore[method-assign]


def borrow_fork_server(address: str) -> None:
    """Let model processes be forked from the test's own server."""
    from multiprocessing import forkserver, resource_tracker  # noqa: PLC0415 - as above

    servers: Any = forkserver._forkserver  # there is no public way to it
    servers._forkserver_address, (_, servers._forkserver_alive_fd) = address, os.pipe()
    servers.ensure_running = resource_tracker.ensure_running
    forkserver.ensure_running = resource_tracker.ensure_running


def watch_everything() -> None:
    """Make every point."""
    from bedside.jobs.outbox import Outbox  # noqa: PLC0415 - as above
    from bedside.jobs.store import JobStore  # noqa: PLC0415
    from bedside.runtime.model_process import ModelProcess  # noqa: PLC0415
    from bedside.transports.dicom.store_scu import StoreDestination  # noqa: PLC0415
    from bedside.transports.jobs import lane  # noqa: PLC0415

    lane.TIDY_SECONDS = 1.0
    changes = ("submit", "claim", "succeed", "fail", "give_back", "cancel", "cancelled", "redrive", "sweep")
    for method in changes:
        watch(JobStore, method)
    for method in ("claim", "delivered", "failed", "redrive"):
        watch(Outbox, method)
    watch(StoreDestination, "_send", changes=True)
    watch_inbox()
    watch_results()
    watch_transactions()
    run = ModelProcess.run

    async def held(self: ModelProcess, *args: Any) -> Any:
        await hit_async("run before")
        return await run(self, *args)

    ModelProcess.run = held  # type: ignore[assignment, method-assign]


if __name__ == "__main__":
    borrow_fork_server(os.environ.pop("CHAOS_FORKS"))
    watch_everything()
    from bedside.cli import main

    main()
