"""Adaptive batching: what has come while a model was busy shares its next run, and nobody waits for company.

A batch must not cost anybody an answer. Items are validated before they come here; whoever has gone or is out of time
is left out; what the model raises is told to the item that raised it (the executor bisects); and where a run as a whole
fails, or does not end, each of its items runs again, alone. Items of one batch are of about one size, so that nobody
waits for another's slide, and its size follows what batches of that size class took.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from itertools import islice
from math import prod

from bedside.bundle.contract import Contract
from bedside.errors import BedsideError, DeadlineExceeded, RunFailed
from bedside.interfaces import LISTENER, BatchExecutor
from bedside.types import DecodedArray, DecodedImage, DecodedRecord, Prediction, ValidatedInputs

_STUCK_SECONDS = 5.0
_STUCK_BUDGETS = 10
"""A batch that takes so much longer than its budget is stuck, and is broken up."""

_REST = 64
"""Runs alone, of a size class, after a batch of it had to be broken up."""


def _tell_nobody(_size: int) -> None:
    pass


@dataclass(slots=True, eq=False)
class _Waiting:
    """One item, from its arrival to its answer; ``deadline`` and ``arrived`` in seconds of the event loop's clock."""

    inputs: ValidatedInputs
    size_class: int
    arrived: float
    deadline: float
    answer: "asyncio.Future[Prediction]"
    alone: bool = False
    run: "_Run | None" = None


@dataclass(slots=True, eq=False)
class _Run:
    """Items that share a run."""

    members: Sequence[_Waiting]
    task: "asyncio.Task[None] | None" = None

    def forsaken(self) -> bool:
        """Tell whether nobody waits for it any more."""
        return all(member.answer.done() for member in self.members)


