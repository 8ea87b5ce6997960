"""What runs in a model's process, run here: the server's end of the channel is in the test's hand."""

import importlib
import multiprocessing
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch

from bedside.bundle.folder import open_bundle
from bedside.errors import LoadFailed, RunFailed
from bedside.runtime import preload, windows, wire, worker
from bedside.runtime.facts import LoadedFacts
from bedside.runtime.sandbox import Room
from bedside.settings import Settings
from bedside.types import ValidatedInputs

MOST_BYTES = 1 << 24


class Peer:
    """The server's end."""

    def __init__(self, end: socket.socket) -> None:
        self.socket = end
        self._stream = end.makefile("rb")

    def send(self, header: dict[str, Any], buffers: list[bytes]) -> None:
        """Write a frame."""
        self.socket.sendall(b"".join(wire.pack(header, buffers)))

    def receive(self) -> tuple[dict[str, Any], list[bytes]]:
        """Read a frame."""
        return wire.read_frame(self._read)

    def record(self, *values: float) -> tuple[dict[str, Any], list[bytes]]:
        """Run a record."""
        (answer,) = self.records(values)
        return answer

    def records(self, *records: tuple[float, ...]) -> list[tuple[dict[str, Any], list[bytes]]]:
        """Run records together."""
        header = {"paths": {}, "records": ["features"]}
        self.send(*wire.join([(header, [np.array(values, np.float32).tobytes(), b""]) for values in records]))
        return wire.split(*self.receive())

    def close(self) -> None:
        """Hang up."""
        self._stream.close()
        self.socket.close()

    def _read(self, length: int) -> bytes:
        data = self._stream.read(length)
        if len(data) < length:
            raise EOFError
        return data


@pytest.fixture
def serve(
    bundles: Path, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], Peer]]:
    """Return what serves a bundle in a thread, in place of a process."""
    room = Room(tmp_path, ())
    room.make()
    threads: list[threading.Thread] = []
    peers: list[Peer] = []

    def start(name: str) -> Peer:
        monkeypatch.syspath_prepend(str(bundles / name))
        ours, theirs = socket.socketpair()
        channel = worker.Channel(Connection(theirs.detach()))
        thread = threading.Thread(
            target=worker.serve, args=(channel, open_bundle(bundles / name), settings.runtime, room)
        )
        thread.start()
        threads.append(thread)
        peers.append(Peer(ours))
        return peers[-1]

    yield start
    for peer in peers:
        peer.close()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert [path for place in (room.output, room.scratch) for path in place.rglob("*")] == []


def test_it_tells_its_facts_and_answers(serve: Callable[[str], Peer]) -> None:
    """First the facts of the loaded bundle, then one answer for each request."""
    peer = serve("misbehaving")
    header, _ = peer.receive()
    assert LoadedFacts.from_json(header["loaded"]).inputs[0].name == "features"
    for _ in range(2):
        answer, buffers = peer.record(5, 1, 1)
        (output,) = wire.unpack_prediction(answer["prediction"], buffers, MOST_BYTES).arrays
        assert output.array.sum() == pytest.approx(1.0)


def test_a_failure_is_an_answer_without_a_text(serve: Callable[[str], Peer]) -> None:
    """The class and the place of the error go over; the process answers the next request."""
    peer = serve("misbehaving")
    peer.receive()
    answer, buffers = peer.record(103, 1, 1)
    assert (answer["error"], answer["cause"], buffers) == ("RunFailed", "ValueError", [])
    assert "DOE" not in str(answer)
    assert "prediction" in peer.record(5, 1, 1)[0]


def test_of_a_batch_only_the_culprit_fails(serve: Callable[[str], Peer]) -> None:
    """Each item has an answer of its own, in the order of the items."""
    peer = serve("misbehaving")
    peer.receive()
    answers = peer.records((5, 1, 1), (103, 1, 1), (7, 1, 1))
    assert [next(iter(header)) for header, _ in answers] == ["prediction", "error", "prediction"]
    for values, (header, buffers) in zip(((5, 1, 1), (7, 1, 1)), answers[::2], strict=True):
        alone, bytes_alone = peer.record(*values)
        (expected,) = wire.unpack_prediction(alone["prediction"], bytes_alone, MOST_BYTES).arrays
        (output,) = wire.unpack_prediction(header["prediction"], buffers, MOST_BYTES).arrays
        np.testing.assert_array_equal(output.array, expected.array)


def test_a_bundle_that_cannot_be_built_says_why_and_ends(serve: Callable[[str], Peer]) -> None:
    """One message, and the channel is closed."""
    peer = serve("missing_weights")
    header, _ = peer.receive()
    assert "model.pt" in header["failed"]


def test_files_come_with_the_prediction(serve: Callable[[str], Peer]) -> None:
    """What the bundle wrote into its private folder is in the answer."""
    peer = serve("writing_files")
    peer.receive()
    answer, buffers = peer.record(5, 1, 1)
    (file,) = wire.unpack_prediction(answer["prediction"], buffers, MOST_BYTES).files
    assert file.suffix == ".txt"


