"""Runs a bundle in processes of its own.

A crash, a leak, a hang or an ``os._exit`` in a bundle fails the request that met it, with an answer, and nothing else:
the process is started again, with a growing pause when it keeps crashing.
"""

import asyncio
import random
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from math import ceil
from time import perf_counter
from typing import Any

from bedside.bundle.contract import Contract
from bedside.bundle.folder import BundleFolder
from bedside.errors import (
    BedsideError,
    DeadlineExceeded,
    ModelFailure,
    ModelNotReady,
    WorkerCrashed,
)
from bedside.runtime.assembly import assemble
from bedside.runtime.facts import EAGER, Acceleration, Batches, LoadedFacts
from bedside.runtime.memory import MemoryBudget, MemoryNeed, memory_limit
from bedside.runtime.model_process import ModelProcess
from bedside.runtime.staging import StagedFiles, Staging
from bedside.settings import RuntimeSettings
from bedside.types import DecodedImage, Prediction, ValidatedInputs

_IN_THREAD_BYTES = 1 << 20
_WATCH_SECONDS = 1.0
_MOST_DOUBLINGS = 30


class ProcessEvents:
    """What happens to model processes, for the log, the metrics, the repository; this one tells nobody."""

    def started(self, folder: BundleFolder, facts: LoadedFacts) -> None:
        """Tell that a process holds the loaded bundle."""

    def crashed(self, folder: BundleFolder, exit_code: int | None) -> None:
        """Tell that a process ended by itself, or had to be ended because it no longer answered."""

    def gave_up(self, folder: BundleFolder, reason: str) -> None:
        """Tell that no process could be started ``runtime.restart_limit`` times in a row; only a load tries again."""


