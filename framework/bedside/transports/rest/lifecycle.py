"""The server's own state: starting, serving, draining, closing."""

from collections.abc import Awaitable, Callable


async def _nothing() -> None:
    """Do nothing; the hook of whoever needs none."""


class Lifecycle:
    """What probes and the edge ask before anything else.

    Attributes:
        draining: readiness fails; requests are still served, until balancers have noticed.
        closing: new requests get 503; only accepted work goes on.
        startup, shutdown: hooks, called once each: after the socket listens, and after the last answer.
    """

    def __init__(
        self, startup: Callable[[], Awaitable[None]] = _nothing, shutdown: Callable[[], Awaitable[None]] = _nothing
    ) -> None:
        self.startup = startup
        self.shutdown = shutdown
        self.draining = False
        self.closing = False

    def drain(self) -> None:
        """Fail readiness from now on."""
        self.draining = True

    def close(self) -> None:
        """Turn new requests away from now on."""
        self.draining = self.closing = True
