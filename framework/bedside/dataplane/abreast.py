"""Calls that are under way in one turn of the event loop take a stage one after the other, then the next stage.

A stage's code and memory are then in the processor's caches for all but the first of them, which saves a quarter of a
cheap call (docs/decisions/0152-calls-abreast.md).
"""

from collections.abc import Generator
from types import coroutine


@coroutine
def abreast() -> Generator[None, None, None]:
    """Let the other calls of this turn come as far as this one: ``asyncio.sleep(0)`` without its two frames."""
    yield
