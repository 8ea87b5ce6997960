"""The end of model processes: with the executor, with the server, however it ends."""

import asyncio
import os
import signal
import subprocess
import sys
from multiprocessing import forkserver
from pathlib import Path

import pytest
from tests.integration.model_process.wishes import EXIT, HANG, LONG, WELL, Serve, gone, pids, record
from tests.waiting import PATIENCE_SECONDS, until

from bedside.bundle.folder import open_bundle
from bedside.errors import ModelNotReady, WorkerCrashed
from bedside.runtime.model_process import ModelProcess
from bedside.runtime.process import ProcessExecutor
from bedside.runtime.staging import Staging
from bedside.settings import Settings


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
    runtime = RuntimeSettings(device="cpu", workers=2, staging_dir=Path(staging_dir))
    executor = ProcessExecutor(open_bundle(Path(bundle)), runtime, Staging(Path(staging_dir)))
    await executor.load()
    record = ValidatedInputs((DecodedRecord("features", np.array([102, 1, 1], np.float32), {}),))
    run = asyncio.ensure_future(executor.run(record, timeout_seconds=600))
    while executor._idle.qsize() == 2:
        await asyncio.sleep(0.005)
    print(*(process._process.pid for process in executor._all), flush=True)
    if wish != "leave":
        await asyncio.sleep(600)

if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
"""


async def _start_server(bundle: Path, tmp_path: Path, wish: str) -> tuple[subprocess.Popen[str], list[int]]:
    """Start a server with two processes of a model, of which one hangs; return it, and their process ids."""
    script = tmp_path / "server.py"
    script.write_text(_SERVER)
    (tmp_path / "other_staging").mkdir()
    command = [sys.executable, str(script), str(bundle), str(tmp_path / "other_staging"), wish]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220 - it returns at once
    assert server.stdout is not None
    found = [int(pid) for pid in (await asyncio.to_thread(server.stdout.readline)).split()]
    assert len(found) == 2
    return server, found


async def _end(found: list[int]) -> None:
    await until(lambda: all(gone(pid) for pid in found))


async def test_model_processes_end_with_a_server_that_was_killed(bundles: Path, tmp_path: Path) -> None:
    """``kill -9`` of the server leaves no model's process behind: not an idle one, and not one that hangs."""
    server, found = await _start_server(bundles / "misbehaving", tmp_path, "stay")
    server.kill()
    await asyncio.to_thread(server.wait)
    await _end(found)
    Staging(tmp_path / "other_staging").close()
    assert list((tmp_path / "other_staging").iterdir()) == []


async def test_a_server_that_never_closed_its_executor_can_still_exit(bundles: Path, tmp_path: Path) -> None:
    """Leaving without close, with a model that hangs, ends the process instead of waiting for it for ever."""
    server, found = await _start_server(bundles / "misbehaving", tmp_path, "leave")
    await asyncio.to_thread(server.wait, PATIENCE_SECONDS)
    await _end(found)


async def test_a_signal_to_the_whole_group_does_not_take_the_models_with_it(serve: Serve) -> None:
    """The fork server outlives a SIGTERM: the server drains first."""
    async with serve("record_classification") as executor:
        os.kill(forkserver._forkserver._forkserver_pid, signal.SIGTERM)  # type: ignore[attr-defined]
        await asyncio.sleep(0.2)  # time in which it would have ended
        await executor.run(record(WELL), timeout_seconds=LONG)
        assert executor.ready
