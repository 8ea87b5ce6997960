"""Bundles in processes of their own, with real processes: what a bundle does to itself it does to nobody else."""

import asyncio
import os
import signal
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from tests.integration.model_process.wishes import (
    EXIT,
    HANG,
    LONG,
    PRINT,
    RAISE,
    SEGFAULT,
    WELL,
    Serve,
    gone,
    pids,
    record,
)
from tests.waiting import until

from bedside.bundle.folder import open_bundle
from bedside.errors import DeadlineExceeded, LoadFailed, ModelFailure, RunFailed, StagingFull, WorkerCrashed
from bedside.runtime.model_process import Item, ModelProcess
from bedside.runtime.process import ProcessExecutor
from bedside.runtime.staging import StagedFiles, Staging
from bedside.settings import Settings
from bedside.types import DecodedImage, Prediction, ValidatedInputs


@pytest.mark.parametrize(("wish", "code"), [(EXIT, 3), (SEGFAULT, -signal.SIGSEGV)])
async def test_a_process_that_ends_fails_its_own_request_and_is_replaced(
    serve: Serve, crashes: list[int | None], wish: float, code: int
) -> None:
    """The request that met the crash gets WorkerCrashed, the exit code is told, and the next one is answered."""
    async with serve("misbehaving") as executor:
        with pytest.raises(WorkerCrashed):
            await executor.run(record(wish), timeout_seconds=LONG)
        assert not executor.ready
        await until(lambda: executor.ready)
        prediction = await executor.run(record(WELL), timeout_seconds=LONG)
    assert prediction.arrays[0].array.shape == (2,)
    assert crashes == [code]


async def test_a_model_that_hangs_is_stopped_at_the_deadline(serve: Serve, crashes: list[int | None]) -> None:
    """The caller gets DeadlineExceeded, the process is killed, and a fresh one answers the next request."""
    async with serve("misbehaving") as executor:
        (pid,) = pids(executor)
        with pytest.raises(DeadlineExceeded):
            await executor.run(record(HANG), timeout_seconds=0.2)
        await until(lambda: executor.ready and gone(pid))
        await executor.run(record(WELL), timeout_seconds=LONG)
    assert crashes == []


async def test_the_text_of_a_bundles_exception_stays_in_its_process(serve: Serve) -> None:
    """An exception's text may quote a patient: only its class and its place come over, and the process goes on."""
    async with serve("misbehaving") as executor:
        before = pids(executor)
        with pytest.raises(RunFailed) as caught:
            await executor.run(record(RAISE), timeout_seconds=LONG)
        assert pids(executor) == before
    error = caught.value
    assert error.cause == "ValueError"
    assert "forward" in error.where
    assert "DOE" not in repr([error.detail, error.field, error.cause, error.where, error.args, error.__cause__])


async def test_what_a_bundle_prints_reaches_no_log(serve: Serve, capfd: pytest.CaptureFixture[str]) -> None:
    """Standard output is the server's log; a bundle's own output goes nowhere."""
    async with serve("misbehaving") as executor:
        await executor.run(record(PRINT), timeout_seconds=LONG)
    captured = capfd.readouterr()
    assert "DOE" not in captured.out + captured.err


async def test_a_process_killed_while_idle_is_noticed_and_replaced(serve: Serve, crashes: list[int | None]) -> None:
    """Readiness fails without a request having had to find out; a request that comes meanwhile waits."""
    async with serve("misbehaving") as executor:
        (pid,) = pids(executor)
        os.kill(pid, signal.SIGKILL)
        await until(lambda: not executor.ready)
        await executor.run(record(WELL), timeout_seconds=LONG)
        assert executor.ready
    assert crashes == [-signal.SIGKILL]


async def test_a_process_that_keeps_crashing_is_started_again_each_time(
    serve: Serve, crashes: list[int | None]
) -> None:
    """Crashes in a row cost a growing pause, not the model."""
    async with serve("misbehaving") as executor:
        for _ in range(3):
            with pytest.raises(WorkerCrashed):
                await executor.run(record(EXIT), timeout_seconds=LONG)
            await until(lambda: executor.ready)
        await executor.run(record(WELL), timeout_seconds=LONG)
        assert executor._crashes == 0
    assert crashes == [3, 3, 3]


