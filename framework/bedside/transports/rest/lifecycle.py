"""The server's own state: starting, serving, draining, closing."""

import asyncio
from collections.abc import Awaitable, Callable

_LEAST_STOP_SECONDS = 1.0


async def _nothing() -> None:
    """Do nothing; the hook of whoever needs none."""


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
        self, startup: Callable[[], Awaitable[None]] = _nothing, shutdown: Callable[[], Awaitable[None]] = _nothing
    ) -> None:
        self._startup = startup
        self._shutdown = shutdown
        self._deadline: float | None = None
        self.started = False
        self.failure: Exception | None = None
        self.draining = False
        self.closing = False

    async def start(self) -> None:
        """Run the start-up hook; what it raises is kept in :attr:`failure`."""
        try:
            await self._startup()
        except Exception as error:  # noqa: BLE001 - kept and raised again by the server, once it has ended
            self.failure = error
        else:
            self.started = True

    def drain(self) -> None:
        """Fail readiness from now on."""
        self.draining = True

    def close(self, seconds: float) -> None:
        """Turn new requests away from now on; everything is to be over in so many seconds."""
        self.draining = self.closing = True
        self._deadline = asyncio.get_running_loop().time() + seconds

    async def stop(self) -> None:
        """Run the shut-down hook, within what is left of the deadline, but at least one second.

        Raises:
            TimeoutError: it did not end in time.
        """
        self.draining = self.closing = True
        now = asyncio.get_running_loop().time()
        left = None if self._deadline is None else max(_LEAST_STOP_SECONDS, self._deadline - now)
        async with asyncio.timeout(left):
            await self._shutdown()
