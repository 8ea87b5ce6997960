"""Bundles in processes of their own, with real processes: what a bundle does to itself it does to nobody else."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from multiprocessing import forkserver
from pathlib import Path

import numpy as np
import pytest

from bedside.bundle.folder import BundleFolder, open_bundle
from bedside.errors import (
    DeadlineExceeded,
    LoadFailed,
    ModelFailure,
    ModelNotReady,
    RunFailed,
    StagingFull,
    WorkerCrashed,
)
from bedside.runtime.model_process import Item, ModelProcess
from bedside.runtime.process import ProcessEvents, ProcessExecutor
from bedside.runtime.staging import StagedFiles, Staging
from bedside.settings import Settings
from bedside.types import DecodedImage, DecodedRecord, Prediction, ValidatedInputs

EXIT, HANG, RAISE, SEGFAULT, PRINT, WELL = 101.0, 102.0, 103.0, 104.0, 105.0, 5.0
LONG = 60.0

Serve = Callable[..., AbstractAsyncContextManager[ProcessExecutor]]


def record(first: float) -> ValidatedInputs:
    """Return a record whose first number is the wish of the misbehaving bundle."""
    return ValidatedInputs((DecodedRecord("features", np.array([first, 1, 1], np.float32), {}),))


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, as long as the test's time-out lets it."""
    while not condition():  # noqa: ASYNC110 - processes set no events
        await asyncio.sleep(0.005)


def pids(executor: ProcessExecutor) -> list[int]:
    """Return the process ids of an executor's processes."""
    return [process._process.pid for process in executor._all if process._process and process._process.pid]


def gone(pid: int) -> bool:
    """Tell whether a process has ended (a zombie has)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in {"Z", "X"}
    except FileNotFoundError:
        return True


class Crashes(ProcessEvents):
    """Notes exit codes."""

    def __init__(self, codes: list[int | None]) -> None:
        self._codes = codes

    def crashed(self, folder: BundleFolder, exit_code: int | None) -> None:
        """Note one."""
        self._codes.append(exit_code)


@pytest.fixture
def crashes() -> list[int | None]:
    """Return the exit codes that executors reported."""
    return []


@pytest.fixture
def serve(bundles: Path, settings: Settings, crashes: list[int | None]) -> Serve:
    """Return what loads a bundle in processes and ends them again."""

    @asynccontextmanager
    async def start(name: str, *, workers: int = 1) -> AsyncIterator[ProcessExecutor]:
        """Load a bundle and end it again."""
        runtime = settings.runtime.model_copy(update={"workers": workers})
        staging = Staging(runtime.staging_dir)
        executor = ProcessExecutor(open_bundle(bundles / name), runtime, staging, Crashes(crashes))
        try:
            await executor.load()
            yield executor
        finally:
            await executor.close()
            staging.close()

    return start


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


async def test_close_leaves_no_process_and_no_file(bundles: Path, settings: Settings) -> None:
    """After close there is no child, running or hanging, and the staging folder holds only its empty root."""
    staging = Staging(settings.runtime.staging_dir)
    executor = ProcessExecutor(open_bundle(bundles / "misbehaving"), settings.runtime, staging)
    await executor.load()
    (pid,) = pids(executor)
    hanging = asyncio.ensure_future(executor.run(record(HANG), timeout_seconds=LONG))
    waiting = asyncio.ensure_future(executor.run(record(WELL), timeout_seconds=LONG))
    await until(executor._idle.empty)
    await executor.close()
    assert gone(pid)
    with pytest.raises(WorkerCrashed):
        await hanging
    with pytest.raises(ModelNotReady):
        await waiting
    assert list(staging._root.iterdir()) == []
    staging.close()
    assert list(settings.runtime.staging_dir.iterdir()) == []


async def test_a_closed_executor_can_be_loaded_again(serve: Serve) -> None:
    """Unloading a model is not the end of it."""
    async with serve("misbehaving") as executor:
        await executor.close()
        assert not executor.ready
        with pytest.raises(ModelNotReady):
            await executor.run(record(WELL), timeout_seconds=LONG)
        await executor.load()
        await executor.run(record(WELL), timeout_seconds=LONG)


async def test_close_during_a_restart_leaves_no_process(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """A successor that is just being started is ended too."""
    started: list[ModelProcess] = []
    spawn = ModelProcess._spawn
    async with serve("misbehaving") as executor:

        def spawning(self: ModelProcess) -> object:
            """Note that a process is being started."""
            started.append(self)
            return spawn(self)

        monkeypatch.setattr(ModelProcess, "_spawn", spawning)
        with pytest.raises(WorkerCrashed):
            await executor.run(record(EXIT), timeout_seconds=LONG)
        await until(lambda: bool(started))
        await executor.close()
    assert started[0]._process is None
    assert not executor.ready


@pytest.mark.parametrize(
    ("bundle", "text"),
    [
        ("missing_package", "pip install surely_not_installed"),
        ("missing_weights", "model.pt"),
        ("broken_configuration", "JSONDecodeError"),
    ],
)
async def test_a_bundle_that_cannot_be_built_says_what_to_mend(
    serve: Serve, settings: Settings, bundle: str, text: str
) -> None:
    """LoadFailed carries the reason from the model's process, and nothing is left behind."""
    with pytest.raises(LoadFailed, match=text):
        async with serve(bundle, workers=2):
            pass
    assert list(settings.runtime.staging_dir.iterdir()) == []


