"""The server's own state: starting, serving, draining, closing. One for all transports of a process."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import Protocol

from bedside.interfaces import ModelRepository

_LEAST_STOP_SECONDS = 1.0


async def _nothing() -> None:
    """Do nothing; the hook of whoever needs none."""


class Door(Protocol):
    """A further transport of this process, beside the one that runs the event loop."""

    async def open(self) -> None:
        """Listen. Raises ConfigurationError."""
        ...

    async def close(self, seconds: float | None) -> None:
        """Stop listening; accepted work may take so many seconds to finish, None for as long as it takes."""
        ...


async def hold_open(door: Door) -> None:
    """Keep the one transport of a process open until SIGTERM or SIGINT. Raises ConfigurationError."""
    stopping, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    await door.open()
    await stopping.wait()
    await door.close(None)


class Lifecycle:
    """What probes and the edge ask before anything else.

    Args:
        startup: awaited once the socket listens; may take as long as loading the models does.
        shutdown: awaited after the last answer.

    Attributes:
        started: ``startup`` has returned; until then the server is alive and not ready.
        failure: what ``startup`` raised; the server then ends.
        draining: readiness fails; requests are still served, until balancers have noticed.
        closing: new requests get 503; only accepted work goes on.
    """

    def __init__(
        self,
        startup: Callable[[], Awaitable[None]] = _nothing,
        shutdown: Callable[[], Awaitable[None]] = _nothing,
    ) -> None:
        self._startup = startup
        self._shutdown = shutdown
        self._doors: list[Door] = []
        self._deadline: float | None = None
        self.started = False
        self.failure: Exception | None = None
        self.draining = False
        self.closing = False

    async def start(self) -> None:
        """Open the doors and run the start-up hook; what they raise is kept in :attr:`failure`."""
        try:
            for door in self._doors:
                await door.open()
            await self._startup()
        except Exception as error:  # noqa: BLE001 - kept and raised again by the server, once it has ended
            self.failure = error
        else:
            self.started = True

    def add(self, door: Door) -> None:
        """Have a further transport opened and closed with the server."""
        self._doors.append(door)

    def ready(self, repository: ModelRepository) -> bool:
        """Tell whether every model has made a real forward pass and the server is not draining."""
        return self.started and not self.draining and repository.ready

    def drain(self) -> None:
        """Fail readiness from now on."""
        self.draining = True

    def close(self, seconds: float) -> None:
        """Turn new requests away from now on; everything is to be over in so many seconds."""
        self.draining = self.closing = True
        self._deadline = asyncio.get_running_loop().time() + seconds

    async def stop(self) -> None:
        """Close the doors, then run the shut-down hook: within what is left of the deadline, but at least one second.

        Raises:
            TimeoutError: it did not end in time.
        """
        self.draining = self.closing = True
        await asyncio.gather(*(door.close(self._left(0.0)) for door in self._doors))
        async with asyncio.timeout(self._left(_LEAST_STOP_SECONDS)):
            await self._shutdown()

    def _left(self, least: float) -> float | None:
        return None if self._deadline is None else max(least, self._deadline - asyncio.get_running_loop().time())
