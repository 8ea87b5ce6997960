"""Waiting for what other tasks, threads and processes do: they set no events, so one looks until it is seen."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import httpx

T = TypeVar("T")

PATIENCE_SECONDS = 240.0
"""Generous, for machines with other work; less than a test may take, so that a failure tells what was awaited."""

LONGEST_PAUSE_SECONDS = 0.25
"""Whoever waits for a server asks it: fifty times a second, that takes a quarter of a core from what is awaited."""


async def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds; fail when that takes too long."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.005)


def wait_until(condition: Callable[[], T], what: str = "") -> T:
    """Return what the condition gives once it is true, and its server answers; fail when that takes too long."""
    deadline, pause = time.monotonic() + PATIENCE_SECONDS, 0.01
    while time.monotonic() < deadline:
        with suppress(httpx.HTTPError):
            if found := condition():
                return found
        time.sleep(pause)
        pause = min(1.2 * pause, LONGEST_PAUSE_SECONDS)
    raise AssertionError(f"it did not happen in time: {what}")
