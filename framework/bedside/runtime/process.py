"""Runs a bundle in processes of its own.

A crash, a leak, a hang or an ``os._exit`` in a bundle fails the request that met it, with an answer, and nothing else:
the process is started again, with a growing pause when it keeps crashing.
"""

import asyncio
import multiprocessing
import os
import socket
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from time import perf_counter
from typing import TypeVar

from bedside.bundle.contract import Contract
from bedside.bundle.folder import BundleFolder
from bedside.errors import (
    DeadlineExceeded,
    InputNotProcessable,
    LoadFailed,
    ModelFailure,
    ModelNotReady,
    RunFailed,
    StagingFull,
    WorkerCrashed,
)
from bedside.runtime import wire
from bedside.runtime.assembly import assemble
from bedside.runtime.facts import LoadedFacts
from bedside.runtime.staging import Staging
from bedside.settings import RuntimeSettings
from bedside.types import DecodedImage, DecodedRecord, Prediction, ValidatedInputs

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
        on_end: called when the process ends by itself, also while it is idle.
    """

    def __init__(
        self, folder: BundleFolder, settings: RuntimeSettings, on_end: Callable[["ModelProcess"], None]
    ) -> None:
        self._folder = folder
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
                ours = await asyncio.to_thread(self._spawn)
                self._reader, self._writer = await asyncio.open_connection(sock=ours)
                header, _ = await self._receive()
        except TimeoutError:
            await self.kill()
            raise LoadFailed(f"not ready after {self._settings.load_seconds:.0f} s (runtime.load_seconds)") from None
        except (asyncio.IncompleteReadError, ConnectionError):
            code = await self.kill()
            raise LoadFailed(f"the model's process ended while loading (exit code {code})") from None
        if "failed" in header:
            await self.kill()
            raise LoadFailed(str(header["failed"]), field=header.get("field"))
        self._watch()
        return LoadedFacts.from_json(header["loaded"])

    async def run(self, paths: dict[str, str], inputs: ValidatedInputs) -> Prediction:
        """Run one item.

        Raises:
            InputNotProcessable, RunFailed: the bundle raised; the process goes on.
            WorkerCrashed: the process ended.
        """
        records = [item for item in inputs.items if isinstance(item, DecodedRecord)]
        header = {"paths": paths, "records": [item.name for item in records]}
        try:
            await self._send(wire.pack(header, [item.values.tobytes() for item in records]))
            answer, data = await self._receive()
        except (asyncio.IncompleteReadError, ConnectionError):
            raise WorkerCrashed from None
        if "error" in answer:
            failure = _FAILURES.get(str(answer["error"]), RunFailed)
            raise failure(cause=str(answer["cause"]), where=str(answer["where"]))
        return wire.unpack_prediction(answer["prediction"], data)

    async def kill(self) -> int | None:
        """End the process at once; returns its exit code."""
        if self._writer is not None:
            self._writer.close()
            self._reader = self._writer = None
        if self._process is None:
            return None
        process, self._process = self._process, None
        asyncio.get_running_loop().remove_reader(process.sentinel)
        process.kill()
        await asyncio.to_thread(process.join, _JOIN_SECONDS)
        return process.exitcode

    def _watch(self) -> None:
        if self._process is not None:
            asyncio.get_running_loop().add_reader(self._process.sentinel, self._on_end, self)

    def _spawn(self) -> socket.socket:
        context = fork_server()
        ours, theirs = context.Pipe(duplex=True)
        process = context.Process(
            target=_run_worker,
            args=(theirs, self._folder, self._settings),
            name=f"bedside-{self._folder.name}",
            daemon=True,
        )
        process.start()
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


def _run_worker(connection: Connection, folder: BundleFolder, settings: RuntimeSettings) -> None:
    from bedside.runtime.worker import main  # noqa: PLC0415 - torch is for the model's process, not for the server

    main(connection, folder, settings)


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
        self._idle: asyncio.Queue[ModelProcess] = asyncio.Queue()
        self._all: set[ModelProcess] = set()
        self._background: set[asyncio.Task[None]] = set()
        self._device = ""
        self._crashes = 0
        self._closed = False

    @property
    def ready(self) -> bool:
        """Tell whether at least one process holds the loaded model."""
        return bool(self._all) and not self._closed

    @property
    def device(self) -> str:
        """Return the device that the model's process chose."""
        return self._device

    async def load(self) -> Contract:
        """Start the processes; the contract comes from the first one's forward pass. Raises LoadFailed."""
        self._closed = False
        processes = [self._new_process() for _ in range(self._settings.workers)]
        try:
            facts = await asyncio.gather(*(process.start() for process in processes))
        except LoadFailed:
            await asyncio.gather(*(process.kill() for process in processes))
            raise
        for process in processes:
            self._add(process)
        self._device = facts[0].device
        return assemble(self._folder, facts[0])

    async def run(self, inputs: ValidatedInputs, *, timeout_seconds: float) -> Prediction:
        """Run one item; see ``interfaces.Executor.run``."""
        if not self.ready:
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
        for task in list(self._background):
            task.cancel()
        processes, self._all = self._all, set()
        await asyncio.gather(*(process.kill() for process in processes))

    async def _take(self) -> ModelProcess:
        while True:
            process = await self._idle.get()
            if process in self._all:  # else it ended while it was idle, and its successor is on the way
                return process

    async def _attempt(self, process: ModelProcess, inputs: ValidatedInputs) -> Prediction:
        try:
            prediction = await self._staged_run(process, inputs)
        except (InputNotProcessable, RunFailed, StagingFull):
            self._idle.put_nowait(process)
            raise
        except WorkerCrashed:
            self._ended(process)
            raise
        except BaseException:
            # Out of time or cancelled: the process is still computing somebody's image. It is ended, which frees the
            # device at once, and a fresh one takes its place.
            self._replace(process)
            raise
        self._crashes = 0
        self._idle.put_nowait(process)
        return prediction

    async def _staged_run(self, process: ModelProcess, inputs: ValidatedInputs) -> Prediction:
        size = sum(len(item.payload) for item in inputs.items if isinstance(item, DecodedImage))
        staged = await _run_sized(size, lambda: self._staging.put(inputs))
        try:
            return await process.run(staged.paths, inputs)
        finally:
            staged.remove()

    def _new_process(self) -> ModelProcess:
        return ModelProcess(self._folder, self._settings, self._ended)

    def _add(self, process: ModelProcess) -> None:
        self._all.add(process)
        self._idle.put_nowait(process)

    def _ended(self, process: ModelProcess) -> None:
        if process in self._all:
            self._crashes += 1
            self._replace(process, crashed=True)

    def _replace(self, process: ModelProcess, *, crashed: bool = False) -> None:
        self._all.discard(process)
        task = asyncio.ensure_future(self._restart(process, crashed=crashed))
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
            successor = self._new_process()
            try:
                await successor.start()
            except LoadFailed:
                self._crashes += 1
            else:
                self._add(successor)
                return


async def _run_sized(size: int, work: Callable[[], _T]) -> _T:
    """Run ``work`` here when ``size`` bytes are few, else in a thread, so that the event loop goes on answering."""
    return await asyncio.to_thread(work) if size > _IN_THREAD_BYTES else work()
