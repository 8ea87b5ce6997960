"""A wire to a server, which can be cut in the middle of a request or of its answer, and mended."""

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any


class Wire:
    """Forwards a port of this machine to another; :meth:`cut` and :meth:`mend` may be called from any thread."""

    def __init__(self, port: int, target: int) -> None:
        self.port = port
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._server: asyncio.Server | None = None
        self._callers: set[asyncio.StreamWriter] = set()

    def mend(self) -> None:
        """Let connections through."""
        self._do(self._open())

    def cut(self) -> None:
        """Refuse connections and reset those that there are; what has gone through, the server still works on."""
        self._do(self._close())

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._forward, "127.0.0.1", self.port)

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for caller in self._callers:
            caller.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._callers.add(writer)
        with suppress(OSError):
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._target)
            await asyncio.gather(_copy(reader, server_writer), _copy(server_reader, writer))
        writer.close()
        self._callers.discard(writer)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@contextmanager
def wire(port: int, target: int) -> Iterator[Wire]:
    """Run one until the block ends."""
    running = Wire(port, target)
    running._thread.start()
    running.mend()
    try:
        yield running
    finally:
        running.cut()
        running._loop.call_soon_threadsafe(running._loop.stop)
        running._thread.join()
        running._loop.close()
