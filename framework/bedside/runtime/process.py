"""Runs a bundle in processes of its own.

A crash, a leak, a hang or an ``os._exit`` in a bundle fails the request that met it, with an answer, and nothing else:
the process is started again, with a growing pause when it keeps crashing.
"""

import asyncio
import atexit
import multiprocessing
import os
import shutil
import socket
from collections.abc import Callable, Coroutine, Mapping
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

from bedside.bundle.contract import Contract
from bedside.bundle.folder import BundleFolder
from bedside.errors import (
    DeadlineExceeded,
    InputNotProcessable,
    LoadFailed,
    ModelFailure,
    ModelNotReady,
    RunFailed,
    WorkerCrashed,
)
from bedside.runtime import wire
from bedside.runtime.assembly import assemble
from bedside.runtime.facts import LoadedFacts
from bedside.runtime.staging import StagedFiles, Staging
from bedside.settings import RuntimeSettings
from bedside.types import DecodedImage, Prediction, ValidatedInputs

_JOIN_SECONDS = 5
_IN_THREAD_BYTES = 1 << 20

_T = TypeVar("_T")

_FAILURES: dict[str, type[ModelFailure]] = {failure.__name__: failure for failure in (InputNotProcessable, RunFailed)}


def fork_server() -> ForkServerContext:
    """Return the context whose processes start with MONAI imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["bedside.runtime.preload"])
    return context


class ModelProcess:
    """One process with one loaded bundle; runs one item at a time.

    Args:
        private: empty folder for what the bundle writes; removed when the process has ended.
        on_end: called when the process ends by itself, also while it is idle.
    """

    def __init__(
        self,
        folder: BundleFolder,
        settings: RuntimeSettings,
        private: Path,
        on_end: Callable[["ModelProcess"], None],
    ) -> None:
        self._folder = folder
        self._private = private
        self._settings = settings
        self._on_end = on_end
        self._process: ForkServerProcess | None = None
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def start(self) -> LoadedFacts:
        """Start the process and wait until its bundle has made a forward pass.

        Raises:
            LoadFailed: the bundle could not be built, the process ended, or it took longer than ``load_seconds``.
        """
        try:
            async with asyncio.timeout(self._settings.load_seconds):
                ours = await _finished(asyncio.to_thread(self._spawn))
                self._reader, self._writer = await asyncio.open_connection(sock=ours)
                header, _ = await self._receive()
        except TimeoutError:
            await self.kill()
            raise LoadFailed(f"not ready after {self._settings.load_seconds:.0f} s (runtime.load_seconds)") from None
        except (asyncio.IncompleteReadError, ConnectionError):
            code = await self.kill()
            raise LoadFailed(f"the model's process ended while loading (exit code {code})") from None
        except BaseException:
            await self.kill()
            raise
        if "failed" in header:
            await self.kill()
            raise LoadFailed(str(header["failed"]), field=header.get("field"))
        self._watch()
        return LoadedFacts.from_json(header["loaded"])

    async def run(self, paths: Mapping[str, str | list[str]], inputs: ValidatedInputs) -> Prediction:
        """Run one item.

        Raises:
            InputNotProcessable, RunFailed: the bundle raised; the process goes on.
            WorkerCrashed: the process ended.
        """
        header, buffers = wire.pack_inputs(paths, inputs)
        try:
            await self._send(wire.pack(header, buffers))
            answer, data = await self._receive()
            if "error" not in answer:
                return wire.unpack_prediction(answer["prediction"], data)
            failure = _FAILURES.get(str(answer["error"]), RunFailed)(
                cause=str(answer["cause"]), where=str(answer["where"])
            )
        except (asyncio.IncompleteReadError, ConnectionError, ValueError, KeyError, TypeError, AttributeError):
            raise WorkerCrashed from None  # it ended, or its code wrote something else into the channel
        raise failure

    async def kill(self) -> int | None:
        """End the process at once; returns its exit code."""
        if self._writer is not None:
            self._writer.close()
            self._reader = self._writer = None
        process, self._process = self._process, None
        if process is not None:
            asyncio.get_running_loop().remove_reader(process.sentinel)
            process.kill()
            await _finished(asyncio.to_thread(process.join, _JOIN_SECONDS))
            _alive.discard(process)
        shutil.rmtree(self._private, ignore_errors=True)
        return process.exitcode if process is not None else None

    def _watch(self) -> None:
        if self._process is not None:
            asyncio.get_running_loop().add_reader(self._process.sentinel, self._on_end, self)

    def _spawn(self) -> socket.socket:
        context = fork_server()
        ours, theirs = context.Pipe(duplex=True)
        process = context.Process(
            target=_run_worker,
            args=(theirs, self._folder, self._settings, self._private),
            name=f"bedside-{self._folder.name}",
            daemon=True,
        )
        process.start()
        _alive.add(process)
        theirs.close()
        self._process = process
        duplicate = socket.socket(fileno=os.dup(ours.fileno()))
        ours.close()
        return duplicate

    async def _send(self, pieces: list[bytes | memoryview]) -> None:
        if self._writer is None:
            raise ConnectionError
        self._writer.writelines(pieces)
        await self._writer.drain()

    async def _receive(self) -> tuple[wire.Message, list[bytes]]:
        if self._reader is None:
            raise ConnectionError
        head = await self._reader.readexactly(wire.LENGTH_BYTES)
        header = wire.parse_header(await self._reader.readexactly(wire.header_length(head)))
        return header, [await self._reader.readexactly(length) for length in header["buffers"]]


_alive: set[ForkServerProcess] = set()


@atexit.register
def _kill_alive() -> None:
    # Whoever did not close its executors: multiprocessing would send SIGTERM, which these ignore, and wait for ever.
    for process in _alive:
        process.kill()


def _run_worker(connection: Connection, folder: BundleFolder, settings: RuntimeSettings, private: Path) -> None:
    from bedside.runtime.worker import main  # noqa: PLC0415 - torch is for the model's process, not for the server

    main(connection, folder, settings, private)


class ProcessExecutor:
    """Stages 6 and 7 for one bundle in ``runtime.workers`` processes. Implements ``interfaces.Executor``.

    Args:
        on_crash: called with the exit code when a process ends by itself (for the log and the metrics).
    """

    def __init__(
        self,
        folder: BundleFolder,
        settings: RuntimeSettings,
        staging: Staging,
        on_crash: Callable[[BundleFolder, int | None], None] = lambda _folder, _code: None,
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._staging = staging
        self._on_crash = on_crash
        self._idle: asyncio.Queue[ModelProcess | None] = asyncio.Queue()  # None: closed, and nobody need wait
        self._all: set[ModelProcess] = set()
        self._background: set[asyncio.Task[None]] = set()
        self._device = ""
        self._crashes = 0
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

    async def load(self) -> Contract:
        """Start the processes; the contract comes from the first one's forward pass. Raises LoadFailed."""
        self._closed = False
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
        self._device = facts[0].device
        self._loaded = True
        return assemble(self._folder, facts[0])

    async def run(self, inputs: ValidatedInputs, *, timeout_seconds: float) -> Prediction:
        """Run one item; see ``interfaces.Executor.run``."""
        if not self._loaded or self._closed or (not self._all and self._crashes > 1):
            # One restart is waited for, within the caller's time; a process that keeps ending is not.
            raise ModelNotReady
        try:
            async with asyncio.timeout(timeout_seconds):
                begin = perf_counter()
                process = await self._take()
                waited = perf_counter() - begin
                prediction = await self._attempt(process, inputs)
        except TimeoutError:
            raise DeadlineExceeded from None
        return Prediction(prediction.arrays, prediction.files, {**prediction.seconds, "queue": waited})

    async def close(self) -> None:
        """End the processes. Whoever calls this has let accepted work finish."""
        self._closed = True
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
                raise ModelNotReady
            if process in self._all:  # else it ended while it was idle, and its successor is on the way
                return process

    async def _attempt(self, process: ModelProcess, inputs: ValidatedInputs) -> Prediction:
        running = asyncio.ensure_future(self._staged_run(process, inputs))
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
            staged = await self._staged(size, inputs)
        except Exception:  # whatever it was, the process has not been asked yet
            self._idle.put_nowait(process)
            raise
        try:
            prediction = await process.run(staged.paths, inputs)
        except (InputNotProcessable, RunFailed):
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

    async def _staged(self, size: int, inputs: ValidatedInputs) -> StagedFiles:
        if size <= _IN_THREAD_BYTES:
            return self._staging.put(inputs)
        # In a thread, so that the event loop goes on answering. A thread cannot be stopped: what it writes for a caller
        # who has gone is removed when it is done.
        putting = asyncio.ensure_future(asyncio.to_thread(self._staging.put, inputs))
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
            self._on_crash(self._folder, code)
        while not self._closed:
            if self._crashes > 1:  # the first crash is forgiven at once
                pause = self._settings.restart_backoff_seconds * 2 ** (self._crashes - 2)
                await asyncio.sleep(min(pause, self._settings.restart_backoff_max_seconds))
            try:
                successor = self._new_process()
                await successor.start()
            except Exception:  # noqa: BLE001 - whatever hinders it (no memory, no room) may pass
                self._crashes += 1
                self._replacing = 0  # no longer on purpose
            else:
                self._add(successor)
                self._replacing = max(self._replacing - (not crashed), 0)
                return


def _seen(running: "asyncio.Future[Prediction]") -> None:
    # What a run raises has been dealt with where it was raised, also when nobody waits for it any more.
    if not running.cancelled():
        running.exception()


def _remove_staged(putting: "asyncio.Future[StagedFiles]") -> None:
    if not putting.cancelled() and putting.exception() is None:
        putting.result().remove()


async def _finished(work: Coroutine[Any, Any, _T]) -> _T:
    """Await ``work`` to its end, also when this task is cancelled meanwhile; the cancellation is raised after it."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
