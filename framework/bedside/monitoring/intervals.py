"""How far what was seen of a few may be from what is so: the ends of 99 % intervals."""

from collections.abc import Mapping
from math import sqrt
from statistics import fmean, stdev

Z = 2.576
"""Of 99 % (two-sided): of windows of a model that is as good as before, one in two hundred says that it is not."""


def wilson(right: int, of: int, sign: int) -> float:
    """Return the upper (``sign`` 1) or lower (-1) end of Wilson's interval of a share (JASA 22 (1927) 209)."""
    share, spread = right / of, Z * Z / of
    middle = (share + spread / 2) / (1 + spread)
    return middle + sign * Z * sqrt(share * (1 - share) / of + spread / (4 * of)) / (1 + spread)


def of_mean(counts: Mapping[float, int]) -> tuple[float, float, float]:
    """Return the lower end, the mean and the upper end of the interval of the mean of numbers that are not negative.

    By the central limit theorem: there are 50 of them at least. A long tail to the right puts the lower end too low.

    Args:
        counts: how often each number was seen.
    """
    numbers = [number for number, count in counts.items() for _ in range(count)]
    mean, spread = fmean(numbers), Z * stdev(numbers) / sqrt(len(numbers))
    return max(0.0, mean - spread), mean, mean + spread
