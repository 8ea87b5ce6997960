"""Adaptive batching: what has come while a model was busy shares its next run, and costs nobody an answer."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedside.batching import adaptive
from bedside.batching.adaptive import AdaptiveBatcher
from bedside.bundle.contract import Contract
from bedside.errors import BedsideError, DeadlineExceeded, ModelFailure, ModelNotReady, RunFailed, WorkerCrashed
from bedside.interfaces import LISTENER
from bedside.types import DecodedArray, DecodedImage, DecodedValue, OutputArray, Prediction, ValidatedInputs

CONTRACT = Contract("model", "1", "sha256:0", "", "", (), (), {})
POISON, LETHAL = 666, 667
LONG = 60.0


def item(number: int, size: int = 4) -> ValidatedInputs:
    """Return an item that is known by its number."""
    return ValidatedInputs((DecodedArray("x", np.full(size, number)),))


def number_of(inputs: ValidatedInputs) -> int:
    """Return an item's number."""
    return int(inputs.items[0].values[0])  # type: ignore[union-attr]


def answer(inputs: ValidatedInputs) -> Prediction:
    """Return the answer to an item: its number."""
    return Prediction((OutputArray("x", np.array(number_of(inputs))),), (), {"inference": 0.25, "queue": 9.0})


def told(prediction: Prediction) -> int:
    """Return what was answered."""
    return int(prediction.arrays[0].array)


class Inner:
    """Runs batches that last until the test lets them go; a lethal item ends the run of all that share it."""

    def __init__(self, *, batch_size: int = 8, concurrency: int = 1) -> None:
        self.batch_size = batch_size
        self.concurrency = concurrency
        self.ready, self.device = True, "cuda:1"
        self.go = asyncio.Event()
        self.go.set()
        self.runs: list[list[int]] = []
        self.running = self.most_running = self.cancelled = 0
        self.timeouts: list[float] = []
        self.during: Callable[[Sequence[ValidatedInputs]], None] = lambda _items: None

    async def load(self) -> Contract:
        """Load nothing."""
        return CONTRACT

    async def run_eager(self) -> str:
        """Tell what was left."""
        return "freeze"

    async def close(self) -> None:
        """Turn everybody away."""
        self.ready = False

    async def run(self, inputs: ValidatedInputs, *, timeout_seconds: float) -> Prediction:
        """Run one."""
        (outcome,) = await self._run([inputs], timeout_seconds)
        if isinstance(outcome, ModelFailure):
            raise outcome
        return outcome

    async def run_batch(
        self, items: Sequence[ValidatedInputs], *, timeout_seconds: float
    ) -> list[Prediction | ModelFailure]:
        """Run several."""
        return await self._run(items, timeout_seconds)

    async def _run(self, items: Sequence[ValidatedInputs], timeout_seconds: float) -> list[Prediction | ModelFailure]:
        if not self.ready:
            raise ModelNotReady
        numbers = [number_of(inputs) for inputs in items]
        self.runs.append(numbers)
        self.timeouts.append(timeout_seconds)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            async with asyncio.timeout(timeout_seconds):
                await self.go.wait()
            self.during(items)
        except TimeoutError:
            raise DeadlineExceeded from None
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
        if LETHAL in numbers:
            raise WorkerCrashed
        return [RunFailed() if number_of(inputs) == POISON else answer(inputs) for inputs in items]


@pytest.fixture
async def inner() -> Inner:
    """Return the executor inside."""
    return Inner()


