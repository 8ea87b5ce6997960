"""When the sources are looked at again."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.waiting import PATIENCE_SECONDS

from bedside.registry.watching import Watcher


class Looks:
    """Counts looks, and waits for them."""

    def __init__(self) -> None:
        self.settled: asyncio.Queue[bool] = asyncio.Queue()
        self.errors: list[Exception] = []
        self.error: Exception | None = None

    async def look(self, settled: bool) -> None:  # noqa: FBT001 - the watcher's signature
        """Write it down."""
        self.settled.put_nowait(settled)
        if self.error:
            raise self.error

    async def next(self) -> bool:
        """Return the next look's argument."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self.settled.get()


@asynccontextmanager
async def watching(looks: Looks, poll_seconds: float) -> AsyncIterator[None]:
    """Watch for the time of a test."""
    before = signal.getsignal(signal.SIGHUP)
    watcher = Watcher(looks.look, poll_seconds, looks.errors.append)
    watcher.start()
    try:
        yield
    finally:
        await watcher.stop()
        signal.signal(signal.SIGHUP, before)


async def test_sighup_has_the_sources_looked_at() -> None:
    """At once, and whatever they hold then."""
    looks = Looks()
    async with watching(looks, 0):
        os.kill(os.getpid(), signal.SIGHUP)
        assert await looks.next() is False


async def test_they_are_looked_at_every_so_many_seconds() -> None:
    """And left alone while they are being written."""
    looks = Looks()
    async with watching(looks, 0.001):
        assert [await looks.next(), await looks.next()] == [True, True]


async def test_a_look_that_fails_is_not_the_last_one() -> None:
    """It is told."""
    looks = Looks()
    looks.error = RuntimeError()
    async with watching(looks, 0.001):
        await looks.next()
        await looks.next()
    assert looks.errors[0] is looks.error


async def test_who_never_watched_can_stop(tmp_path: Path) -> None:
    """As a server does that could not start; its SIGHUP is what it was."""
    before = signal.getsignal(signal.SIGHUP)
    await Watcher(Looks().look, 0, Looks().errors.append).stop()
    assert signal.getsignal(signal.SIGHUP) == before
