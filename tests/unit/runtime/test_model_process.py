"""The server's end of a model's process, with a made-up peer instead of a process."""

import asyncio
import socket
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bedside.bundle.folder import BundleFolder
from bedside.errors import InputNotProcessable, ModelFailure, RunFailed, WorkerCrashed
from bedside.interfaces import LISTENER
from bedside.runtime import wire
from bedside.runtime.model_process import ModelProcess, _read, fork_server
from bedside.settings import Settings
from bedside.types import OutputArray, Prediction, ValidatedInputs


class Writer:
    """Takes what is sent."""

    def __init__(self) -> None:
        self.sent = b""

    def writelines(self, pieces: list[bytes]) -> None:
        """Keep the pieces."""
        self.sent += b"".join(pieces)

    async def drain(self) -> None:
        """Be always ready for more."""


@pytest.fixture
def talk(
    settings: Settings, make_folder: Callable[[str], BundleFolder], tmp_path: Path, record: ValidatedInputs
) -> Callable[..., Any]:
    """Return what runs a record while the peer answers with the given bytes."""

    async def run(answer: bytes, *, ends: bool = True) -> Prediction:
        """Run a record against that answer."""
        process = ModelProcess(make_folder("{}"), settings.runtime, tmp_path, lambda _process: None)
        process._reader, process._writer = asyncio.StreamReader(), Writer()  # type: ignore[assignment]
        process._reader.feed_data(answer)
        if ends:
            process._reader.feed_eof()
        (outcome,) = await process.run([({}, record)])
        if isinstance(outcome, ModelFailure):
            raise outcome
        return outcome

    return run


def frame(header: dict[str, Any], buffers: list[bytes] | None = None) -> bytes:
    """Return the bytes of a frame with one answer."""
    return b"".join(wire.pack(*wire.join([(header, buffers or [])])))


def report(progress: object) -> bytes:
    """Return the bytes of a frame that tells how far a run is."""
    return b"".join(wire.pack({"progress": progress}))


async def test_a_prediction_is_unpacked(talk: Callable[..., Any]) -> None:
    """The arrays that the process sent are the answer."""
    header, buffers = wire.pack_prediction(Prediction((OutputArray("pred", np.arange(3)),)))
    prediction = await talk(frame({"prediction": header}, buffers))
    np.testing.assert_array_equal(prediction.arrays[0].array, np.arange(3))


async def test_a_large_answer_is_held_once() -> None:
    """A volume of floats goes into its place as it comes; the stream's own way would hold it twice."""
    ours, theirs = socket.socketpair()
    volume = np.random.default_rng(1).random(4 << 20).tobytes()
    reader, writer = await asyncio.open_connection(sock=ours)
    sending = asyncio.create_task(asyncio.to_thread(theirs.sendall, volume))
    tracemalloc.start()
    try:
        arrived = await _read(reader, len(volume))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        await sending
        writer.close()
        theirs.close()
    assert arrived == volume
    assert peak < 1.25 * len(volume)


async def test_a_large_answer_that_breaks_off_is_a_crash(talk: Callable[..., Any]) -> None:
    """What is missing is not answered as zeros."""
    header, buffers = wire.pack_prediction(Prediction((OutputArray("pred", np.full(1 << 19, 0.5)),)))
    with pytest.raises(WorkerCrashed):
        await talk(frame({"prediction": header}, buffers)[: 3 << 20])


