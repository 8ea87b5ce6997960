"""Ends a call whose body does not arrive, or whose caller has gone: one timer, no task while all is well."""

import asyncio

from bedside.errors import BedsideError, RequestTimeout
from bedside.transports.rest.body import Body, ClientGone
from bedside.transports.rest.reply import Receive

PATIENCE_SECONDS = 0.25
"""How long nothing is watched. Most calls are over by then, and a timer costs a hundredth of a task."""


class Watchdog:
    """Cancels the task that made it, with a reason in :attr:`error`; ``stop`` before leaving the guarded part.

    Args:
        body: the body whose arrival is timed.
        receive: asked for ``http.disconnect`` once the body is complete (RFC: ASGI HTTP "Disconnect").
        body_seconds: time in which the body must have arrived.
    """

    __slots__ = ("_body", "_deadline", "_loop", "_receive", "_task", "_timer", "_watch", "error")

    def __init__(self, body: Body, receive: Receive, body_seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._body = body
        self._receive = receive
        self._deadline = self._loop.time() + body_seconds
        self._watch: asyncio.Task[None] | None = None
        self.error: BedsideError | None = None
        self._timer = self._loop.call_later(min(PATIENCE_SECONDS, body_seconds), self._tick)

    def stop(self) -> None:
        """End the watch; nothing is cancelled afterwards."""
        self._timer.cancel()
        if self._watch is not None:
            self._watch.cancel()

    def _tick(self) -> None:
        if self._body.complete:
            self._watch = self._loop.create_task(self._until_gone())
            return
        remaining = self._deadline - self._loop.time()
        if remaining <= 0:
            self._end(RequestTimeout())
        else:
            self._timer = self._loop.call_later(min(remaining, PATIENCE_SECONDS), self._tick)

    async def _until_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._end(ClientGone())

    def _end(self, error: BedsideError) -> None:
        self.error = error
        if self._task is not None:
            self._task.cancel()
