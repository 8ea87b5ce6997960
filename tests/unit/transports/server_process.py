"""A real server in a process of its own, with made-up models: ``held`` runs until the test lets it go."""

import asyncio
import json
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection as Pipe
from multiprocessing.process import BaseProcess
from typing import Any, Self

from tests.unit.transports.fakes import RECORD, FakeExecutor, FakeModel, make_world, record_run
from tests.unit.transports.kinds import add_kinds
from tests.waiting import PATIENCE_SECONDS

from bedside.dataplane.lifecycle import Lifecycle
from bedside.transports.rest import connection
from bedside.transports.rest.server import serve
from bedside.types import Prediction, ValidatedInputs

_SPAWN = multiprocessing.get_context("spawn")


def _child(pipe: Pipe, settings: dict[str, Any], options: dict[str, Any]) -> None:
    async def let_go() -> None:
        loop, told = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(pipe.fileno(), told.set)
        try:
            await told.wait()
            pipe.recv()
        finally:
            loop.remove_reader(pipe.fileno())

    async def run(inputs: ValidatedInputs, timeout_seconds: float) -> Prediction:
        pipe.send(("running", None))
        try:
            await let_go()
        except asyncio.CancelledError:
            pipe.send(("stopped", None))
            raise
        return await record_run(inputs, timeout_seconds)

    async def startup() -> None:
        if options.get("loading"):
            await let_go()
        if options.get("broken"):
            raise RuntimeError("start-up failed")

    async def shutdown() -> None:
        pipe.send(("accounted", [type(call.error).__name__ for call in world.sink.calls]))

    connection.Connection.head_seconds = options.get("head_seconds", 10.0)
    lifecycle = Lifecycle(startup, shutdown)
    world = make_world(started=False, lifecycle=lifecycle, **settings)
    if options.get("kinds"):
        add_kinds(world)
    contract = replace(RECORD, model="held")
    world.repository.models["held"] = FakeModel(contract, FakeExecutor(contract, run))
    try:
        serve(world.app, world.settings, lifecycle, on_listening=lambda url: pipe.send(("listening", url)))
    except Exception as error:  # noqa: BLE001 - told to the test
        pipe.send(("failed", f"{type(error).__name__}: {error}"))
    pipe.send(("ended", None))


@dataclass
class Running:
    """A server that runs."""

    process: BaseProcess
    pipe: Pipe
    port: int
    url: str

    def told(self, what: str) -> Any:
        """Return what the child says next under this name."""
        while self.pipe.poll(PATIENCE_SECONDS):
            name, value = self.pipe.recv()
            if name == what:
                return value
        raise AssertionError(f"the server did not say {what!r}")

    def let_go(self) -> None:
        """Let what is held end: the run of ``held``, or the loading."""
        self.pipe.send(None)

    def signal(self, number: signal.Signals) -> None:
        """Send the server a signal."""
        os.kill(self.process.pid or 0, number)

    def refuses(self) -> None:
        """Wait until nobody listens any more."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        with suppress(ConnectionError):  # reset, where it ends meanwhile
            while time.monotonic() < deadline:
                self.connect().sock.close()
            raise AssertionError("the server goes on listening")

    def exit_status(self) -> int | None:
        """Wait for the end of the process."""
        self.process.join(PATIENCE_SECONDS)
        return self.process.exitcode

    def connect(self) -> "Line":
        """Open a connection."""
        return Line(socket.create_connection(("127.0.0.1", self.port), PATIENCE_SECONDS))

    def ready(self) -> "Running":
        """Wait until the models are loaded."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            with self.connect() as line:
                if line.ask("GET", "/readyz").status == 200:
                    return self
        raise AssertionError("the server did not get ready")


@contextmanager
def running(settings: dict[str, Any] | None = None, **options: Any) -> Iterator[Running]:
    """Start a server on a free port and end it whatever happens."""
    here, there = _SPAWN.Pipe()
    group = {"port": 0, **(settings or {}).pop("server", {})} if settings else {"port": 0}
    process = _SPAWN.Process(target=_child, args=(there, {"server": group, **(settings or {})}, options))
    process.start()
    server = Running(process, here, 0, "")
    try:
        server.url = server.told("listening")
        server.port = int(server.url.rpartition(":")[2])
        yield server
    finally:
        process.terminate()
        process.join(15)
        if process.is_alive():
            process.kill()
            process.join()


@dataclass
class Answer:
    """One answer off the wire."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the document."""
        return json.loads(self.body)


class Line:
    """A raw HTTP/1.1 connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._buffer = b""

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self.sock.close()

    def send(self, data: bytes) -> None:
        """Write bytes."""
        self.sock.sendall(data)

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        """Send a whole request and read its answer."""
        self.send(request(method, path, body, **headers))
        return self.answer()

    def answer(self) -> Answer:
        """Read one answer."""
        head = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        body = self._exactly(int(headers.get("content-length", "0")))
        return Answer(int(head[0].split()[1]), headers, body)

    def closed(self) -> bool:
        """Tell whether the server has closed the connection; waits for it."""
        try:
            return self._buffer == b"" and self.sock.recv(1) == b""
        except ConnectionResetError:
            return True

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            self._more()
        found, _, self._buffer = self._buffer.partition(mark)
        return found

    def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._more()
        found, self._buffer = self._buffer[:size], self._buffer[size:]
        return found

    def _more(self) -> None:
        data = self.sock.recv(65536)
        if not data:
            raise ConnectionError("the server closed the connection")
        self._buffer += data


def request(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """Return the bytes of a request, with a user's token."""
    fields = {"host": "test", "authorization": "Bearer user"}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    if body or method == "POST":
        fields.setdefault("content-length", str(len(body)))
        fields.setdefault("content-type", "application/json")
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
