"""A bounded queue in front of an executor: at most so many wait, the next one is told when to come back."""

import asyncio
from math import ceil

from bedside.bundle.contract import Contract
from bedside.errors import Draining, QueueFull
from bedside.interfaces import Executor
from bedside.types import Prediction, ValidatedInputs

_SMOOTHING = 0.2  # weight of the newest run in the mean that Retry-After is reckoned from


class BoundedExecutor:
    """Implements ``interfaces.Executor`` around another one.

    Args:
        inner: runs the items; makes callers wait in order of arrival.
        queue_length: callers that may wait beyond those that run.
    """

    def __init__(self, inner: Executor, *, queue_length: int) -> None:
        self._inner = inner
        self._queue_length = queue_length
        self._pending = 0
        self._mean_seconds = 1.0
        self._draining = False
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def ready(self) -> bool:
        """Tell whether the model would answer now."""
        return self._inner.ready and not self._draining

    @property
    def device(self) -> str:
        """Return the device that the model runs on."""
        return self._inner.device

    @property
    def concurrency(self) -> int:
        """Return how many items it is worth handing over at one time."""
        return self._inner.concurrency

    @property
    def running(self) -> int:
        """Return how many items run."""
        return min(self._pending, self.concurrency)

    @property
    def waiting(self) -> int:
        """Return how many items wait."""
        return self._pending - self.running

    async def load(self) -> Contract:
        """Load the model. Raises BundleError."""
        self._draining = False
        return await self._inner.load()

    async def run_eager(self) -> str:
        """Have the network run as PyTorch runs it; see ``interfaces.Executor.run_eager``."""
        return await self._inner.run_eager()

    async def run(self, inputs: ValidatedInputs, *, timeout_seconds: float) -> Prediction:
        """Run one item, or raise QueueFull at once; see ``interfaces.Executor.run``."""
        if self._draining:
            raise Draining
        slots = self.concurrency  # those of a batch count; how many share one is known once the model is loaded
        if self._pending >= slots + self._queue_length:
            error = QueueFull()
            error.retry_after_seconds = max(1, ceil(self._mean_seconds * self._pending / slots))
            raise error
        self._pending += 1
        self._empty.clear()
        try:
            prediction = await self._inner.run(inputs, timeout_seconds=timeout_seconds)
        finally:
            self._pending -= 1
            if not self._pending:
                self._empty.set()
        busy = sum(seconds for stage, seconds in prediction.seconds.items() if stage != "queue")
        self._mean_seconds += _SMOOTHING * (busy - self._mean_seconds)
        return prediction

    async def close(self) -> None:
        """Turn new items away, let accepted ones finish (each has a deadline of its own), and end the model.

        Whoever has less time cancels this: the model is ended nevertheless.
        """
        self._draining = True
        try:
            await self._empty.wait()
        finally:
            await self._inner.close()
