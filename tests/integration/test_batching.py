"""Batches in real processes: what one item does to its run, it does to nobody who shares it."""

import asyncio
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bedside.batching.adaptive import AdaptiveBatcher
from bedside.bundle.folder import BundleFolder, open_bundle
from bedside.errors import DeadlineExceeded, InputNotProcessable, RunFailed, WorkerCrashed
from bedside.runtime.facts import Batches
from bedside.runtime.memory import MemoryBudget, MemoryNeed
from bedside.runtime.process import ProcessEvents, ProcessExecutor
from bedside.runtime.staging import Staging
from bedside.settings import Settings
from bedside.types import DecodedImage, Prediction, ValidatedInputs

LONG = 60.0
RAISES, HANGS, ENDS = 210, 245, 255
LOADS = 10


class Crashes(ProcessEvents):
    """Counts processes that ended by themselves."""

    count = 0

    def crashed(self, folder: BundleFolder, exit_code: int | None) -> None:
        """Count."""
        self.count += 1


@dataclass
class Served:
    """The pictures' model in a process of its own, behind a batcher whose batches have grown."""

    executor: ProcessExecutor
    batcher: AdaptiveBatcher
    crashes: Crashes
    staging: Staging

    async def answers(self, *greys: int, timeout_seconds: float = LONG) -> list[Prediction | BaseException]:
        """Run pictures of one grey at one time."""
        runs = (self.batcher.run(picture(grey), timeout_seconds=timeout_seconds) for grey in greys)
        return await asyncio.gather(*runs, return_exceptions=True)


def picture(grey: int) -> ValidatedInputs:
    """Return a picture of one grey."""
    stream = io.BytesIO()
    Image.new("L", (16, 16), grey).save(stream, "PNG")
    return ValidatedInputs((DecodedImage("image", stream.getvalue(), ".png", (16, 16), 2, 1, "uint8"),))


def value(answer: Prediction | BaseException) -> float:
    """Return what a picture was answered with: a linear function of its grey."""
    assert isinstance(answer, Prediction), answer
    return float(answer.arrays[0].array.flat[0])


@pytest.fixture
async def served(bundles: Path, settings: Settings) -> AsyncIterator[Served]:
    """Serve the pictures."""
    runtime = settings.runtime.model_copy(update={"batch_budget_ms": 1e4, "stop_grace_seconds": 0.1})
    staging, crashes = Staging(runtime.staging_dir), Crashes()
    executor = ProcessExecutor(open_bundle(bundles / "fragile_pictures"), runtime, staging, crashes)
    for _ in range(LOADS):  # a busy machine may find no gain in sharing
        await executor.load()
        if executor.batch_size > 1:
            break
        await executor.close()
    assert executor.batch_size > 1, executor.batches
    executor._batches = Batches(runtime.batch_size)  # a busy machine may have found fewer to be as good
    batcher = AdaptiveBatcher(executor, budget_ms=runtime.batch_budget_ms)
    batcher._limits.update(dict.fromkeys(range(20), executor.batch_size))
    yield Served(executor, batcher, crashes, staging)
    await executor.close()
    assert not list(staging._root.iterdir())
    staging.close()


async def test_each_has_its_own_answer(served: Served) -> None:
    """Eight at one time, in one run, are answered as they are alone."""
    greys = range(0, 160, 20)
    alone = [value(await served.executor.run(picture(grey), timeout_seconds=LONG)) for grey in greys]
    assert len(set(alone)) == len(alone)
    np.testing.assert_allclose([value(answer) for answer in await served.answers(*greys)], alone, rtol=1e-5)


@pytest.mark.parametrize(("grey", "error"), [(RAISES, RunFailed), (ENDS, WorkerCrashed)])
async def test_of_eight_only_the_culprit_fails(served: Served, grey: int, error: type[Exception]) -> None:
    """Seven right answers and one error, where an item makes the network raise or ends the process."""
    expected = [value(answer) for answer in await served.answers(*range(10, 80, 10))]
    answers = await served.answers(grey, *range(10, 80, 10))
    assert type(answers[0]) is error
    np.testing.assert_allclose([value(answer) for answer in answers[1:]], expected, rtol=1e-5)
    assert served.crashes.count == (2 if error is WorkerCrashed else 0)


async def test_an_item_that_hangs_takes_only_its_own_time(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run is broken up, and whoever comes behind it is answered in time."""
    monkeypatch.setattr("bedside.batching.adaptive._STUCK_SECONDS", 0.5)
    served.batcher._budget = 0.0
    good = [asyncio.create_task(served.batcher.run(picture(grey), timeout_seconds=LONG)) for grey in (10, 20)]
    hanging = asyncio.create_task(served.batcher.run(picture(HANGS), timeout_seconds=2.0))
    first, second = [value(answer) for answer in await asyncio.gather(*good)]
    assert first != second
    with pytest.raises(DeadlineExceeded):
        await hanging
    assert value((await served.answers(10))[0]) == pytest.approx(first)


async def test_what_cannot_be_read_fails_alone(served: Served) -> None:
    """A file that the bundle's reader refuses costs the others nothing."""
    broken = ValidatedInputs((DecodedImage("image", b"no picture", ".png", (16, 16), 2, 1, "uint8"),))
    runs = [served.batcher.run(inputs, timeout_seconds=LONG) for inputs in (picture(10), broken, picture(20))]
    first, second, third = await asyncio.gather(*runs, return_exceptions=True)
    assert isinstance(second, InputNotProcessable)
    assert value(first) != value(third)


async def test_a_batch_that_does_not_fit_into_memory_is_halved(served: Served) -> None:
    """Each part keeps to the budget; nobody is refused who could run alone."""
    served.executor._memory, served.executor._budget = MemoryNeed(base=600_000), MemoryBudget(1)
    assert len({value(answer) for answer in await served.answers(10, 20, 30, 40)}) == 4
    assert served.executor._budget.reserved == 0


async def test_callers_who_leave_a_batch_leave_the_others_alone(served: Served) -> None:
    """One is cancelled while it runs; the others get their answers, and the process goes on."""
    before = served.executor._all.copy()
    tasks = [asyncio.create_task(served.batcher.run(picture(grey), timeout_seconds=LONG)) for grey in (10, 20, 30)]
    while not served.executor._sharing:  # noqa: ASYNC110 - until the process has been asked
        await asyncio.sleep(0)
    tasks[1].cancel()
    first, second, third = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(second, asyncio.CancelledError)
    assert value(first) != value(third)
    assert served.executor._all == before