class AdaptiveBatcher:
    """Implements ``interfaces.Executor`` around one that can run items together.

    Args:
        inner: runs batches; where its ``batch_size`` is 1, calls go straight through.
        budget_ms: milliseconds that sharing a run may add to the time of an item.
        on_run: told of each run of a model that can share, how many items it has.
    """

    def __init__(self, inner: BatchExecutor, *, budget_ms: float, on_run: Callable[[int], None] = _tell_nobody) -> None:
        self._inner = inner
        self._on_run = on_run
        self._budget = budget_ms / 1e3
        self._queue: list[_Waiting] = []
        self._limits: dict[int, int] = defaultdict(lambda: 1)
        self._runs: set[_Run] = set()
        self._woken = False

    @property
    def ready(self) -> bool:
        """Tell whether the model would answer now."""
        return self._inner.ready

    @property
    def device(self) -> str:
        """Return the device that the model runs on."""
        return self._inner.device

    @property
    def concurrency(self) -> int:
        """Return how many items can run at one time."""
        return self._inner.concurrency * self._inner.batch_size

    async def load(self) -> Contract:
        """Load the model. Raises BundleError."""
        self._limits.clear()
        return await self._inner.load()

    async def run_eager(self) -> str:
        """Have the network run as PyTorch runs it; see ``interfaces.Executor.run_eager``."""
        return await self._inner.run_eager()

    async def close(self) -> None:
        """End the model. Whoever calls this has let accepted work finish; what is left is told that it is not ready."""
        await self._inner.close()

    async def run(self, inputs: ValidatedInputs, *, timeout_seconds: float) -> Prediction:
        """Run one item, alone or with others; see ``interfaces.Executor.run``."""
        if self._inner.batch_size < 2 or LISTENER.get() is not None:  # a run's progress is that of one item
            return await self._inner.run(inputs, timeout_seconds=timeout_seconds)
        loop = asyncio.get_running_loop()
        now = loop.time()
        one = _Waiting(inputs, _size_class(inputs), now, now + timeout_seconds, loop.create_future())
        self._queue.append(one)
        self._wake()
        try:
            async with asyncio.timeout(timeout_seconds):
                prediction = await one.answer
        except TimeoutError:
            raise DeadlineExceeded from None
        finally:
            self._leave(one)
        spent = sum(prediction.seconds.values()) - prediction.seconds.get("queue", 0.0)
        return prediction._replace(seconds={**prediction.seconds, "queue": max(0.0, loop.time() - now - spent)})

    def _leave(self, one: _Waiting) -> None:
        """Forget an item that has its answer, or whose caller does not want it any more."""
        one.answer.cancel()
        if one in self._queue:
            self._queue.remove(one)
        if one.run is not None and one.run.task is not None and one.run.forsaken():
            one.run.task.cancel()

    def _wake(self) -> None:
        # Once the loop has heard everybody who came in this turn.
        if not self._woken:
            self._woken = True
            # In a context of nobody's: what the first caller has in its own must not be told of the others.
            asyncio.get_running_loop().call_soon(self._dispatch, context=Context())

    def _dispatch(self) -> None:
        self._woken = False
        now = asyncio.get_running_loop().time()
        # Whoever has gone or is out of time hears so from its own timer; nobody else notices.
        self._queue = [one for one in self._queue if not one.answer.done() and one.deadline > now]
        while self._queue and len(self._runs) < self._inner.concurrency:
            run = _Run(self._next())
            for member in run.members:
                member.run = run
            self._runs.add(run)
            self._on_run(len(run.members))
            run.task = asyncio.ensure_future(self._serve(run))
            run.task.add_done_callback(partial(self._done, run))  # also where it never began

    def _done(self, run: _Run, _task: "asyncio.Task[None]") -> None:
        self._runs.discard(run)
        self._wake()

    def _next(self) -> list[_Waiting]:
        """Take the oldest item out of the queue, and those that may go with it, in the order in which they came."""
        first = self._queue[0]
        if first.alone:
            members = [first]
        else:
            like = (one for one in self._queue if one.size_class == first.size_class and not one.alone)
            members = list(islice(like, max(1, min(self._limits[first.size_class], self._inner.batch_size))))
        self._queue = [one for one in self._queue if one not in members]
        return members

    async def _serve(self, run: _Run) -> None:
        begin = asyncio.get_running_loop().time()
        try:
            await (self._one if len(run.members) == 1 else self._several)(run.members)
        except Exception as error:  # noqa: BLE001 - a fault of ours: nobody must wait for ever
            for member in run.members:
                _fail(member, RunFailed(cause=type(error).__name__))
        else:
            self._adapt(run.members, asyncio.get_running_loop().time() - begin)

    async def _one(self, members: Sequence[_Waiting]) -> None:
        (member,) = members
        left = member.deadline - asyncio.get_running_loop().time()
        try:
            _answer(member, await self._inner.run(member.inputs, timeout_seconds=left))
        except BedsideError as error:
            _fail(member, error)

    async def _several(self, members: Sequence[_Waiting]) -> None:
        latest = max(member.deadline for member in members) - asyncio.get_running_loop().time()
        stuck = _STUCK_SECONDS + _STUCK_BUDGETS * self._budget
        try:
            outcomes = await self._inner.run_batch(
                [member.inputs for member in members], timeout_seconds=min(latest, stuck)
            )
        except BedsideError:
            self._break_up(members)
            return
        for member, outcome in zip(members, outcomes, strict=True):
            if isinstance(outcome, Prediction):
                _answer(member, outcome)
            else:
                _fail(member, outcome)

    def _break_up(self, members: Sequence[_Waiting]) -> None:
        """Have those who still wait run again, alone and first: one of them is to blame, and nobody knows which."""
        again = [member for member in members if not member.answer.done()]
        for member in again:
            member.alone, member.run = True, None
        self._queue[:0] = again
        self._limits[members[0].size_class] = -_REST

    def _adapt(self, members: Sequence[_Waiting], seconds: float) -> None:
        """Let batches of a size class grow by one while they keep to the budget, and halve them when they do not.

        So does TCP with its window, and Clipper with its batches (Crankshaw et al., NSDI 2017, §4.3.1).
        """
        size, limit = len(members), self._limits[members[0].size_class]
        if seconds * (size - 1) / size > self._budget:
            self._limits[members[0].size_class] = min(limit, size // 2)
        elif size >= limit and (seconds <= self._budget or limit < 1):
            self._limits[members[0].size_class] = limit + 1


def _answer(member: _Waiting, prediction: Prediction) -> None:
    if not member.answer.done():
        member.answer.set_result(prediction)


def _fail(member: _Waiting, error: BedsideError) -> None:
    if not member.answer.done():
        member.answer.set_exception(error)


def _size_class(inputs: ValidatedInputs) -> int:
    """Return the power of two that the numbers of an item come up to."""
    return sum(map(_numbers, inputs.items)).bit_length()


def _numbers(item: object) -> int:
    if isinstance(item, DecodedImage):
        return prod(item.shape)
    return int(item.values.size) if isinstance(item, DecodedArray | DecodedRecord) else 0
