"""How far a sliding-window inferer is, told while it runs.

MONAI's own progress bar has the numbers (``progress=True`` of ``sliding_window_inference``). Where somebody listens, a
count takes the bar's place; nothing of MONAI is done again here, and a run that nobody follows costs one comparison.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import wraps
from inspect import signature
from time import monotonic
from typing import Any

import monai.inferers
from monai.inferers import inferer, utils

from bedside.interfaces import Progress

INTERVAL_SECONDS = 0.2
"""Shortest time between two reports."""

Clock = Callable[[], float]


class WindowCount:
    """The windows of one run; those of a second pass over the image are added to those of the first.

    Args:
        tell: given the windows done and the windows known of, at most every ``INTERVAL_SECONDS``.
        clock: seconds, monotonic.
    """

    def __init__(self, tell: Progress, clock: Clock = monotonic) -> None:
        self._tell = tell
        self._clock = clock
        self._next = 0.0
        self._before = 0
        self._within = False

    def over(self, steps: Iterable[int]) -> Iterator[int]:
        """Yield the steps of an inferer: a range over its windows, or with MONAI's buffers the batches one by one."""
        if self._within:  # an inferer within an inferer: the outer one's windows are those that are counted
            yield from steps
            return
        steps = steps if isinstance(steps, range) else list(steps)
        size, total = (steps.step, steps.stop) if isinstance(steps, range) else (1, len(steps))
        self._within = True
        try:
            for number, step in enumerate(steps, 1):
                yield step
                self._count(min(number * size, total), total)
            self._before += total
        finally:  # a pass that failed, and is perhaps tried again with less memory, counts for nothing
            self._within = False

    def _count(self, done: int, total: int) -> None:
        now = self._clock()
        if now >= self._next:
            self._next = now + INTERVAL_SECONDS
            self._tell(self._before + done, self._before + total)


_count: WindowCount | None = None  # one item runs at a time in a model's process


@contextmanager
def counted(tell: Progress) -> Iterator[None]:
    """Tell of the windows that are run within the block."""
    global _count  # noqa: PLW0603 - what MONAI calls has no other way to it
    _count = WindowCount(tell)
    try:
        yield
    finally:
        _count = None


def make_countable() -> None:
    """Let MONAI's sliding windows be counted, in this process; before a bundle's code imports them."""
    original = utils.sliding_window_inference
    if hasattr(original, "__wrapped__") or not hasattr(utils, "tqdm"):
        return
    parameters = signature(original)

    @wraps(original)
    def inference(*args: Any, **options: Any) -> Any:
        if _count is None:
            return original(*args, **options)
        bound = parameters.bind(*args, **options)
        bound.arguments["progress"] = True
        return original(*bound.args, **bound.kwargs)

    for module in (utils, inferer, monai.inferers):
        module.sliding_window_inference = inference
    utils.tqdm = _bar


def _bar(steps: Iterable[int]) -> Iterator[int]:
    # Without a listener, a bundle that asks for a bar gets none: its process has no terminal.
    return iter(steps) if _count is None else _count.over(steps)
