"""The server's end of one model's process: starts it, talks to it, ends it.

What comes from there was made by a bundle's code. Everything is bounded and checked, and whatever is not as it should
be ends the process.
"""

import asyncio
import atexit
import multiprocessing
import os
import shutil
import socket
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

from bedside import environment
from bedside.bundle.folder import BundleFolder
from bedside.bundle.tuned import tune_file
from bedside.errors import InputNotProcessable, LoadFailed, ModelFailure, ModelOutOfMemory, RunFailed, WorkerCrashed
from bedside.interfaces import LISTENER, Progress
from bedside.runtime import wire
from bedside.runtime.facts import LoadedFacts
from bedside.runtime.sandbox import Room
from bedside.settings import RuntimeSettings
from bedside.types import Prediction, ValidatedInputs

_JOIN_SECONDS = 5
_PIECE_BYTES = 1 << 20
_REASON_LETTERS = 1000
_REPORTS_PER_SECOND = 20  # four times what `windows` sends: a bundle's own frames shall not keep the server busy
_STOPPED = "T"  # proc_pid_stat(5): by a signal; a debugger's is "t"

_T = TypeVar("_T")

Item = tuple[Mapping[str, str | list[str]], ValidatedInputs]
"""Paths of the staged images by input name, and the inputs."""

_FAILURES: dict[str, type[ModelFailure]] = {
    failure.__name__: failure for failure in (InputNotProcessable, RunFailed, ModelOutOfMemory)
}
_ENDED = (asyncio.IncompleteReadError, ConnectionError)
_NONSENSE = (ValueError, KeyError, TypeError, AttributeError)


def fork_server() -> ForkServerContext:
    """Return the context whose processes start with MONAI imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["bedside.runtime.preload"])
    return context


def started(
    target: Callable[..., None], arguments: Sequence[object], name: str
) -> tuple[ForkServerProcess, socket.socket]:
    """Start a process; return it and our end of its channel, whose other end ``target`` gets before its arguments."""
    context = fork_server()
    with environment.reduced():
        forkserver.ensure_running()
    ours, theirs = context.Pipe(duplex=True)
    process = context.Process(target=target, args=(theirs, *arguments), name=name, daemon=True)
    process.start()
    theirs.close()
    with ours:
        return process, socket.socket(fileno=os.dup(ours.fileno()))


class ModelProcess:
    """One process with one loaded bundle; runs one item, or one batch, at a time.

    Args:
        private: empty folder for its inputs and for what the bundle writes; removed when the process has ended.
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
        self._room = Room(private, (folder.root, tune_file(folder.root), *settings.readable_paths))
        self._settings = settings
        self._on_end = on_end
        self._process: ForkServerProcess | None = None
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    @property
    def inputs(self) -> Path:
        """Return the folder for the files of its requests, which no other model's process can read."""
        return self._room.inputs

    async def start(self) -> LoadedFacts:
        """Start the process and wait until its bundle has made a forward pass.

        Raises:
            LoadFailed: the bundle could not be built, the process ended, or it took longer than ``load_seconds``.
        """
        try:
            async with asyncio.timeout(self._settings.load_seconds):
                ours = await _finished(asyncio.to_thread(self._spawn))
                self._reader, self._writer = await asyncio.open_connection(sock=ours, limit=_PIECE_BYTES)
                header, _ = await self._receive()
            if "failed" not in header:
                facts = LoadedFacts.from_json(header["loaded"])
        except TimeoutError:
            await self.kill()
            raise LoadFailed(f"not ready after {self._settings.load_seconds:.0f} s (runtime.load_seconds)") from None
        except _ENDED:
            code = await self.kill()
            raise LoadFailed(f"the model's process ended while loading (exit code {code})") from None
        except _NONSENSE:
            await self.kill()
            raise LoadFailed("the model's process wrote something else than its facts into its channel") from None
        except BaseException:
            await self.kill()
            raise
        if "failed" in header:
            await self.kill()
            field = header.get("field")
            raise LoadFailed(str(header["failed"])[:_REASON_LETTERS], field=None if field is None else str(field)[:100])
        self._watch()
        return facts

    async def run(self, items: Sequence[Item]) -> list[Prediction | ModelFailure]:
        """Run items together, or one alone; return what came of each: what the bundle raised ends no process.

        Raises:
            WorkerCrashed: the process ended.
        """
        header, buffers = wire.join([wire.pack_inputs(paths, inputs) for paths, inputs in items])
        listener = LISTENER.get()
        try:
            await self._send(wire.pack(header if listener is None else {**header, "progress": True}, buffers))
            answer, data = await self._receive(len(items))
            if listener is not None and "progress" in answer:
                answer, data = await self._followed(answer, listener)
            answers = wire.split(answer, data)
            if len(answers) != len(items):
                raise WorkerCrashed
            return [_outcome(*answer, self._settings.answer_bytes) for answer in answers]
        except (*_ENDED, *_NONSENSE):
            raise WorkerCrashed from None  # it ended, or its code wrote something else into the channel

    async def _followed(self, answer: wire.Message, listener: Progress) -> tuple[wire.Message, list[bytes | bytearray]]:
        """Tell of a run's progress, and return its answer. Raises ValueError where it tells more than there is."""
        begin, told, data = perf_counter(), 0, list[bytes | bytearray]()
        while "progress" in answer:
            told += 1
            if told > _REPORTS_PER_SECOND * (perf_counter() - begin + 1):
                raise ValueError("more reports than its process would send")
            listener(*wire.unpack_progress(answer["progress"]))
            answer, data = await self._receive()
        return answer, data

    def stopped(self) -> bool:
        """Tell whether somebody has stopped the process (SIGSTOP): it neither answers nor ends."""
        process = self._process
        with suppress(OSError, IndexError):
            if process is not None:
                stat = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8", errors="replace")
                return stat.rpartition(")")[2].split()[0] == _STOPPED
        return False

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
        shutil.rmtree(self._room.private, ignore_errors=True)
        return process.exitcode if process is not None else None

    def _watch(self) -> None:
        if self._process is not None:
            asyncio.get_running_loop().add_reader(self._process.sentinel, self._on_end, self)

    def _spawn(self) -> socket.socket:
        self._room.make()
        arguments = (self._folder, self._settings, self._room)
        self._process, channel = started(_run_worker, arguments, f"bedside-{self._folder.name}")
        _alive.add(self._process)
        return channel

    async def _send(self, pieces: list[bytes | memoryview]) -> None:
        if self._writer is None:
            raise ConnectionError
        self._writer.writelines(pieces)
        await self._writer.drain()

    async def _receive(self, answers: int = 1) -> tuple[wire.Message, list[bytes | bytearray]]:
        if self._reader is None:
            raise ConnectionError
        head = await self._reader.readexactly(wire.LENGTH_BYTES)
        header = wire.parse_header(await self._reader.readexactly(wire.header_length(head)))
        lengths = wire.bounded_lengths(header, answers * self._settings.answer_bytes)
        return header, [await _read(self._reader, length) for length in lengths]


