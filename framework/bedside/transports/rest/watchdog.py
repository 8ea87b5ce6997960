"""Ends a call whose body does not arrive, or whose caller has gone: one timer for all, no task while all is well."""

import asyncio

from bedside.errors import BedsideError, ClientGone, RequestTimeout
from bedside.transports.rest.body import Body
from bedside.transports.rest.reply import Receive

PATIENCE_SECONDS = 0.25
"""How long a call is not watched. Most are over by then, and a timer of its own would cost each of them 3 µs."""


class Watchdog:
    """Cancels the task that made it, with a reason in :attr:`error`; see :meth:`Kennel.watch`."""

    __slots__ = ("_began", "_body", "_kennel", "_receive", "_task", "_watch", "error")

    def __init__(self, kennel: "Kennel", body: Body, receive: Receive, now: float) -> None:
        self._kennel = kennel
        self._task = asyncio.current_task()
        self._body = body
        self._receive = receive
        self._began = now
        self._watch: asyncio.Task[None] | None = None
        self.error: BedsideError | None = None

    def stop(self) -> None:
        """End the watch; nothing is cancelled afterwards."""
        self._kennel.awake.discard(self)
        if self._watch is not None:
            self._watch.cancel()

    def look(self, now: float, body_seconds: float) -> None:
        """See whether the body is still awaited, and in time; once it is there, wait for the caller to go."""
        waited = now - self._began
        if self._watch is not None:
            return
        if not self._body.complete:
            if waited >= body_seconds:
                self._end(RequestTimeout())
        elif waited >= PATIENCE_SECONDS:
            self._watch = asyncio.get_running_loop().create_task(self._until_gone())

    async def _until_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._end(ClientGone())

    def _end(self, error: BedsideError) -> None:
        self._kennel.awake.discard(self)
        self.error = error
        if self._task is not None:
            self._task.cancel()


class Kennel:
    """All watchdogs of a server, woken by one timer, which runs only while there are any.

    Args:
        body_seconds: time in which a body must have arrived.
    """

    def __init__(self, body_seconds: float) -> None:
        self.awake: set[Watchdog] = set()
        self._body_seconds = body_seconds
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, body: Body, receive: Receive) -> Watchdog:
        """Watch the current task; ``stop`` the watchdog before leaving the guarded part.

        Args:
            body: the body whose arrival is timed.
            receive: asked for ``http.disconnect`` once the body is complete (ASGI HTTP "Disconnect").
        """
        loop = asyncio.get_running_loop()
        watchdog = Watchdog(self, body, receive, loop.time())
        self.awake.add(watchdog)
        if self._timer is None:
            self._wake_later(loop)
        return watchdog

    def _wake_later(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = loop.call_later(min(PATIENCE_SECONDS, self._body_seconds), self._wake)

    def _wake(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        for watchdog in tuple(self.awake):
            watchdog.look(now, self._body_seconds)
        if self.awake:
            self._wake_later(loop)
