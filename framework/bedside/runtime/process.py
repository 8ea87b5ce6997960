"""Runs a bundle in processes of its own.

A crash, a leak, a hang or an ``os._exit`` in a bundle fails the request that met it, with an answer, and nothing else:
the process is started again, with a growing pause when it keeps crashing.
"""

import asyncio
import random
from collections.abc import Coroutine
from math import ceil
from time import perf_counter
from typing import Any

from bedside.bundle.contract import Contract
from bedside.bundle.folder import BundleFolder
from bedside.errors import (
    BedsideError,
    DeadlineExceeded,
    InputNotProcessable,
    ModelNotReady,
    ModelOutOfMemory,
    RunFailed,
    WorkerCrashed,
)
from bedside.runtime.assembly import assemble
from bedside.runtime.facts import LoadedFacts
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
    """Stages 6 and 7 for one bundle in ``runtime.workers`` processes. Implements ``interfaces.Executor``.

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
        self._device = ""
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
        if self._memory is not None:
            self._budget.settle(self, self._memory.resident * len(processes))
        self._loaded = True
        self._in_background(self._watch())
        return assemble(self._folder, facts[0])

    async def run(self, inputs: ValidatedInputs, *, timeout_seconds: float) -> Prediction:
        """Run one item; see ``interfaces.Executor.run``."""
        if not self._loaded or self._closed or (not self._all and self._crashes > 1):
            # One restart is waited for, within the caller's time; a process that keeps ending is not.
            raise self._not_ready()
        amount = (
            0 if self._memory is None else self._budget.check(self._memory, inputs, self._settings.memory_safety_factor)
        )
        try:
            async with asyncio.timeout(timeout_seconds):
                begin = perf_counter()
                process = await self._take()
                await self._reserve(process, amount)
                waited = perf_counter() - begin
                prediction = await self._attempt(process, inputs, amount)
        except TimeoutError:
            raise DeadlineExceeded from None
        return Prediction(prediction.arrays, prediction.files, {**prediction.seconds, "queue": waited})

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

    async def _attempt(self, process: ModelProcess, inputs: ValidatedInputs, amount: int) -> Prediction:
        running = asyncio.ensure_future(self._staged_run(process, inputs))
        running.add_done_callback(lambda _running: self._budget.release(amount))
        running.add_done_callback(_seen)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            # Out of time, or the caller has gone: nobody waits for the answer any more.
            if not running.done():
                self._in_background(self._outlast(process, running))
            raise

    async def _outlast(self, process: ModelProcess, running: "asyncio.Future[Prediction]") -> None:
        """Let a run that nobody waits for finish if it soon does; else end its process, which frees the device."""
        await asyncio.wait([running], timeout=self._settings.stop_grace_seconds)
        if not running.done():
            running.cancel()
            await asyncio.wait([running])
            self._replace(process)

    async def _staged_run(self, process: ModelProcess, inputs: ValidatedInputs) -> Prediction:
        size = sum(len(item.payload) for item in inputs.items if isinstance(item, DecodedImage))
        try:
            staged = await self._staged(size, process, inputs)
        except Exception:  # whatever it was, the process has not been asked yet
            self._idle.put_nowait(process)
            raise
        try:
            prediction = await process.run(staged.paths, inputs)
        except (InputNotProcessable, RunFailed, ModelOutOfMemory):
            self._idle.put_nowait(process)
            raise
        except WorkerCrashed:
            self._ended(process)
            raise
        finally:
            staged.remove()
        self._crashes = 0
        self._idle.put_nowait(process)
        return prediction

    async def _staged(self, size: int, process: ModelProcess, inputs: ValidatedInputs) -> StagedFiles:
        if size <= _IN_THREAD_BYTES:
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
            self._crashes += 1
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


def _seen(running: "asyncio.Future[Prediction]") -> None:
    # What a run raises has been dealt with where it was raised, also when nobody waits for it any more.
    if not running.cancelled():
        running.exception()


def _remove_staged(putting: "asyncio.Future[StagedFiles]") -> None:
    if not putting.cancelled() and putting.exception() is None:
        putting.result().remove()