def test_a_server_that_hangs_up_in_the_middle_ends_it(serve: Callable[[str], Peer]) -> None:
    """Half a frame and then nothing is the end, not an error."""
    peer = serve("record_classification")
    peer.receive()
    peer.socket.sendall(b"\0\0")


def test_the_process_is_made_the_bundles_own(
    bundles: Path, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its folder is the working directory and first on the path, Ctrl-C and SIGTERM are the server's business."""
    root = bundles / "record_classification"
    served: list[Any] = []
    shut_in: list[bool] = []
    monkeypatch.setattr(worker, "serve", lambda *arguments: served.append(arguments))

    def confine(*_: object) -> tuple[str, ...]:
        shut_in.append(True)
        return ("files",)

    monkeypatch.setattr(worker, "_shut_in", confine)
    monkeypatch.setattr(worker, "_end_with_server", lambda: None)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    ours, theirs = socket.socketpair()
    try:
        worker.main(Connection(theirs.detach()), open_bundle(root), settings.runtime, Room(tmp_path, ()))
        assert signal.getsignal(signal.SIGINT) == signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        ours.close()
    assert (Path.cwd(), sys.path[0], shut_in) == (root, str(root), [True])
    (channel, folder, _settings, _room, layers), *_others = served
    assert (folder.root, layers) == (root, ("files",))
    channel._socket.close()


def test_a_process_that_cannot_be_confined_says_so_and_touches_nothing(
    bundles: Path, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where ``require`` is not met, the server is told why, and the bundle is never looked at."""

    def refuse(*_: object) -> tuple[str, ...]:
        raise LoadFailed("this platform lacks: files")

    monkeypatch.setattr(worker, "confine", refuse)
    monkeypatch.setattr(worker, "keep_only", lambda _descriptors: None)
    monkeypatch.setattr(worker, "offer_to_the_kernel", lambda: None)
    monkeypatch.setattr(worker, "serve", lambda *_: pytest.fail("served"))
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    ours, theirs = socket.socketpair()
    peer = Peer(ours)
    try:
        root = bundles / "record_classification"
        worker.main(Connection(theirs.detach()), open_bundle(root), settings.runtime, Room(tmp_path, ()))
        header, _ = peer.receive()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        peer.close()
    assert header["failed"] == "this platform lacks: files"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), "ModelOutOfMemory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried ..."), "ModelOutOfMemory"),
        (torch.OutOfMemoryError(), "ModelOutOfMemory"),
        (RuntimeError("something else"), "RunFailed"),
    ],
)
def test_running_out_of_memory_has_a_name_of_its_own(error: Exception, expected: str) -> None:
    """Python's, torch's and CUDA's ways to say so; the caller can do something about this one."""

    class Engine:
        """Fails the way MONAI does, the cause wrapped."""

        def run_batch(self, _items: object) -> list[RunFailed]:
            """Fail."""
            wrapped = RuntimeError("applying transform")
            wrapped.__cause__ = error
            failure = RunFailed(cause=type(error).__name__)
            failure.__cause__ = wrapped
            return [failure]

    ours, theirs = socket.socketpair()
    peer = Peer(ours)
    channel = worker.Channel(Connection(theirs.detach()))
    message = wire.join([wire.pack_inputs({}, ValidatedInputs(()))])
    worker._answer(channel, Engine(), *message)  # type: ignore[arg-type]
    ((answer, _),) = wire.split(*peer.receive())
    assert answer["error"] == expected
    peer.close()
    channel._socket.close()


def test_it_ends_when_the_server_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that hangs does not read the channel; a thread waits for the server."""
    joined: list[bool] = []
    exits: list[int] = []

    class Parent:
        """A server that has gone."""

        def join(self) -> None:
            """Return at once."""
            joined.append(True)

    monkeypatch.setattr(os, "_exit", exits.append)
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: None)
    worker._end_with_server()
    assert exits == []
    monkeypatch.setattr(multiprocessing, "parent_process", Parent)
    worker._end_with_server()
    assert (joined, exits) == ([True], [1])


def test_the_fork_server_has_imported_what_costs_time() -> None:
    """Processes that are forked share MONAI."""
    importlib.reload(preload)
    assert "bedside.runtime.loading" in sys.modules


def test_windows_are_told_where_somebody_follows(
    serve: Callable[[str], Peer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the answer, which is the same as without; not where nobody asked."""
    monkeypatch.setattr(windows, "INTERVAL_SECONDS", 0.0)
    image = tmp_path / "scan.nii"
    nibabel.save(nibabel.Nifti1Image(np.arange(28.0**3, dtype=np.float32).reshape(28, 28, 28), np.eye(4)), image)
    peer = serve("volume_segmentation")
    peer.receive()
    answers = []
    for extra in ({}, {"progress": True}):
        told = []
        frame, data = wire.join([({"paths": {"image": str(image)}, "records": []}, [b""])])
        peer.send({**frame, **extra}, data)
        header, buffers = peer.receive()
        while "progress" in header:
            told.append(header["progress"])
            header, buffers = peer.receive()
        answers.append(buffers)
        assert told == ([[number, 8] for number in range(1, 9)] if extra else [])
    assert answers[0] == answers[1]