@pytest.mark.parametrize(
    ("name", "expected"), [("InputNotProcessable", InputNotProcessable), ("RunFailed", RunFailed), ("Other", RunFailed)]
)
async def test_a_failure_keeps_its_class_and_place(
    talk: Callable[..., Any], name: str, expected: type[RunFailed]
) -> None:
    """A name that is none of ours is a failed run."""
    with pytest.raises(expected) as caught:
        await talk(frame({"error": name, "cause": "KeyError", "where": "network.py:3"}))
    assert (caught.value.cause, caught.value.where) == ("KeyError", "network.py:3")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\0\0",
        b"\xff\xff\xff\xff",
        b"\0\0\0\x02no",
        b"".join(wire.pack({"prediction": {}})),
        b"".join(wire.pack(*wire.join([]))),
        b"".join(wire.pack(*wire.join([({"error": "RunFailed", "cause": "", "where": ""}, [])] * 2))),
        b"".join(wire.pack({"parts": [{"error": "RunFailed", "cause": "", "where": "", "count": 1}]})),
        frame({"error": "RunFailed"}),
        frame({"prediction": {}}),
        frame({"prediction": None}),
        frame({"prediction": {"arrays": [], "files": [".txt"], "seconds": {}}}),
        frame({"prediction": {"arrays": [], "files": [], "seconds": []}}),
        frame(
            {"prediction": {"arrays": [{"name": "a", "dtype": "O", "narrowed_from": None, "shape": [1]}], "files": []}},
            [bytes(8)],
        ),
    ],
    ids=range(14),
)
async def test_whatever_else_a_process_writes_is_a_crash(talk: Callable[..., Any], answer: bytes) -> None:
    """A bundle's code can write into the channel; it gets no further than its own request."""
    with pytest.raises(WorkerCrashed):
        await talk(answer)


@pytest.fixture
def reports() -> Iterator[list[tuple[int, int]]]:
    """Listen to the runs of one test."""
    told: list[tuple[int, int]] = []
    token = LISTENER.set(lambda done, total: told.append((done, total)))
    yield told
    LISTENER.reset(token)


async def test_progress_reaches_its_listener(talk: Callable[..., Any], reports: list[tuple[int, int]]) -> None:
    """Any number of reports before the answer."""
    header, buffers = wire.pack_prediction(Prediction((OutputArray("pred", np.arange(3)),)))
    told = [report([done, 8]) for done in (2, 4, 8)]
    prediction = await talk(b"".join((*told, frame({"prediction": header}, buffers))))
    assert reports == [(2, 8), (4, 8), (8, 8)]
    assert len(prediction.arrays[0].array) == 3


async def test_progress_that_nobody_asked_for_is_a_crash(talk: Callable[..., Any]) -> None:
    """The process does not speak our protocol."""
    with pytest.raises(WorkerCrashed):
        await talk(report([1, 8]))


@pytest.mark.usefixtures("reports")
@pytest.mark.parametrize("progress", [None, [1], [1, 2, 3], [9, 8], [-1, 8], [0, 1 << 31], [True, 1], [0.5, 1], "ab"])
async def test_progress_that_is_none_is_a_crash(talk: Callable[..., Any], progress: Any) -> None:
    """Two counts, the first no larger, both what a column of the jobs' table holds."""
    with pytest.raises(WorkerCrashed):
        await talk(report(progress))


async def test_a_flood_of_progress_is_a_crash(talk: Callable[..., Any], reports: list[tuple[int, int]]) -> None:
    """A bundle's own frames keep neither the event loop nor the job busy."""
    with pytest.raises(WorkerCrashed):
        await talk(report([1, 8]) * 10_000)
    assert len(reports) < 1000


async def test_a_process_that_was_ended_cannot_run(
    settings: Settings, make_folder: Callable[[str], BundleFolder], tmp_path: Path, record: ValidatedInputs
) -> None:
    """Without a channel there is no answer, and ending it again is no error."""
    process = ModelProcess(make_folder("{}"), settings.runtime, tmp_path / "private", lambda _process: None)
    with pytest.raises(WorkerCrashed):
        await process.run([({}, record)])
    process._writer = Writer()  # type: ignore[assignment]
    with pytest.raises(WorkerCrashed):
        await process.run([({}, record)])
    process._writer = None
    assert await process.kill() is None


def test_processes_are_forked_from_a_server_of_their_own() -> None:
    """Neither forked from us, with our threads and sockets, nor started from nothing, with five seconds of imports."""
    assert fork_server().get_start_method() == "forkserver"
