"""The server's end of a model's process, with a made-up peer instead of a process."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bedside.bundle.folder import BundleFolder
from bedside.errors import InputNotProcessable, RunFailed, WorkerCrashed
from bedside.runtime import wire
from bedside.runtime.model_process import ModelProcess, fork_server
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
        return await process.run({}, record)

    return run


def frame(header: dict[str, Any], buffers: list[bytes] | None = None) -> bytes:
    """Return the bytes of a frame."""
    return b"".join(wire.pack(header, buffers or []))


async def test_a_prediction_is_unpacked(talk: Callable[..., Any]) -> None:
    """The arrays that the process sent are the answer."""
    header, buffers = wire.pack_prediction(Prediction((OutputArray("pred", np.arange(3)),)))
    prediction = await talk(frame({"prediction": header}, buffers))
    np.testing.assert_array_equal(prediction.arrays[0].array, np.arange(3))


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
        frame({"error": "RunFailed"}),
        frame({"prediction": {}}),
        frame({"prediction": None}),
        frame({"prediction": {"arrays": [], "files": [".txt"], "seconds": {}}}),
        frame({"prediction": {"arrays": [], "files": [], "seconds": []}}),
        frame({"prediction": {"arrays": [{"name": "a", "dtype": "O", "shape": [1]}], "files": []}}, [bytes(8)]),
    ],
    ids=range(10),
)
async def test_whatever_else_a_process_writes_is_a_crash(talk: Callable[..., Any], answer: bytes) -> None:
    """A bundle's code can write into the channel; it gets no further than its own request."""
    with pytest.raises(WorkerCrashed):
        await talk(answer)


async def test_a_process_that_was_ended_cannot_run(
    settings: Settings, make_folder: Callable[[str], BundleFolder], tmp_path: Path, record: ValidatedInputs
) -> None:
    """Without a channel there is no answer, and ending it again is no error."""
    process = ModelProcess(make_folder("{}"), settings.runtime, tmp_path / "private", lambda _process: None)
    with pytest.raises(WorkerCrashed):
        await process.run({}, record)
    process._writer = Writer()  # type: ignore[assignment]
    with pytest.raises(WorkerCrashed):
        await process.run({}, record)
    process._writer = None
    assert await process.kill() is None


def test_processes_are_forked_from_a_server_of_their_own() -> None:
    """Neither forked from us, with our threads and sockets, nor started from nothing, with five seconds of imports."""
    assert fork_server().get_start_method() == "forkserver"