async def grown(inner: Inner, **options: Any) -> AdaptiveBatcher:
    """Return a batcher whose batches have grown to the inner one's size."""
    batcher = AdaptiveBatcher(inner, **{"budget_ms": 1e6, **options})
    for number in range(inner.batch_size * (inner.batch_size + 1) // 2):
        await batcher.run(item(number), timeout_seconds=LONG)
        await asyncio.gather(*(batcher.run(item(n), timeout_seconds=LONG) for n in range(inner.batch_size)))
    inner.runs.clear()
    return batcher


def begin(batcher: AdaptiveBatcher, *numbers: int) -> list[asyncio.Task[Prediction]]:
    """Start a run of each."""
    return [asyncio.create_task(batcher.run(item(number), timeout_seconds=LONG)) for number in numbers]


async def turns(count: int = 5) -> None:
    """Let the loop turn a few times."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_what_came_meanwhile_shares_the_next_run_in_order(inner: Inner) -> None:
    """Nobody waits for company; who came while the model was busy goes together, eight at a time, first come first."""
    batcher = await grown(inner)
    inner.go.clear()
    first = begin(batcher, 100)
    await turns()
    others = begin(batcher, *range(10))
    await turns()
    assert inner.runs == [[100]]
    inner.go.set()
    assert [told(one) for one in await asyncio.gather(*first, *others)] == [100, *range(10)]
    assert inner.runs == [[100], list(range(8)), [8, 9]]


async def test_each_run_is_told_with_its_size(inner: Inner) -> None:
    """Also one that is broken up, and the runs alone that follow it: each of them was made."""
    sizes: list[int] = []
    batcher = await grown(inner, on_run=sizes.append)
    sizes.clear()
    inner.go.clear()
    runs = begin(batcher, 100)
    await turns()
    runs += begin(batcher, 1, LETHAL, 3)
    await turns()
    inner.go.set()
    await asyncio.gather(*runs, return_exceptions=True)
    assert sizes == [1, 3, 1, 1, 1]


async def test_the_form_of_the_network_is_the_inner_ones(inner: Inner) -> None:
    """What is asked of the batcher is done by what runs the batches."""
    assert await AdaptiveBatcher(inner, budget_ms=50).run_eager() == "freeze"


async def test_where_items_run_alone_calls_go_straight_through() -> None:
    """Without batches the batcher keeps no queue of its own, and tells of no runs."""
    inner = Inner(batch_size=1)
    sizes: list[int] = []
    batcher = AdaptiveBatcher(inner, budget_ms=50, on_run=sizes.append)
    results = await asyncio.gather(*begin(batcher, 1, 2, 3))
    assert sizes == []
    assert [told(one) for one in results] == [1, 2, 3]
    assert inner.runs == [[1], [2], [3]]
    assert batcher.concurrency == 1


async def test_who_listens_runs_alone(inner: Inner) -> None:
    """Progress is told of one item; and a run that is shared knows nothing of any caller's context."""
    batcher, heard = await grown(inner), list[tuple[int, object]]()
    inner.during = lambda items: heard.append((len(items), LISTENER.get()))
    inner.go.clear()
    (busy,) = begin(batcher, 0)
    await turns()
    token = LISTENER.set(print)
    listening = begin(batcher, 1)
    LISTENER.reset(token)
    others = begin(batcher, 2, 3)
    await turns()
    inner.go.set()
    await asyncio.gather(busy, *listening, *others)
    assert set(heard) == {(1, None), (1, print), (2, None)}


async def test_it_is_as_ready_as_what_is_inside(inner: Inner) -> None:
    """Readiness and device are the inner one's; it can hold a batch for each run."""
    batcher = AdaptiveBatcher(inner, budget_ms=50)
    assert await batcher.load() is CONTRACT
    assert (batcher.ready, batcher.device, batcher.concurrency) == (True, "cuda:1", 8)
    await batcher.close()
    assert not batcher.ready


async def test_of_eight_only_the_poisoned_one_fails(inner: Inner) -> None:
    """Seven right answers, one error."""
    batcher = await grown(inner)
    results = await asyncio.gather(*begin(batcher, 1, 2, POISON, 4, 5, 6, 7, 8), return_exceptions=True)
    assert isinstance(results.pop(2), RunFailed)
    assert [told(one) for one in results if isinstance(one, Prediction)] == [1, 2, 4, 5, 6, 7, 8]
    assert len(inner.runs) == 1


async def test_after_a_crash_each_runs_alone_and_only_the_culprit_fails(inner: Inner) -> None:
    """Nobody knows which of a batch ended the process; batches of that size class rest for a while."""
    batcher = await grown(inner)
    results = await asyncio.gather(*begin(batcher, LETHAL, 2, 3), return_exceptions=True)
    assert isinstance(results.pop(0), WorkerCrashed)
    assert [told(one) for one in results if isinstance(one, Prediction)] == [2, 3]
    assert inner.runs == [[LETHAL, 2, 3], [LETHAL], [2], [3]]
    inner.runs.clear()
    await asyncio.gather(*begin(batcher, 4, 5))
    assert inner.runs == [[4], [5]]
    for number in range(adaptive._REST):
        await batcher.run(item(number), timeout_seconds=LONG)
    inner.runs.clear()
    await asyncio.gather(*begin(batcher, 4, 5))
    assert inner.runs == [[4, 5]]


async def test_a_batch_that_does_not_end_is_broken_up(inner: Inner, monkeypatch: pytest.MonkeyPatch) -> None:
    """One item that hangs does not take the others' time: they run again, alone."""
    monkeypatch.setattr(adaptive, "_STUCK_SECONDS", 0.01)
    batcher = await grown(inner)
    batcher._budget = 0.0
    inner.go.clear()
    tasks = begin(batcher, 1, 2)
    async with asyncio.timeout(LONG):
        while len(inner.runs) < 2:  # noqa: ASYNC110 - the loop's clock decides
            await asyncio.sleep(0)
    assert inner.runs == [[1, 2], [1]]
    inner.go.set()
    assert [told(one) for one in await asyncio.gather(*tasks)] == [1, 2]


async def test_who_has_gone_before_is_left_out(inner: Inner) -> None:
    """A caller who hangs up while waiting is not run, and the others do not notice."""
    batcher = await grown(inner)
    inner.go.clear()
    first, second, third, fourth = begin(batcher, 1, 2, 3, 4)
    busy = inner.runs  # the first four share a run
    await turns()
    waiting = begin(batcher, 5, 6, 7)
    await turns()
    waiting[1].cancel()
    inner.go.set()
    results = await asyncio.gather(first, second, third, fourth, *waiting, return_exceptions=True)
    assert busy == [[1, 2, 3, 4], [5, 7]]
    assert isinstance(results.pop(5), asyncio.CancelledError)
    assert [told(one) for one in results if isinstance(one, Prediction)] == [1, 2, 3, 4, 5, 7]


async def test_who_goes_during_a_run_takes_nobody_along(inner: Inner) -> None:
    """A run goes on while one caller waits for it, and is stopped when none does: that frees the device."""
    batcher = await grown(inner)
    inner.go.clear()
    first, second = begin(batcher, 1, 2)
    await turns()
    first.cancel()
    await turns()
    assert inner.cancelled == 0
    second.cancel()
    await turns()
    assert (inner.cancelled, inner.running) == (1, 0)
    inner.go.set()
    assert told(await batcher.run(item(3), timeout_seconds=LONG)) == 3


async def test_a_run_whose_caller_goes_before_it_begins_gives_its_place_back(inner: Inner) -> None:
    """A task that is cancelled before its first step never runs; its slot is free all the same."""
    batcher = AdaptiveBatcher(inner, budget_ms=50)
    (task,) = begin(batcher, 1)
    await asyncio.sleep(0)  # it has joined the queue
    batcher._dispatch()
    task.cancel()
    await turns()
    assert not batcher._runs
    assert told(await batcher.run(item(2), timeout_seconds=LONG)) == 2


async def test_one_deadline_in_a_batch_is_nobody_elses(inner: Inner) -> None:
    """Who is out of time is told so; who has more gets the answer."""
    batcher = await grown(inner)
    inner.go.clear()
    hasty = asyncio.create_task(batcher.run(item(1), timeout_seconds=0.3))
    (patient,) = begin(batcher, 2)
    with pytest.raises(DeadlineExceeded):
        await hasty
    inner.go.set()
    assert told(await patient) == 2
    assert inner.runs == [[1, 2]]


async def test_who_is_out_of_time_while_waiting_is_not_run(inner: Inner) -> None:
    """Its place in the queue is given back at once."""
    batcher = AdaptiveBatcher(inner, budget_ms=50)
    inner.go.clear()
    (first,) = begin(batcher, 1)
    await turns()
    with pytest.raises(DeadlineExceeded):
        await batcher.run(item(2), timeout_seconds=0.0)
    assert not batcher._queue
    inner.go.set()
    await first
    await turns()
    assert inner.runs == [[1]]


async def test_items_of_other_sizes_do_not_share(inner: Inner) -> None:
    """Nobody waits for another's slide; the oldest always goes first."""
    batcher = await grown(inner)
    inner.go.clear()
    (busy,) = begin(batcher, 0)
    await turns()
    sizes = (4, 4000, 4, 5000, 7)
    tasks = [
        asyncio.create_task(batcher.run(item(number, size), timeout_seconds=LONG)) for number, size in enumerate(sizes)
    ]
    await turns()
    inner.go.set()
    await asyncio.gather(busy, *tasks)
    assert inner.runs == [[0], [0, 2, 4], [1], [3]]


async def test_batches_grow_one_by_one_and_shrink_by_halves(inner: Inner) -> None:
    """They keep to the budget: what sharing adds to one item's time."""
    batcher = await grown(inner)
    (size_class,) = batcher._limits
    assert batcher._limits[size_class] >= inner.batch_size
    batcher._budget = 0.0
    await asyncio.gather(*begin(batcher, *range(8)))
    assert batcher._limits[size_class] == 4
    await asyncio.gather(*begin(batcher, *range(8)))
    assert batcher._limits[size_class] == 1
    await batcher.load()
    assert not batcher._limits


async def test_two_processes_have_a_batch_each() -> None:
    """There are as many runs at one time as the inner one can have, and no more."""
    inner = Inner(concurrency=2)
    batcher = await grown(inner)
    inner.go.clear()
    tasks = begin(batcher, *range(20))
    await turns()
    assert inner.runs == [list(range(8)), list(range(8, 16))]
    inner.go.set()
    await asyncio.gather(*tasks)
    assert inner.most_running == 2


async def test_the_seconds_of_a_stage_add_up(inner: Inner) -> None:
    """What a caller waited beside its own share of the work is the queue's."""
    inner.during = lambda _items: None
    prediction = await AdaptiveBatcher(inner, budget_ms=50).run(item(1), timeout_seconds=LONG)
    assert prediction.seconds == {"inference": 0.25, "queue": 0.0}


async def test_a_fault_of_our_own_lets_nobody_wait(inner: Inner) -> None:
    """Whatever is raised inside, each caller is answered, and the next run can begin."""

    def fault(_items: Sequence[ValidatedInputs]) -> None:
        raise ZeroDivisionError

    batcher = await grown(inner)
    inner.during = fault
    for result in await asyncio.gather(*begin(batcher, 1, 2), return_exceptions=True):
        assert isinstance(result, RunFailed)
        assert result.cause == "ZeroDivisionError"
    inner.during = lambda _items: None
    assert told(await batcher.run(item(3), timeout_seconds=LONG)) == 3


async def test_a_model_that_is_closed_turns_everybody_away(inner: Inner) -> None:
    """A batch that finds no process is told so, item by item."""
    batcher = await grown(inner)
    await batcher.close()
    for result in await asyncio.gather(*begin(batcher, 1, 2), return_exceptions=True):
        assert isinstance(result, ModelNotReady)


def test_the_size_class_counts_the_numbers_of_all_inputs() -> None:
    """Pixels of images and elements of arrays; a JSON value weighs nothing."""
    image = DecodedImage("image", b"", ".png", (30, 20, 3), 2, 3, "uint8")
    inputs = ValidatedInputs((image, DecodedArray("x", np.zeros(248)), DecodedValue("points", [[1, 2]])))
    assert adaptive._size_class(inputs) == (30 * 20 * 3 + 248).bit_length()


_STEP = st.one_of(
    st.tuples(st.just("arrive"), st.sampled_from([1, 1, 1, 1, 1, POISON, LETHAL]), st.sampled_from([0.0, LONG, LONG])),
    st.tuples(st.just("cancel"), st.integers(0, 30), st.just(0.0)),
    st.tuples(st.just("hold"), st.just(0), st.just(0.0)),
    st.tuples(st.just("let go"), st.just(0), st.just(0.0)),
    st.tuples(st.just("turn"), st.integers(1, 6), st.just(0.0)),
)


@given(steps=st.lists(_STEP, max_size=60), concurrency=st.integers(1, 3), size=st.integers(2, 8))
def test_however_they_come_and_go_each_gets_its_own_answer(
    steps: list[tuple[str, int, float]], concurrency: int, size: int
) -> None:
    """Under any interleaving of arrivals, cancellations and deadlines: a right answer, or an error of one's own."""
    asyncio.run(_play(steps, Inner(batch_size=size, concurrency=concurrency)))


async def _play(steps: list[tuple[str, int, float]], inner: Inner) -> None:
    batcher = AdaptiveBatcher(inner, budget_ms=1e6)
    callers: list[tuple[int, float, asyncio.Task[Prediction]]] = []
    for what, number, timeout in steps:
        if what == "arrive":
            mine = number if number >= POISON else len(callers)
            call = batcher.run(item(mine), timeout_seconds=timeout)
            callers.append((mine, timeout, asyncio.create_task(call)))
        elif what == "cancel" and callers:
            callers[number % len(callers)][2].cancel()
        elif what in ("hold", "let go"):
            (inner.go.clear if what == "hold" else inner.go.set)()
        elif what == "turn":
            await turns(number)
    inner.go.set()
    results = await asyncio.gather(*(task for *_, task in callers), return_exceptions=True)
    for (number, timeout, task), result in zip(callers, results, strict=True):
        if task.cancelled():
            continue
        if timeout == 0.0 and isinstance(result, DeadlineExceeded):
            continue
        if number in (POISON, LETHAL):
            assert isinstance(result, RunFailed if number == POISON else WorkerCrashed)
        else:
            assert not isinstance(result, BedsideError)
            assert told(result) == number  # type: ignore[arg-type]
    await turns()
    assert not batcher._queue
    assert not batcher._runs
    assert inner.most_running <= inner.concurrency
    assert all(len(run) <= inner.batch_size for run in inner.runs)
