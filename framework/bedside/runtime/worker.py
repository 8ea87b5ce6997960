"""The process of one model: loads its bundle, then answers one message at a time.

One process per bundle, because bundles collide otherwise: each has a top-level package ``scripts``, paths relative to
its own folder, and settings that are global to a process.
"""

import gc
import multiprocessing
import os
import shutil
import signal
import socket
import sys
import threading
import warnings
from contextlib import nullcontext
from dataclasses import replace
from multiprocessing.connection import Connection

import torch

from bedside.bundle.folder import BundleFolder
from bedside.errors import BedsideError, ModelFailure, ModelOutOfMemory
from bedside.interfaces import Progress
from bedside.runtime import wire
from bedside.runtime.batch_trial import try_batches
from bedside.runtime.engine import BundleEngine
from bedside.runtime.loading import load
from bedside.runtime.measuring import limit_memory, measure
from bedside.runtime.peak import status_bytes
from bedside.runtime.sandbox import Room, confine, keep_only, offer_to_the_kernel
from bedside.runtime.staging import Staging
from bedside.runtime.windows import counted, make_countable
from bedside.settings import RuntimeSettings
from bedside.types import Prediction


def main(connection: Connection, folder: BundleFolder, settings: RuntimeSettings, room: Room) -> None:
    """Serve one bundle over ``connection`` until the other side closes it.

    ``room`` is where it lives; the server removes its folders, because this process may be killed at any time.
    """
    channel = Channel(connection)
    try:
        layers = enter(channel, folder, settings, room)
    except BedsideError as error:
        channel.send({"failed": error.detail, "field": error.field})
        return
    serve(channel, folder, settings, room, layers)


def enter(channel: "Channel", folder: BundleFolder, settings: RuntimeSettings, room: Room) -> tuple[str, ...]:
    """Make this process the bundle's own: confined, in its folder, with its ``scripts``; return what confines it.

    Raises:
        LoadFailed: a layer that is required is missing.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the server ends us after draining
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    warnings.simplefilter("ignore")
    layers = _shut_in(channel, room, settings)
    # Bytecode beside the sources is neither read nor written: no digest covers it, and it would run in their place.
    # Nor is it written elsewhere, where nobody would read it: the scratch folder is memory, and goes with the process.
    sys.pycache_prefix = str(room.scratch / "bytecode")
    sys.dont_write_bytecode = True
    os.chdir(folder.root)
    sys.path.insert(0, str(folder.root))  # `scripts` of this bundle, and of no other
    threading.Thread(target=_end_with_server, daemon=True).start()
    return layers


def serve(
    channel: "Channel", folder: BundleFolder, settings: RuntimeSettings, room: Room, layers: tuple[str, ...] = ()
) -> None:
    """Load the bundle, then answer until the other side closes the channel.

    Args:
        channel: to the server.
        folder: the bundle.
        settings: how to run it.
        room: its folders, made.
        layers: what confines this process, to be told.
    """
    try:
        _serve(channel, folder, settings, room, layers)
    except (EOFError, ConnectionError):
        pass  # the server has gone; so do we
    finally:
        for place in (room.output, room.scratch):
            shutil.rmtree(place, ignore_errors=True)


def _shut_in(channel: "Channel", room: Room, settings: RuntimeSettings) -> tuple[str, ...]:
    # The one thread so far, and nothing of the bundle yet. Bundles print paths, values, progress bars: their standard
    # output is the null device, because the server's is the log, and the log holds no patient.
    parent = multiprocessing.parent_process()
    keep_only([channel.fileno(), *([] if parent is None else [parent.sentinel])])
    offer_to_the_kernel()
    return confine(room, settings.sandbox)


def _end_with_server() -> None:
    # A model that hangs never reads the channel, so it would not notice that the server was killed.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


class Channel:
    """Blocking frames over a socket."""

    def __init__(self, connection: Connection) -> None:
        self._socket = socket.socket(fileno=os.dup(connection.fileno()))
        self._socket.setblocking(True)
        connection.close()

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._socket.fileno()

    def receive(self) -> tuple[wire.Message, list[bytes]]:
        """Return the next frame. Raises EOFError."""
        return wire.read_frame(self._read)

    def send(self, header: wire.Message, buffers: wire.Buffers = ()) -> None:
        """Send one frame."""
        for piece in wire.pack(header, buffers):
            self._socket.sendall(piece)

    def _read(self, length: int) -> bytes:
        data = bytearray(length)
        view = memoryview(data)
        while view:
            count = self._socket.recv_into(view)
            if not count:
                raise EOFError
            view = view[count:]
        return bytes(data)


def _serve(
    channel: Channel, folder: BundleFolder, settings: RuntimeSettings, room: Room, layers: tuple[str, ...]
) -> None:
    staging = Staging(room.scratch)
    try:
        before = _bounded(settings)
        make_countable()
        engine, facts = load(folder, settings, staging, room.output)
        memory = None
        if settings.forecast_seconds:
            memory = measure(engine, folder, facts, staging, settings.forecast_seconds, before)
        batches = try_batches(engine, folder, facts, staging, settings)
    except BedsideError as error:
        channel.send({"failed": error.detail, "field": error.field})
        return
    finally:
        staging.close()
    gc.collect()
    gc.freeze()  # what is loaded stays: no collection need walk it
    channel.send({"loaded": replace(facts, layers=layers, memory=memory, batches=batches).to_json()})
    while True:
        header, buffers = channel.receive()
        _answer(channel, engine, header, buffers)


def _bounded(settings: RuntimeSettings) -> int:
    """Set the hard limit where there is one; return the resident bytes, 0 where the kernel does not tell."""
    on_cuda = settings.device.startswith("cuda") or (settings.device == "auto" and torch.cuda.is_available())
    try:
        if settings.memory_limit_mib and not on_cuda:  # CUDA maps the device's memory as data of the process
            limit_memory(settings.memory_limit_mib)
        return status_bytes("VmRSS")
    except OSError:
        return 0


def _answer(channel: Channel, engine: BundleEngine, header: wire.Message, buffers: list[bytes]) -> None:
    items = [wire.unpack_inputs(*part) for part in wire.split(header, buffers)]
    with counted(_teller(channel)) if header.get("progress") else nullcontext():
        outcomes = engine.run_batch(items)
    channel.send(*wire.join([_packed(outcome) for outcome in outcomes]))


def _packed(outcome: Prediction | ModelFailure) -> tuple[wire.Message, list[bytes]]:
    try:
        if not isinstance(outcome, ModelFailure):
            header, buffers = wire.pack_prediction(outcome)
            return {"prediction": header}, buffers
    except MemoryError as error:
        return {"error": ModelOutOfMemory.__name__, "cause": type(error).__name__, "where": ""}, []
    except ModelFailure as failure:
        outcome = failure
    kind = ModelOutOfMemory if _is_out_of_memory(outcome) else type(outcome)
    return {"error": kind.__name__, "cause": outcome.cause, "where": outcome.where}, []


def _teller(channel: Channel) -> Progress:
    return lambda done, total: channel.send({"progress": [done, total]})


def _is_out_of_memory(error: BaseException | None) -> bool:
    while error is not None:
        text = str(error)
        if isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in text:
            return True  # torch's allocator for the CPU raises RuntimeError; only its text tells
        error = error.__cause__
    return False