class ProcessExecutor:
    """Stages 6 and 7 for one bundle in ``runtime.workers`` processes. Implements ``interfaces.BatchExecutor``.

    Args:
        folder: the bundle.
        settings: how to run it.
        staging: where its processes get their folders.
        events: told what happens to the processes.
        budget: the memory of all models of the server; none where one bundle is only tried.
    """

    def __init__(
        self,
        folder: BundleFolder,
        settings: RuntimeSettings,
        staging: Staging,
        events: ProcessEvents | None = None,
        budget: MemoryBudget | None = None,
    ) -> None:
        self._folder = folder
        self._budget = budget or MemoryBudget(memory_limit(settings.memory_limit_mib))
        self._settings = settings.model_copy(update={"memory_limit_mib": self._budget.limit_mib})
        self._staging = staging
        self._events = events or ProcessEvents()
        self._idle: asyncio.Queue[ModelProcess | None] = asyncio.Queue()  # None: closed, and nobody need wait
        self._all: set[ModelProcess] = set()
        self._background: set[asyncio.Task[None]] = set()
        self._sharing: set[ModelProcess] = set()  # they run a batch
        self._device = ""
        self._batches = Batches()
        self._acceleration = Acceleration()
        self._crashes = 0
        self._failed_starts = 0
        self._memory: MemoryNeed | None = None
        self._layers: tuple[str, ...] = ()
        self._replacing = 0
        self._loaded = False
        self._closed = False

    @property
    def ready(self) -> bool:
        """Tell whether at least one process holds the loaded model, or one that was ended on purpose is being replaced.

        A caller who hangs up must not take the server out of a balancer's rotation.
        """
        return (bool(self._all) or self._replacing > 0) and not self._closed

    @property
    def device(self) -> str:
        """Return the device that the model's process chose."""
        return self._device

    @property
    def layers(self) -> tuple[str, ...]:
        """Return what confines the model's processes (``sandbox.LAYERS``)."""
        return self._layers

    @property
    def concurrency(self) -> int:
        """Return how many runs there can be at one time."""
        return self._settings.workers

    @property
    def batches(self) -> Batches:
        """Return how items may share a run."""
        return self._batches

    @property
    def acceleration(self) -> Acceleration:
        """Return how the network runs."""
        return self._acceleration

    @property
    def batch_size(self) -> int:
        """Return how many items may share a run."""
        return self._batches.size

    @property
    def memory(self) -> MemoryNeed | None:
        """Return what the model was seen to need; None where that is not known."""
        return self._memory

    async def load(self) -> Contract:
        """Start the processes; the contract comes from the first one's forward pass. Raises LoadFailed."""
        self._closed = False
        self._crashes = self._failed_starts = self._replacing = 0
        self._idle = asyncio.Queue()
        processes = [self._new_process() for _ in range(self._settings.workers)]
        started = await asyncio.gather(*(process.start() for process in processes), return_exceptions=True)
        facts = [result for result in started if isinstance(result, LoadedFacts)]
        for result in started:
            if isinstance(result, BaseException):
                await asyncio.gather(*(process.kill() for process in processes))
                raise result
        for process in processes:
            self._add(process)
            self._events.started(self._folder, facts[0])
        self._device, self._layers, self._memory = facts[0].device, facts[0].layers, facts[0].memory
        self._acceleration = facts[0].acceleration
        self._batches = replace(facts[0].batches, size=min(facts[0].batches.size, self._settings.batch_size))
        if self._memory is not None:
            self._budget.settle(self, self._memory.resident * len(processes))
        self._loaded = True
        self._in_background(self._watch())
        return assemble(self._folder, facts[0])

    async def run_eager(self) -> str:
        """Start the processes again without acceleration; see ``interfaces.Executor.run_eager``."""
        left = "" if self._acceleration.name == EAGER else self._acceleration.name
        if left:
            await self.close()
            self._settings = self._settings.model_copy(update={"acceleration": "off"})
            await self.load()
        return left

    async def run(self, inputs: ValidatedInputs, *, timeout_seconds: float) -> Prediction:
        """Run one item; see ``interfaces.Executor.run``."""
        (outcome,) = await self.run_batch([inputs], timeout_seconds=timeout_seconds)
        if isinstance(outcome, ModelFailure):
            raise outcome
        return outcome

    async def run_batch(
        self, items: Sequence[ValidatedInputs], *, timeout_seconds: float
    ) -> list[Prediction | ModelFailure]:
        """Run items together; see ``interfaces.BatchExecutor.run_batch``."""
        if not self._loaded or self._closed or (not self._all and self._crashes > 1):
            # One restart is waited for, within the caller's time; a process that keeps ending is not.
            raise self._not_ready()
        amount = sum(self._forecast(inputs) for inputs in items)
        if len(items) > 1 and amount > self._budget.capacity:
            half, timeout = len(items) // 2, timeout_seconds / 2
            parts = [await self.run_batch(part, timeout_seconds=timeout) for part in (items[:half], items[half:])]
            return [outcome for part in parts for outcome in part]
        try:
            async with asyncio.timeout(timeout_seconds):
                begin = perf_counter()
                process = await self._take()
                await self._reserve(process, amount)
                waited = {"queue": perf_counter() - begin}
                outcomes = await self._attempt(process, items, amount)
        except TimeoutError:
            raise DeadlineExceeded from None
        return [
            outcome._replace(seconds={**outcome.seconds, **waited}) if isinstance(outcome, Prediction) else outcome
            for outcome in outcomes
        ]

    async def close(self) -> None:
        """End the processes. Whoever calls this has let accepted work finish."""
        self._closed = True
        self._budget.settle(self, 0)
        background = list(self._background)
        for task in background:
            task.cancel()
        processes, self._all = self._all, set()
        await asyncio.gather(*(process.kill() for process in processes), *background, return_exceptions=True)
        self._idle.put_nowait(None)

    async def _take(self) -> ModelProcess:
        while True:
            process = await self._idle.get()
            if process is None:
                self._idle.put_nowait(None)
                raise self._not_ready()
            if process in self._all:  # else it ended while it was idle, and its successor is on the way
                return process

    async def _reserve(self, process: ModelProcess, amount: int) -> None:
        try:
            await self._budget.reserve(amount)
        except asyncio.CancelledError:
            self._idle.put_nowait(process)  # it has not been asked
            raise

    def _forecast(self, inputs: ValidatedInputs) -> int:
        """Return the bytes that an item is forecast to take. Raises MemoryLimitExceeded."""
        if self._memory is None:
            return 0
        return self._budget.check(self._memory, inputs, self._settings.memory_safety_factor)

    async def _attempt(
        self, process: ModelProcess, items: Sequence[ValidatedInputs], amount: int
    ) -> list[Prediction | ModelFailure]:
        running = asyncio.ensure_future(self._staged_run(process, items))
        running.add_done_callback(lambda _running: self._budget.release(amount))
        running.add_done_callback(_seen)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            # Out of time, or the caller has gone: nobody waits for the answer any more.
            if not running.done():
                self._in_background(self._outlast(process, running))
            raise

    async def _outlast(self, process: ModelProcess, running: "asyncio.Future[Any]") -> None:
        """Let a run that nobody waits for finish if it soon does; else end its process, which frees the device."""
        await asyncio.wait([running], timeout=self._settings.stop_grace_seconds)
        if not running.done():
            running.cancel()
            await asyncio.wait([running])
            self._replace(process)

    async def _staged_run(
        self, process: ModelProcess, items: Sequence[ValidatedInputs]
    ) -> list[Prediction | ModelFailure]:
        staged: list[StagedFiles] = []
        try:
            try:
                for inputs in items:
                    staged.append(await self._staged(process, inputs))  # noqa: PERF401 - kept also when one fails
            except Exception:  # whatever it was, the process has not been asked yet
                self._idle.put_nowait(process)
                raise
            if len(items) > 1:
                self._sharing.add(process)
            outcomes = await process.run([(files.paths, inputs) for files, inputs in zip(staged, items, strict=True)])
        except WorkerCrashed:
            self._ended(process)
            raise
        finally:
            self._sharing.discard(process)
            for files in staged:
                files.remove()
        self._crashes = 0
        self._idle.put_nowait(process)
        return outcomes

    async def _staged(self, process: ModelProcess, inputs: ValidatedInputs) -> StagedFiles:
        if sum(len(item.payload) for item in inputs.items if isinstance(item, DecodedImage)) <= _IN_THREAD_BYTES:
            return self._staging.put(inputs, process.inputs)
        # In a thread, so that the event loop goes on answering. A thread cannot be stopped: what it writes for a caller
        # who has gone is removed when it is done.
        putting = asyncio.ensure_future(asyncio.to_thread(self._staging.put, inputs, process.inputs))
        try:
            return await asyncio.shield(putting)
        except asyncio.CancelledError:
            putting.add_done_callback(_remove_staged)
            raise

    def _new_process(self) -> ModelProcess:
        return ModelProcess(self._folder, self._settings, self._staging.folder(), self._ended)

    def _add(self, process: ModelProcess) -> None:
        self._all.add(process)
        self._idle.put_nowait(process)

    def _ended(self, process: ModelProcess) -> None:
        if process in self._all:
            # One of a batch is to blame, and nobody knows which: the others must not meet a pause on its account.
            self._crashes += process not in self._sharing
            self._replace(process, crashed=True)

    def _replace(self, process: ModelProcess, *, crashed: bool = False) -> None:
        if process not in self._all:  # close() has ended it
            return
        self._all.discard(process)
        self._replacing += not crashed
        self._in_background(self._restart(process, crashed=crashed))

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _restart(self, process: ModelProcess, *, crashed: bool) -> None:
        code = await process.kill()
        if crashed:
            self._events.crashed(self._folder, code)
        while not self._closed:
            await asyncio.sleep(self._pause() * random.uniform(0.5, 1.0))  # noqa: S311 - no secret: no two at once
            try:
                successor = self._new_process()
                facts = await successor.start()
            except Exception as error:  # noqa: BLE001 - whatever hinders it (no memory, no room) may pass
                self._crashes += 1
                self._failed_starts += 1
                self._replacing = 0  # no longer on purpose
                if self._failed_starts >= self._settings.restart_limit and not self._all:
                    self._give_up(error)
                    return
            else:
                self._failed_starts = 0
                self._add(successor)
                self._replacing = max(self._replacing - (not crashed), 0)
                self._events.started(self._folder, facts)
                return

    def _pause(self) -> float:
        if self._crashes <= 1:  # the first crash is forgiven at once
            return 0.0
        pause = self._settings.restart_backoff_seconds * 2.0 ** min(self._crashes - 2, _MOST_DOUBLINGS)
        return min(pause, self._settings.restart_backoff_max_seconds)

    def _not_ready(self) -> ModelNotReady:
        error = ModelNotReady()
        error.retry_after_seconds = max(error.retry_after_seconds, ceil(self._pause()))
        return error

    def _give_up(self, error: Exception) -> None:
        self._loaded = False
        self._idle.put_nowait(None)  # whoever waits need not
        why = error.detail if isinstance(error, BedsideError) else type(error).__name__
        self._events.gave_up(self._folder, f"{self._failed_starts} starts in a row failed, the last one: {why}")

    async def _watch(self) -> None:
        """End processes that somebody has stopped: they neither answer nor end, and the next caller would wait."""
        suspects: set[ModelProcess] = set()
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            stopped = {process for process in self._all if process.stopped()}
            for process in stopped & suspects:
                self._ended(process)
            suspects = stopped


def _seen(running: "asyncio.Future[Any]") -> None:
    # What a run raises has been dealt with where it was raised, also when nobody waits for it any more.
    if not running.cancelled():
        running.exception()


def _remove_staged(putting: "asyncio.Future[StagedFiles]") -> None:
    if not putting.cancelled() and putting.exception() is None:
        putting.result().remove()
