"""The ends of the intervals that tell a fall from chance."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedside.monitoring.intervals import of_mean, wilson


@given(st.integers(1, 5000).flatmap(lambda of: st.tuples(st.integers(0, of), st.just(of))))
def test_the_interval_holds_its_share(part: tuple[int, int]) -> None:
    """It lies within [0, 1], and is the narrower the more there are."""
    right, of = part
    low, high = wilson(right, of, -1), wilson(right, of, +1)
    assert -1e-9 <= low <= right / of + 1e-9 <= high + 2e-9 <= 1 + 3e-9
    assert wilson(10 * right, 10 * of, +1) - wilson(10 * right, 10 * of, -1) <= high - low


def test_the_interval_is_that_of_the_literature() -> None:
    """Of 81 in 263 (Newcombe, Statistics in Medicine 17 (1998) 857, table I), here at 99 %."""
    assert (wilson(81, 263, -1), wilson(81, 263, +1)) == pytest.approx((0.2406, 0.3851), abs=1e-3)


@given(st.dictionaries(st.floats(0, 1e5), st.integers(1, 50), min_size=2))
def test_the_interval_of_a_mean_holds_it(counts: dict[float, int]) -> None:
    """And nothing below nought, which no error is."""
    low, mean, high = of_mean(counts)
    assert 0 <= low <= mean <= high


def test_the_interval_of_a_mean_misses_the_true_one_as_seldom_as_it_says() -> None:
    """Of exponential errors, whose mean is 1, the lower end is above it in one of two hundred windows at most."""
    windows = np.random.default_rng(0).exponential(size=(2000, 200)).tolist()
    ends = [of_mean(dict.fromkeys(window, 1)) for window in windows]
    assert sum(low > 1 for low, _, _ in ends) <= 10
    assert sum(high < 1 for _, _, high in ends) <= 60
