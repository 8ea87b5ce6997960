"""Server-sent events of jobs: any number of streams, one look at the store for all of them."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from typing import Any

import orjson
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from bedside.errors import CallerLimitReached, QueueFull
from bedside.jobs.records import Job
from bedside.jobs.states import FINISHED, JobState

EVENT_SECONDS = 0.5
"""How often jobs are looked at for their events."""

SILENCE_SECONDS = 15.0
"""Longest silence of an event stream; a comment then tells proxies that somebody is still there."""

Describe = Callable[[Job], dict[str, Any]]


class JobEvents:
    """The open streams of one server.

    Args:
        look: returns jobs by their id; blocks.
        describe: a job as callers see it.
        most: streams that one caller may have open.
        together: streams that all callers may have open.
        ended: tells that the server ends; streams end then, too, and their readers come back to another replica.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        look: Callable[[Collection[str]], Mapping[str, Job]],
        describe: Describe,
        most: int,
        together: int,
        ended: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._look = look
        self._describe = describe
        self._most, self._together, self._clock = most, together, clock
        self._ended = ended
        self._callers: Counter[str] = Counter()
        self._followed: Counter[str] = Counter()
        self._looking: asyncio.Task[tuple[frozenset[str], Mapping[str, Job]]] | None = None

    def follow(self, job: Job, caller: str, expires_at: float) -> StreamingResponse:
        """Return the answer that tells of a job until it ends, or the caller's token does.

        Raises:
            CallerLimitReached: the caller has as many open as one may have.
            QueueFull: all callers together have.
        """
        if self._callers.total() >= self._together:
            raise QueueFull("event streams take half of limits.connections")
        if self._callers[caller] >= self._most:
            raise CallerLimitReached(f"{self._most} of your event streams are open already")
        self._callers[caller] += 1
        self._followed[job.id] += 1

        def release() -> None:
            for counter, key in ((self._callers, caller), (self._followed, job.id)):
                counter[key] -= 1
                if not counter[key]:
                    del counter[key]

        return _Stream(events(job, lambda: self._next(job, expires_at), self._describe), release)

    async def _next(self, job: Job, expires_at: float) -> Job | None:
        # A token that is over, or was taken back and so is not renewed, does not go on telling.
        while not self._ended() and self._clock() < expires_at:
            # Whoever comes first begins the next look, whoever comes meanwhile waits for the same.
            if self._looking is None or self._looking.done():
                self._looking = asyncio.create_task(self._once())
            asked, found = await asyncio.shield(self._looking)
            if job.id in asked:
                return found.get(job.id)
        return None

    async def _once(self) -> tuple[frozenset[str], Mapping[str, Job]]:
        await asyncio.sleep(EVENT_SECONDS)
        asked = frozenset(self._followed)
        return asked, await asyncio.to_thread(self._look, asked)


class _Stream(StreamingResponse):
    """Lets go of its place however it ends, also where its first event was never asked for."""

    def __init__(self, content: AsyncIterator[bytes], release: Callable[[], None]) -> None:
        super().__init__(content, media_type="text/event-stream")
        self._release = release

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._release()


async def events(job: Job, following: Callable[[], Awaitable[Job | None]], describe: Describe) -> AsyncIterator[bytes]:
    """Yield server-sent events (HTML Living Standard §9.2) until the job has ended or is forgotten."""
    loop = asyncio.get_running_loop()
    told: tuple[Any, ...] = ()
    spoken = loop.time()
    current: Job | None = job
    while current is not None:
        facts = (current.state, current.attempt, current.done, current.total)
        if facts != told:
            name = "progress" if told[:2] == facts[:2] and current.state is JobState.RUNNING else str(current.state)
            yield b"event: %b\ndata: %b\n\n" % (name.encode(), orjson.dumps(describe(current)))
            told, spoken = facts, loop.time()
        elif loop.time() - spoken >= SILENCE_SECONDS:
            yield b": still there\n\n"
            spoken = loop.time()
        if current.state in FINISHED:
            return
        current = await following()
