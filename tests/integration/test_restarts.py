"""What becomes of a model whose process is stopped, talks too much, or cannot be started again; real processes."""

import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from tests.integration.processes import loaded
from tests.waiting import until

from bedside import bootstrap
from bedside.errors import ModelNotReady, WorkerCrashed
from bedside.observability.metrics import Metrics
from bedside.registry.finding import Finder
from bedside.runtime import process
from bedside.runtime.staging import Staging
from bedside.settings import Settings
from bedside.storage.folders import FolderSource
from bedside.types import DecodedRecord, ValidatedInputs

LONG = 60.0
RECORD = ValidatedInputs((DecodedRecord("features", np.array([5, 1, 1], np.float32), {}),))


def pid_of(root: Path) -> int | None:
    """Return the process id of a model, by its working directory."""
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cwd").readlink() == root.resolve():
                return int(entry.name)
        except OSError:
            continue
    return None


def ended(pid: int) -> bool:
    """Tell whether a process has ended (a zombie has no working directory)."""
    return not Path(f"/proc/{pid}/cwd").exists()


@pytest.fixture
def heart(bundles: Path, tmp_path: Path) -> Path:
    """Return a bundle of the test's own."""
    return Path(shutil.copytree(bundles / "record_classification", tmp_path / "models" / "heart"))


async def test_a_stopped_process_is_noticed_and_replaced(
    heart: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGSTOP ends nothing and closes nothing; without being asked, the server looks, and starts another."""
    monkeypatch.setattr(process, "_WATCH_SECONDS", 0.05)
    async with loaded(heart, settings.runtime) as executor:
        stopped = pid_of(heart)
        assert stopped is not None
        os.kill(stopped, signal.SIGSTOP)
        await until(lambda: pid_of(heart) not in (stopped, None) and executor.ready)
        assert (await executor.run(RECORD, timeout_seconds=LONG)).arrays[0].array.shape == (2,)
        assert ended(stopped)  # not only forgotten


async def test_an_answer_over_the_bound_is_not_taken(heart: Path, settings: Settings) -> None:
    """Two float32 are eight bytes: with seven allowed the process is ended, and another one is there."""
    async with loaded(heart, settings.runtime, answer_bytes=7) as executor:
        first = pid_of(heart)
        with pytest.raises(WorkerCrashed):
            await executor.run(RECORD, timeout_seconds=LONG)
        await until(lambda: executor.ready)
        assert pid_of(heart) != first
    async with loaded(heart, settings.runtime, answer_bytes=8) as executor:
        assert (await executor.run(RECORD, timeout_seconds=LONG)).arrays[0].array.nbytes == 8


async def test_a_model_that_cannot_be_started_again_says_why_until_it_is_loaded(
    heart: Path, settings: Settings
) -> None:
    """After ``restart_limit`` starts it is UNAVAILABLE with the reason; mended, it stays so until somebody loads it."""
    settings = settings.model_copy(update={"runtime": settings.runtime.model_copy(update={"restart_limit": 2})})
    staging = Staging(settings.runtime.staging_dir)
    finder = Finder([FolderSource(heart.parent)])
    repository = bootstrap.make_repository(settings, finder, staging, Metrics(), lambda _text: None)
    try:
        await repository.rescan()
        assert [status.state for status in repository.index()] == ["READY"]
        (heart / "LICENSE").write_text("not what was admitted")
        os.kill(pid_of(heart) or 0, signal.SIGKILL)
        await until(lambda: repository.index()[0].state == "UNAVAILABLE")
        assert "2 starts in a row failed" in repository.index()[0].reason
        assert "changed since it was admitted" in repository.index()[0].reason
        assert not repository.ready
        with pytest.raises(ModelNotReady):
            await repository.resolve("heart", None).executor.run(RECORD, timeout_seconds=LONG)
        (heart / "LICENSE").unlink()
        assert pid_of(heart) is None
        assert repository.index()[0].state == "UNAVAILABLE"
        await repository.load("heart")
        assert (repository.index()[0].state, repository.index()[0].reason) == ("READY", "")
        await repository.resolve("heart", None).executor.run(RECORD, timeout_seconds=LONG)
    finally:
        await repository.close()
        staging.close()