async def _read(reader: asyncio.StreamReader, length: int) -> bytes | bytearray:
    """Read a buffer; a large one into its place, because ``readexactly`` holds it twice. Raises IncompleteReadError."""
    if length <= _PIECE_BYTES:
        return await reader.readexactly(length)
    whole, end = bytearray(length), 0
    while end < length:
        piece = await reader.read(min(length - end, _PIECE_BYTES))
        if not piece:
            raise asyncio.IncompleteReadError(b"", length)
        whole[end : end + len(piece)] = piece
        end += len(piece)
    return whole


def _outcome(answer: wire.Message, buffers: list[bytes | bytearray], most_bytes: int) -> Prediction | ModelFailure:
    if "error" not in answer:
        return wire.unpack_prediction(answer["prediction"], buffers, most_bytes)
    kind = _FAILURES.get(str(answer["error"]), RunFailed)
    return kind(cause=str(answer["cause"])[:100], where=str(answer["where"])[:_REASON_LETTERS])


_alive: set[ForkServerProcess] = set()


@atexit.register
def _kill_alive() -> None:
    # Whoever did not close its executors: multiprocessing would send SIGTERM, which these ignore, and wait for ever.
    for process in _alive:
        process.kill()


def _run_worker(connection: Connection, folder: BundleFolder, settings: RuntimeSettings, room: Room) -> None:
    from bedside.runtime.worker import main  # noqa: PLC0415 - torch is for the model's process, not for the server

    main(connection, folder, settings, room)


async def _finished(work: Coroutine[Any, Any, _T]) -> _T:
    """Await ``work`` to its end, also when this task is cancelled meanwhile; the cancellation is raised after it."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