async def test_a_start_that_fails_is_tried_again(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """A successor that cannot be started (no memory, no room) is tried for until it can."""
    async with serve("misbehaving") as executor:
        working, failures = executor._new_process, [StagingFull(), LoadFailed("no memory")]

        def sometimes() -> ModelProcess:
            """Fail as often as there are failures."""
            if failures:
                raise failures.pop()
            return working()

        monkeypatch.setattr(executor, "_new_process", sometimes)
        with pytest.raises(WorkerCrashed):
            await executor.run(record(EXIT), timeout_seconds=LONG)
        await until(lambda: executor.ready)
        await executor.run(record(WELL), timeout_seconds=LONG)
    assert not failures


async def test_a_caller_who_goes_away_frees_the_device(serve: Serve) -> None:
    """Cancelling a run kills the process that computes it; the next request has a fresh one."""
    async with serve("misbehaving") as executor:
        (pid,) = pids(executor)
        run = asyncio.ensure_future(executor.run(record(HANG), timeout_seconds=LONG))
        await until(executor._idle.empty)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        await until(lambda: gone(pid) and executor.ready)
        await executor.run(record(WELL), timeout_seconds=LONG)


async def test_short_work_is_let_finish_when_its_caller_has_gone(
    bundles: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within the grace a run ends by itself, and its process, which takes seconds to load, goes on."""
    may_run, run_of_process = asyncio.Event(), ModelProcess.run

    async def waiting(self: ModelProcess, items: Sequence[Item]) -> list[Prediction | ModelFailure]:
        """Run once the test lets it."""
        await may_run.wait()
        return await run_of_process(self, items)

    runtime = settings.runtime.model_copy(update={"stop_grace_seconds": LONG})
    staging = Staging(runtime.staging_dir)
    executor = ProcessExecutor(open_bundle(bundles / "misbehaving"), runtime, staging)
    await executor.load()
    before = pids(executor)
    monkeypatch.setattr(ModelProcess, "run", waiting)
    run = asyncio.ensure_future(executor.run(record(WELL), timeout_seconds=LONG))
    await until(executor._idle.empty)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    may_run.set()
    await executor.run(record(WELL), timeout_seconds=LONG)
    assert pids(executor) == before
    await executor.close()
    assert list(staging._root.iterdir()) == []


async def test_a_caller_who_goes_away_while_waiting_costs_nobody_a_process(serve: Serve) -> None:
    """Cancelling a run that has not begun leaves the running one alone."""
    async with serve("misbehaving") as executor:
        running = asyncio.ensure_future(executor.run(record(HANG), timeout_seconds=LONG))
        await until(executor._idle.empty)
        before = pids(executor)
        with pytest.raises(DeadlineExceeded):
            await executor.run(record(WELL), timeout_seconds=0.01)
        assert pids(executor) == before
        running.cancel()


async def test_an_image_whose_caller_went_away_while_it_was_written_is_removed(
    serve: Serve, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread cannot be stopped, so what it wrote for nobody is removed when it is done."""
    may_write, folders = threading.Event(), []
    put = Staging.put

    def slow(self: Staging, inputs: ValidatedInputs, place: Path) -> StagedFiles:
        """Write once the test lets it."""
        may_write.wait(LONG)
        folders.append(put(self, inputs, place))
        return folders[-1]

    image = DecodedImage("image", bytes(2 << 20), ".npy", (2 << 20,), 1, 1, "uint8")
    async with serve("misbehaving") as executor:
        monkeypatch.setattr(Staging, "put", slow)
        run = asyncio.ensure_future(executor.run(ValidatedInputs((image,)), timeout_seconds=LONG))
        await until(executor._idle.empty)
        await asyncio.sleep(0)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        await until(lambda: not executor._all)  # the grace is over, and nobody waits for the thread any more
        may_write.set()
        await until(lambda: bool(folders) and not folders[0].folder.exists())


async def test_scripts_of_two_bundles_do_not_meet(serve: Serve) -> None:
    """Each bundle imports its own top-level package ``scripts``."""
    async with serve("scripts_adding_one") as one, serve("scripts_adding_nine") as nine:
        first = await one.run(record(WELL), timeout_seconds=LONG)
        second = await nine.run(record(WELL), timeout_seconds=LONG)
    expected = [np.exp([x, 0]) / np.exp([x, 0]).sum() for x in (1.0, 9.0)]
    np.testing.assert_allclose(first.arrays[0].array, expected[0], rtol=1e-6)
    np.testing.assert_allclose(second.arrays[0].array, expected[1], rtol=1e-4)


async def test_two_workers_run_at_the_same_time(serve: Serve) -> None:
    """While one process hangs, the other answers."""
    async with serve("misbehaving", workers=2) as executor:
        hanging = asyncio.ensure_future(executor.run(record(HANG), timeout_seconds=LONG))
        await until(lambda: executor._idle.qsize() == 1)
        await executor.run(record(WELL), timeout_seconds=LONG)
        assert not hanging.done()
        hanging.cancel()


async def test_files_that_a_bundle_writes_come_back_and_are_removed(serve: Serve, settings: Settings) -> None:
    """A file that a bundle makes by design is part of the answer, and lies nowhere afterwards."""
    async with serve("writing_files") as executor:
        prediction = await executor.run(record(WELL), timeout_seconds=LONG)
        assert [file.suffix for file in prediction.files] == [".txt"]
        assert prediction.files[0].data.startswith(b"[")
        assert [path.name for path in settings.runtime.staging_dir.rglob("*") if path.is_file()] == []


async def test_an_input_that_cannot_be_staged_costs_nobody_a_process(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No room, or a fault of our own: the process has not been asked, and answers the next request."""
    failures: list[Exception] = [StagingFull(), TypeError("a fault of our own")]
    put = Staging.put

    def sometimes(self: Staging, inputs: ValidatedInputs, place: Path) -> StagedFiles:
        """Fail as often as there are failures."""
        if failures:
            raise failures.pop()
        return put(self, inputs, place)

    async with serve("misbehaving") as executor:
        before = pids(executor)
        monkeypatch.setattr(Staging, "put", sometimes)
        for expected in (TypeError, StagingFull):
            with pytest.raises(expected):
                await executor.run(record(WELL), timeout_seconds=LONG)
        await executor.run(record(WELL), timeout_seconds=LONG)
        assert pids(executor) == before
