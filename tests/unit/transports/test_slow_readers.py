"""Callers who do not read what they asked for, over real sockets."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from demo.certificate import make_certificate
from uvicorn import Config
from uvicorn.server import ServerState

from bedside.transports.rest.connection import READ_BYTES, Connection

BUFFER = 16384  # of each socket: small, so that what is not read waits in the server


class Served:
    """One server of one connection.

    Attributes:
        connection: the server's end.
        lost: done when the connection has ended.
    """

    connection: Connection

    def __init__(self, caller: socket.socket) -> None:
        self.caller = caller
        self.writer: asyncio.StreamWriter | None = None
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def look(self) -> None:
        """Let the time be over after which the server looks whether the caller reads."""
        timer = self.connection._reader_timer
        assert timer is not None
        timer.cancel()
        self.connection._judge_reader()


@asynccontextmanager
async def asked(
    body: bytes, field: str, reader_seconds: float, context: ssl.SSLContext | None = None
) -> AsyncIterator[Served]:
    """Have asked for an answer of so many bytes, and read none of it."""

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        length = str(len(body)).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
        await send({"type": "http.response.body", "body": body})

    class Told(Connection):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
            super().connection_made(transport)
            served.connection = self

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            served.lost.set_result(None)

    config, state = Config(app, lifespan="off", log_config=None, timeout_keep_alive=0), ServerState()
    config.load()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
    server = await asyncio.get_running_loop().create_server(
        lambda: Told(config=config, server_state=state, app_state={}, reader_seconds=reader_seconds),
        sock=listener,
        ssl=context,
    )
    with socket.socket() as caller:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        served = Served(caller)
        caller.connect(listener.getsockname())
        if context is None:
            caller.sendall(f"GET / HTTP/1.1\r\nhost: test\r\n{field}\r\n".encode())
        async with server:
            yield served


@pytest.mark.parametrize(
    ("size", "field"),
    [
        pytest.param(8 * READ_BYTES, "", id="writing pauses"),
        pytest.param(READ_BYTES, "", id="closed after its idle time"),
        pytest.param(READ_BYTES, "connection: close\r\n", id="closed with the answer"),
    ],
)
async def test_who_never_reads_is_cut_off(size: int, field: str) -> None:
    """Also where all is written and the connection is only waiting for its end."""
    async with asked(b"x" * size, field, 0.05) as served:
        await served.lost


async def test_who_reads_slowly_gets_all() -> None:
    """More than has to be taken, between one look and the next."""
    size, taken, rounds = 40 * READ_BYTES, 0, 0
    async with asked(b"x" * size, "connection: close\r\n", 3600) as served:
        loop = asyncio.get_running_loop()
        served.caller.setblocking(False)
        while data := await loop.sock_recv(served.caller, READ_BYTES):
            taken += len(data)
            if rounds < 3 and taken >= (rounds + 1) * 4 * READ_BYTES:
                rounds += 1
                served.look()
    assert (rounds, taken > size) == (3, True)


def tls(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return the server's end of TLS, and that of somebody who trusts it."""
    chain, key = make_certificate(folder)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(chain, key)
    return context, ssl.create_default_context(cafile=chain)


async def over_tls(served: Served, trusted: ssl.SSLContext) -> asyncio.StreamReader:
    """Ask, and return what reads the answer: no more than it is asked for, and a little."""
    reader, served.writer = await asyncio.open_connection(
        sock=served.caller, ssl=trusted, server_hostname="localhost", limit=BUFFER
    )
    served.writer.write(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n")
    return reader


async def test_over_tls_who_never_reads_is_cut_off(tmp_path: Path) -> None:
    """Whatever the event loop holds of it out of sight."""
    context, trusted = tls(tmp_path)
    async with asked(b"x" * 64 * READ_BYTES, "", 0.05, context) as served:
        await over_tls(served, trusted)
        await served.lost


async def test_over_tls_who_reads_slowly_gets_all(tmp_path: Path) -> None:
    """More than has to be taken, between one look and the next."""
    context, trusted = tls(tmp_path)
    size = 64 * READ_BYTES
    async with asked(b"x" * size, "", 3600, context) as served:
        reader = await over_tls(served, trusted)
        await reader.readuntil(b"\r\n\r\n")
        for _ in range(3):
            await reader.readexactly(8 * READ_BYTES)
            served.look()
        await reader.readexactly(size - 24 * READ_BYTES)
