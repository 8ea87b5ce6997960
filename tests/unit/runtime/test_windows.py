"""Windows of MONAI's own inferers are counted, and nothing of their answer changes."""

from collections.abc import Iterator
from itertools import count
from typing import Any

import monai.inferers
import pytest
import torch
from monai.inferers import SliceInferer, SlidingWindowInferer, inferer, utils

from bedside.runtime import windows
from bedside.runtime.windows import WindowCount, counted, make_countable

IMAGE = torch.arange(24.0**3).reshape(1, 1, 24, 24, 24)
Told = list[tuple[int, int]]


@pytest.fixture(autouse=True)
def _countable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make MONAI countable for one test, and report every window."""
    for module in (utils, inferer, monai.inferers):
        monkeypatch.setattr(module, "sliding_window_inference", utils.sliding_window_inference)
    monkeypatch.setattr(utils, "tqdm", utils.tqdm)
    monkeypatch.setattr(windows, "INTERVAL_SECONDS", 0.0)
    make_countable()
    make_countable()  # a second time changes nothing


@pytest.fixture
def told() -> Iterator[Told]:
    """Listen."""
    reports: Told = []
    with counted(lambda done, total: reports.append((done, total))):
        yield reports


def double(window: torch.Tensor, *_: Any) -> torch.Tensor:
    """Stand for a network."""
    return window * 2


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"sw_batch_size": 1}, [(n, 8) for n in range(1, 9)]),
        ({"sw_batch_size": 3}, [(3, 8), (6, 8), (8, 8)]),
        ({"sw_batch_size": 1, "buffer_steps": 1}, [(n, 8) for n in range(1, 9)]),
        ({"sw_batch_size": 1, "progress": True}, [(n, 8) for n in range(1, 9)]),
    ],
)
def test_windows_are_told_and_the_answer_is_the_same(options: Any, expected: Told) -> None:
    """2 x 2 x 2 windows; the last batch may be smaller."""
    infer = SlidingWindowInferer((16, 16, 16), overlap=0.25, **options)
    alone = infer(IMAGE, double)
    reports: Told = []
    with counted(lambda done, total: reports.append((done, total))):
        followed = infer(IMAGE, double)
    assert reports == expected
    assert torch.equal(followed, alone)


def test_the_function_is_counted_however_it_is_called(told: Told) -> None:
    """By position or name, from whichever module of MONAI."""
    for function in (monai.inferers.sliding_window_inference, utils.sliding_window_inference):
        function(IMAGE, (24, 24, 12), 1, predictor=double, overlap=0.0)
    assert told == [(1, 2), (2, 2), (3, 4), (4, 4)]


def test_a_second_pass_is_added_to_the_first(told: Told) -> None:
    """An ensemble slides once for each network: what is known grows, what is done never shrinks."""
    infer = SlidingWindowInferer((24, 24, 12), overlap=0.0)
    infer(IMAGE, double)
    infer(IMAGE, double)
    assert told == [(1, 2), (2, 2), (3, 4), (4, 4)]


def test_a_pass_that_failed_counts_for_nothing(told: Told) -> None:
    """Some inferers try again with less memory."""
    calls = count()

    def failing(window: torch.Tensor) -> torch.Tensor:
        if next(calls) == 1:
            raise MemoryError
        return double(window)

    infer = SlidingWindowInferer((24, 24, 12), overlap=0.0)
    with pytest.raises(MemoryError):
        infer(IMAGE, failing)
    infer(IMAGE, double)
    assert told == [(1, 2), (1, 2), (2, 2)]


def test_windows_within_windows_are_those_of_the_outer_inferer(told: Told) -> None:
    """Their sum would mean nothing."""
    inner = SlidingWindowInferer((8, 8, 8))
    SlidingWindowInferer((24, 24, 12), overlap=0.0)(IMAGE, lambda window: inner(window, double))
    assert told == [(1, 2), (2, 2)]


def test_slices_are_windows(told: Told) -> None:
    """A volume run slice by slice."""
    SliceInferer(roi_size=(24, 24), spatial_dim=2)(IMAGE, double)
    assert told[-1] == (24, 24)


def test_without_a_listener_nothing_is_told(told: Told) -> None:
    """And a bundle that asks for a bar gets none."""
    with counted(lambda *_: None):
        pass
    SlidingWindowInferer((16, 16, 16), progress=True)(IMAGE, double)
    assert told == []


def test_reports_are_at_least_an_interval_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """However fast the windows are."""
    monkeypatch.setattr(windows, "INTERVAL_SECONDS", 2.0)
    ticks = count()
    reports: Told = []
    windows_ = WindowCount(lambda done, total: reports.append((done, total)), lambda: float(next(ticks)))
    assert list(windows_.over(range(0, 7, 1))) == list(range(7))
    assert reports == [(1, 7), (3, 7), (5, 7), (7, 7)]


def test_a_monai_without_its_bar_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress is unknown then, and the bundle runs as ever."""

    def plain() -> None:
        """Stand for the function."""

    monkeypatch.setattr(utils, "sliding_window_inference", plain)
    monkeypatch.delattr(utils, "tqdm")
    make_countable()
    assert utils.sliding_window_inference is plain