async def test_loading_takes_no_longer_than_it_may(bundles: Path, settings: Settings) -> None:
    """A bundle that does not get ready in ``load_seconds`` is ended, and the setting is named."""
    runtime = settings.runtime.model_copy(update={"load_seconds": 0.01})
    staging = Staging(runtime.staging_dir)
    executor = ProcessExecutor(open_bundle(bundles / "misbehaving"), runtime, staging)
    with pytest.raises(LoadFailed, match="load_seconds"):
        await executor.load()
    assert not executor.ready
    assert list(staging._root.iterdir()) == []


async def test_loading_that_is_cancelled_leaves_no_process(bundles: Path, settings: Settings) -> None:
    """A server that is stopped while it loads has no child afterwards."""
    staging = Staging(settings.runtime.staging_dir)
    executor = ProcessExecutor(open_bundle(bundles / "misbehaving"), settings.runtime, staging)
    loading = asyncio.ensure_future(executor.load())
    await until(lambda: any(staging._root.iterdir()))
    loading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loading
    assert list(staging._root.iterdir()) == []


async def test_a_process_that_ends_while_loading_tells_its_exit_code(
    bundles: Path, settings: Settings, tmp_path: Path
) -> None:
    """A bundle that exits while it is built is a LoadFailed, not a hang."""
    root = tmp_path / "exits_while_loading"
    shutil.copytree(bundles / "misbehaving", root)
    (root / "scripts" / "network.py").write_text("import os\nos._exit(7)\n")
    executor = ProcessExecutor(open_bundle(root), settings.runtime, Staging(settings.runtime.staging_dir))
    with pytest.raises(LoadFailed, match="exit code 7"):
        await executor.load()


_SERVER = """
import asyncio, sys
from pathlib import Path
import numpy as np
from bedside.bundle.folder import BundleFolder, open_bundle
from bedside.runtime.process import ProcessExecutor
from bedside.runtime.staging import Staging
from bedside.settings import RuntimeSettings
from bedside.types import DecodedRecord, ValidatedInputs

async def main(bundle, staging_dir, wish):
    runtime = RuntimeSettings(device="cpu", staging_dir=Path(staging_dir))
    executor = ProcessExecutor(open_bundle(Path(bundle)), runtime, Staging(Path(staging_dir)))
    await executor.load()
    (process,) = executor._all
    record = ValidatedInputs((DecodedRecord("features", np.array([102, 1, 1], np.float32), {}),))
    run = asyncio.ensure_future(executor.run(record, timeout_seconds=600)) if wish != "idle" else None
    await asyncio.sleep(0)
    while wish != "idle" and not executor._idle.empty():
        await asyncio.sleep(0.005)
    print(process._process.pid, flush=True)
    if wish != "leave":
        await asyncio.sleep(600)

if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
"""


async def _start_server(bundle: Path, tmp_path: Path, wish: str) -> tuple[subprocess.Popen[str], int]:
    script = tmp_path / "server.py"
    script.write_text(_SERVER)
    (tmp_path / "other_staging").mkdir()
    command = [sys.executable, str(script), str(bundle), str(tmp_path / "other_staging"), wish]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220 - it returns at once
    assert server.stdout is not None
    return server, int(await asyncio.to_thread(server.stdout.readline))


async def _ends(awaitable: Awaitable[None]) -> None:
    async with asyncio.timeout(30):
        await awaitable


@pytest.mark.parametrize("wish", ["idle", "hang"])
async def test_model_processes_end_with_a_server_that_was_killed(bundles: Path, tmp_path: Path, wish: str) -> None:
    """``kill -9`` of the server leaves no model's process behind, not even one that hangs."""
    server, pid = await _start_server(bundles / "misbehaving", tmp_path, wish)
    server.kill()
    await asyncio.to_thread(server.wait)
    await _ends(until(lambda: gone(pid)))
    Staging(tmp_path / "other_staging").close()
    assert list((tmp_path / "other_staging").iterdir()) == []


async def test_a_server_that_never_closed_its_executor_can_still_exit(bundles: Path, tmp_path: Path) -> None:
    """Leaving without close, with a model that hangs, ends the process instead of waiting for it for ever."""
    server, pid = await _start_server(bundles / "misbehaving", tmp_path, "leave")
    await asyncio.to_thread(server.wait, 30)
    await _ends(until(lambda: gone(pid)))


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


def test_importing_the_preload_leaves_the_importers_signals_alone() -> None:
    """Only the fork server ignores SIGTERM; whoever else imports the module can still be ended."""
    code = "import signal, bedside.runtime.preload; print(signal.getsignal(signal.SIGTERM) == signal.SIG_DFL)"

    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "True"


async def test_a_signal_to_the_whole_group_does_not_take_the_models_with_it(serve: Serve) -> None:
    """The fork server outlives a SIGTERM: the server drains first."""
    async with serve("record_classification") as executor:
        os.kill(forkserver._forkserver._forkserver_pid, signal.SIGTERM)  # type: ignore[attr-defined]
        await asyncio.sleep(0.2)  # time in which it would have ended
        await executor.run(record(WELL), timeout_seconds=LONG)
        assert executor.ready
