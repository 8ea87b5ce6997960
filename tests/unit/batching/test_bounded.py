"""A bounded queue: so many wait, the next one is told when to come back."""

import asyncio

import pytest

from bedside.batching.bounded import BoundedExecutor
from bedside.bundle.contract import Contract
from bedside.errors import Draining, QueueFull, RunFailed
from bedside.types import Prediction, ValidatedInputs

NOTHING = ValidatedInputs(())
CONTRACT = Contract("model", "1", "sha256:0", "", "", (), (), {})


class Inner:
    """An executor whose runs last until the test lets them go."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.error: Exception | None = None
        self.seconds = {"inference": 3.0, "queue": 1000.0}
        self.ready = True
        self.device = "cuda:1"
        self.concurrency = 8
        self.closed = 0

    async def load(self) -> Contract:
        """Load nothing."""
        return CONTRACT

    async def run(self, inputs: ValidatedInputs, *, timeout_seconds: float) -> Prediction:
        """Wait, then answer or fail."""
        await self.go.wait()
        if self.error:
            raise self.error
        return Prediction((), (), self.seconds)

    async def run_eager(self) -> str:
        """Tell what was left."""
        return "freeze"

    async def close(self) -> None:
        """Count."""
        self.closed += 1


@pytest.fixture
async def inner() -> Inner:
    """Return the executor inside."""
    return Inner()


def bounded(inner: Inner, *, slots: int = 1, queue_length: int = 1) -> BoundedExecutor:
    """Return the executor around it."""
    inner.concurrency = slots
    return BoundedExecutor(inner, queue_length=queue_length)


async def begin(executor: BoundedExecutor, count: int) -> list[asyncio.Task[Prediction]]:
    """Start so many runs."""
    tasks = [asyncio.create_task(executor.run(NOTHING, timeout_seconds=1.0)) for _ in range(count)]
    await asyncio.sleep(0)
    return tasks


async def test_what_fits_waits_and_what_does_not_is_told_at_once(inner: Inner) -> None:
    """One runs, one waits, the third gets QueueFull; when there is room again it is taken."""
    executor = bounded(inner)
    tasks = await begin(executor, 2)
    assert (executor.running, executor.waiting) == (1, 1)
    with pytest.raises(QueueFull):
        await executor.run(NOTHING, timeout_seconds=1.0)
    inner.go.set()
    await asyncio.gather(*tasks)
    assert (executor.running, executor.waiting) == (0, 0)
    await executor.run(NOTHING, timeout_seconds=1.0)


async def test_items_of_a_batch_run(inner: Inner) -> None:
    """How many share a run is known once the model is loaded: none of them is shown as one that waits."""
    executor = bounded(inner, slots=1, queue_length=1)
    inner.concurrency = 4
    tasks = await begin(executor, 5)
    assert (executor.running, executor.waiting) == (4, 1)
    with pytest.raises(QueueFull) as caught:
        await executor.run(NOTHING, timeout_seconds=1.0)
    assert caught.value.retry_after_seconds == 2
    inner.go.set()
    await asyncio.gather(*tasks)


async def test_retry_after_follows_how_long_runs_take(inner: Inner) -> None:
    """The mean of past runs, without their waiting, times those ahead, over the slots; whole seconds, at least one."""
    executor = bounded(inner, slots=2, queue_length=8)
    inner.go.set()
    for _ in range(60):
        await executor.run(NOTHING, timeout_seconds=1.0)
    inner.go.clear()
    tasks = await begin(executor, 10)
    with pytest.raises(QueueFull) as caught:
        await executor.run(NOTHING, timeout_seconds=1.0)
    assert caught.value.retry_after_seconds == 15
    inner.go.set()
    await asyncio.gather(*tasks)


async def test_retry_after_is_at_least_a_second(inner: Inner) -> None:
    """A fast model does not invite a stampede."""
    executor = bounded(inner, slots=1, queue_length=0)
    inner.seconds = {"inference": 0.001}
    inner.go.set()
    for _ in range(60):
        await executor.run(NOTHING, timeout_seconds=1.0)
    inner.go.clear()
    (task,) = await begin(executor, 1)
    with pytest.raises(QueueFull) as caught:
        await executor.run(NOTHING, timeout_seconds=1.0)
    assert caught.value.retry_after_seconds == 1
    task.cancel()


async def test_a_failed_run_gives_its_place_back(inner: Inner) -> None:
    """Errors do not fill the queue."""
    executor = bounded(inner)
    inner.error = RunFailed()
    inner.go.set()
    with pytest.raises(RunFailed):
        await executor.run(NOTHING, timeout_seconds=1.0)
    assert (executor.running, executor.waiting) == (0, 0)


async def test_a_cancelled_run_gives_its_place_back(inner: Inner) -> None:
    """Callers who go away do not fill the queue."""
    executor = bounded(inner)
    (task,) = await begin(executor, 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (executor.running, executor.waiting) == (0, 0)


async def test_closing_lets_accepted_work_finish(inner: Inner) -> None:
    """New items are turned away, the accepted one is answered, then the model ends."""
    executor = bounded(inner)
    (task,) = await begin(executor, 1)
    closing = asyncio.create_task(executor.close())
    await asyncio.sleep(0)
    with pytest.raises(Draining):
        await executor.run(NOTHING, timeout_seconds=1.0)
    assert (executor.ready, inner.closed) == (False, 0)
    inner.go.set()
    await closing
    assert (task.done(), inner.closed) == (True, 1)


async def test_closing_in_a_hurry_ends_the_model_all_the_same(inner: Inner) -> None:
    """Whoever cancels the wait gets a model that has ended."""
    executor = bounded(inner)
    (task,) = await begin(executor, 1)
    closing = asyncio.create_task(executor.close())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert inner.closed == 1
    task.cancel()


async def test_it_can_be_loaded_again_after_closing(inner: Inner) -> None:
    """Unloading is not for ever."""
    executor = bounded(inner)
    await executor.close()
    assert await executor.load() is CONTRACT
    assert executor.ready
    inner.go.set()
    await executor.run(NOTHING, timeout_seconds=1.0)


async def test_the_form_of_the_network_is_the_inner_ones(inner: Inner) -> None:
    """What is asked of the queue is done by what runs behind it."""
    assert await bounded(inner).run_eager() == "freeze"


async def test_readiness_and_device_are_those_of_the_model(inner: Inner) -> None:
    """The queue has none of its own."""
    executor = bounded(inner)
    assert (executor.ready, executor.device) == (True, "cuda:1")
    inner.ready = False
    assert not executor.ready
