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
from multiprocessing.connection import Connection
from pathlib import Path

from bedside.bundle.folder import BundleFolder
from bedside.errors import BedsideError, ModelFailure
from bedside.runtime import wire
from bedside.runtime.engine import BundleEngine
from bedside.runtime.loading import load
from bedside.runtime.staging import Staging
from bedside.settings import RuntimeSettings


def main(connection: Connection, folder: BundleFolder, settings: RuntimeSettings, private: Path) -> None:
    """Serve one bundle over ``connection`` until the other side closes it.

    ``private`` is an empty folder for what the bundle writes; the server removes it, because this process may be
    killed at any time.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the server ends us after draining
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    warnings.simplefilter("ignore")
    _silence_output()
    # Bytecode beside the sources is neither read nor written: no digest covers it, and it would run in their place.
    sys.pycache_prefix = str(private / "bytecode")
    os.chdir(folder.root)
    sys.path.insert(0, str(folder.root))  # `scripts` of this bundle, and of no other
    threading.Thread(target=_end_with_server, daemon=True).start()
    serve(_Channel(connection), folder, settings, private)


def serve(channel: "_Channel", folder: BundleFolder, settings: RuntimeSettings, private: Path) -> None:
    """Load the bundle, then answer until the other side closes the channel."""
    output_dir = private / "output"
    output_dir.mkdir()
    try:
        _serve(channel, folder, settings, Staging(private), output_dir)
    except (EOFError, ConnectionError):
        pass  # the server has gone; so do we
    finally:
        shutil.rmtree(private, ignore_errors=True)


def _end_with_server() -> None:
    # A model that hangs never reads the channel, so it would not notice that the server was killed.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


class _Channel:
    """Blocking frames over a socket."""

    def __init__(self, connection: Connection) -> None:
        self._socket = socket.socket(fileno=os.dup(connection.fileno()))
        self._socket.setblocking(True)
        connection.close()

    def receive(self) -> tuple[wire.Message, list[bytes]]:
        return wire.read_frame(self._read)

    def send(self, header: wire.Message, buffers: wire.Buffers = ()) -> None:
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
    channel: _Channel, folder: BundleFolder, settings: RuntimeSettings, staging: Staging, output_dir: Path
) -> None:
    try:
        engine, facts = load(folder, settings, staging, output_dir)
    except BedsideError as error:
        channel.send({"failed": error.detail, "field": error.field})
        return
    gc.collect()
    gc.freeze()  # what is loaded stays: no collection need walk it
    channel.send({"loaded": facts.to_json()})
    while True:
        header, buffers = channel.receive()
        _answer(channel, engine, header, buffers)


def _answer(channel: _Channel, engine: BundleEngine, header: wire.Message, buffers: list[bytes]) -> None:
    try:
        answer, arrays = wire.pack_prediction(engine.run(wire.unpack_inputs(header, buffers)))
    except ModelFailure as error:
        channel.send({"error": type(error).__name__, "cause": error.cause, "where": error.where})
    else:
        channel.send({"prediction": answer}, arrays)


def _silence_output() -> None:
    # Bundles print: paths, values, progress bars. Standard output is the log, and the log holds no patient.
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    os.close(null)
