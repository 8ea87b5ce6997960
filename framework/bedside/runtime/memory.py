"""How much memory a request will need, and whether there is room for it beside the others.

What a model needs is measured when it is loaded, on inputs of several sizes; what a request needs follows from its
voxels. One that can never fit is refused before it is staged, one that does not fit now waits. A forecast may be wrong:
the process has a hard limit too, so that a model then fails its own request instead of meeting the kernel.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import inf, prod
from pathlib import Path
from statistics import median
from typing import Annotated

import numpy as np
from pydantic import AllowInfNan, NonNegativeFloat, NonNegativeInt

from bedside.errors import MemoryLimitExceeded
from bedside.settings import MEBIBYTE
from bedside.types import DecodedImage, ValidatedInputs

_SHARE = 0.8
"""Part of the memory there is that models may take; the rest is the server's, and the page cache's."""


@dataclass(frozen=True, slots=True)
class MemoryNeed:
    """What one process of a model was seen to take. Bytes of host memory; a device's memory is not looked at.

    Attributes:
        resident: weights and whatever else stays between requests.
        base: of a request, whatever its size.
        per_voxel: of a request, for each voxel of its images.
        by_volume: voxels are counted at 1 mm, because the preprocessing resamples.
        guessed: one size alone was seen, of a model that is slow: too steep a line to refuse anything by.
    """

    resident: NonNegativeInt = 0
    base: NonNegativeInt = 0
    per_voxel: Annotated[NonNegativeFloat, AllowInfNan(allow_inf_nan=False)] = 0.0
    by_volume: bool = False
    guessed: bool = False

    def of(self, inputs: ValidatedInputs, factor: float) -> int:
        """Return the forecast for a request, in bytes, ``factor`` times what was measured."""
        return round(factor * (self.base + self.per_voxel * voxels(inputs, by_volume=self.by_volume)))

    def most_voxels(self, limit: float, factor: float) -> int:
        """Return how many voxels fit into ``limit`` bytes."""
        return max(0, int((limit / factor - self.base) / self.per_voxel)) if self.per_voxel > 0 else 0


def voxels(inputs: ValidatedInputs, *, by_volume: bool) -> int:
    """Return the voxels of a request's images; by volume, at least as many as resampling to 1 mm would give."""
    return sum(_voxels(item, by_volume=by_volume) for item in inputs.items if isinstance(item, DecodedImage))


def _voxels(image: DecodedImage, *, by_volume: bool) -> int:
    count = prod(image.shape[: image.spatial_dims])
    if not by_volume or image.affine is None:
        return count
    cubic_millimetres = abs(float(np.linalg.det(image.affine[:3, :3])))
    return max(count, round(count * cubic_millimetres))


def fit(points: Sequence[tuple[int, int]]) -> tuple[int, float]:
    """Return the base and the slope of a line through (voxels, bytes) that lies below none of the points.

    The slope is the median of those between all pairs (Theil and Sen), which one odd measurement does not move. One
    point alone gives a line through zero: too steep rather than too flat.
    """
    if len({count for count, _ in points}) < 2:
        count, taken = max(points)
        return 0, taken / max(count, 1)
    slopes = [(b - a) / (m - n) for (n, a), (m, b) in combinations(sorted(points), 2) if m > n]
    slope = max(0.0, median(slopes))
    return max(0, round(max(taken - slope * count for count, taken in points))), slope


class MemoryBudget:
    """The memory that all models of a server may take together; requests wait for it in the order of their arrival."""

    def __init__(self, limit_mib: int) -> None:
        self.limit_mib = limit_mib
        self._resident: dict[object, int] = {}
        self._used = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def capacity(self) -> int:
        """Return how many bytes are there for requests, beside what the loaded models hold."""
        return max(0, self.limit_mib * MEBIBYTE - sum(self._resident.values()))

    @property
    def reserved(self) -> int:
        """Return how many bytes running requests are forecast to take."""
        return self._used

    def settle(self, owner: object, resident: int) -> None:
        """Note what a model holds while it is loaded; 0 when it is not."""
        self._resident[owner] = resident
        if not resident:
            del self._resident[owner]
        self._wake()

    def check(self, need: MemoryNeed, inputs: ValidatedInputs, factor: float) -> int:
        """Return the forecast for a request; where it is a guess, at most all there is, so that it runs alone.

        Raises:
            MemoryLimitExceeded: it can never fit.
        """
        forecast = need.of(inputs, factor)
        if forecast <= self.capacity:
            return forecast
        if need.guessed:
            return self.capacity
        image = next((item.name for item in inputs.items if isinstance(item, DecodedImage)), None)
        counted = " at 1 mm" if need.by_volume else ""
        raise MemoryLimitExceeded(
            f"about {need.most_voxels(self.capacity, factor)} voxels{counted} fit into the memory that models have "
            f"here (runtime.memory_limit_mib is {self.limit_mib}), and this input has "
            f"{voxels(inputs, by_volume=need.by_volume)}",
            field=image,
        )

    async def reserve(self, amount: int) -> None:
        """Wait until ``amount`` bytes are free; give them back with :meth:`release`."""
        if not self._waiting and self._fits(amount):
            self._used += amount
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((amount, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._used -= amount  # it came just now, and nobody wants it any more
            else:
                self._waiting.remove((amount, turn))
            self._wake()
            raise

    def release(self, amount: int) -> None:
        """Give back what was reserved."""
        self._used -= amount
        self._wake()

    def _fits(self, amount: int) -> bool:
        # One alone may always run: what models hold may have grown since it was checked.
        return self._used + amount <= self.capacity or not self._used

    def _wake(self) -> None:
        while self._waiting and self._fits(self._waiting[0][0]):
            amount, turn = self._waiting.popleft()
            if not turn.done():
                self._used += amount
                turn.set_result(None)


def memory_limit(setting_mib: int) -> int:
    """Return the limit in MiB: the setting, or a share of what the container or the machine has."""
    return setting_mib or max(1, int(_SHARE * _available() / MEBIBYTE))


_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_MEMINFO = Path("/proc/meminfo")


def _available() -> float:
    found = [_machine(), *map(_container, _LIMITS)]
    least = min(found)
    return least if least < inf else 4096 * MEBIBYTE  # neither told: not Linux


def _machine() -> float:
    try:
        lines = _MEMINFO.read_text(encoding="ascii").splitlines()
        return next(float(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return inf


def _container(path: Path) -> float:
    try:
        return float(path.read_text(encoding="ascii"))
    except (OSError, ValueError):  # "max"
        return inf
