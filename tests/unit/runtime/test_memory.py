"""Forecasts of memory, and the budget that requests wait for."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from bedside.errors import MemoryLimitExceeded
from bedside.runtime import memory
from bedside.runtime.memory import MemoryBudget, MemoryNeed, fit, memory_limit, voxels
from bedside.settings import MEBIBYTE
from bedside.types import DecodedImage, DecodedRecord, ValidatedInputs

NEED = MemoryNeed(resident=0, base=MEBIBYTE, per_voxel=100.0)


def image(*shape: int, millimetres: float = 1.0) -> ValidatedInputs:
    """Return a volume of that shape."""
    affine = np.diag([millimetres, millimetres, millimetres, 1.0])
    return ValidatedInputs((DecodedImage("ct", b"", ".nii", shape, 3, 1, "int16", affine),))


@given(st.lists(st.tuples(st.integers(1, 10**9), st.integers(0, 10**11)), min_size=1, max_size=6))
def test_no_measured_point_lies_above_the_line(points: list[tuple[int, int]]) -> None:
    """Whatever was measured, the forecast for the same size is at least that, but for the rounding."""
    base, slope = fit(points)
    assert base >= 0
    assert slope >= 0
    assert all(base + slope * count >= taken - 1 - taken * 1e-9 for count, taken in points)


def test_a_line_is_found_in_spite_of_one_odd_point() -> None:
    """The slope is that of most pairs."""
    points = [(count, 1000 + 8 * count) for count in (100, 200, 300, 400)]
    assert fit(points) == (1000, 8.0)
    _, slope = fit([*points, (250, 9000)])
    assert slope == pytest.approx(8.0, rel=0.2)


def test_one_point_gives_a_line_through_zero() -> None:
    """Too steep rather than too flat."""
    assert fit([(100, 5000)]) == (0, 50.0)
    assert fit([(100, 5000), (100, 6000)]) == (0, 60.0)


@given(st.integers(1, 500), st.integers(1, 500))
def test_a_larger_input_is_never_forecast_to_need_less(one: int, other: int) -> None:
    """The forecast grows with the voxels."""
    small, large = sorted((one, other))
    assert NEED.of(image(small, 8, 8), 1.5) <= NEED.of(image(large, 8, 8), 1.5)


def test_voxels_are_counted_at_one_millimetre_where_the_bundle_resamples() -> None:
    """Thick slices become many; fine voxels are all read before they become fewer."""
    assert voxels(image(10, 10, 10, millimetres=2.0), by_volume=True) == 8000
    assert voxels(image(10, 10, 10, millimetres=2.0), by_volume=False) == 1000
    assert voxels(image(10, 10, 10, millimetres=0.5), by_volume=True) == 1000
    record = DecodedRecord("age", np.zeros(1, np.float32), {})
    assert voxels(ValidatedInputs((record,)), by_volume=True) == 0


@pytest.mark.parametrize("amount", [-1, float("nan"), float("inf"), "much", None])
def test_a_process_cannot_tell_a_need_that_is_none(amount: object) -> None:
    """What it says is reckoned with, so it must be an amount."""
    told = {"resident": 0, "base": 0, "per_voxel": 1.0, "by_volume": False, "guessed": False}
    adapter = TypeAdapter(MemoryNeed)
    assert adapter.validate_python(told) == MemoryNeed(per_voxel=1.0)
    with pytest.raises(ValueError, match="per_voxel"):
        adapter.validate_python({**told, "per_voxel": amount})


def test_a_guess_refuses_nothing() -> None:
    """Of a slow model one size alone was seen: a request that might not fit runs alone, and its process has a limit."""
    budget = MemoryBudget(10)
    guessed = MemoryNeed(per_voxel=100.0, guessed=True)
    assert budget.check(guessed, image(100, 100, 100), 1.0) == budget.capacity
    assert budget.check(guessed, image(8, 8, 8), 1.0) == 51200


def test_what_can_never_fit_is_refused_with_what_would() -> None:
    """The field, the limit, and how many voxels may come; the answer is 413 (docs/isolation.md)."""
    budget = MemoryBudget(10)
    assert budget.check(NEED, image(8, 8, 8), 1.0) == MEBIBYTE + 51200
    with pytest.raises(
        MemoryLimitExceeded, match=r"about 94371 voxels fit .* is 10\), and this input has 1000000"
    ) as caught:
        budget.check(NEED, image(100, 100, 100), 1.0)
    assert caught.value.field == "ct"
    most = NEED.most_voxels(budget.capacity, 1.0)
    assert budget.check(NEED, image(most, 1, 1), 1.0) <= budget.capacity


def test_what_loaded_models_hold_is_not_there_for_requests() -> None:
    """And is again once they are unloaded."""
    budget, owner = MemoryBudget(10), object()
    budget.settle(owner, 4 * MEBIBYTE)
    assert budget.capacity == 6 * MEBIBYTE
    budget.settle(owner, 0)
    budget.settle(owner, 0)
    assert budget.capacity == 10 * MEBIBYTE


async def test_requests_wait_in_the_order_of_their_arrival() -> None:
    """A small one does not overtake a large one, which else might wait for ever."""
    budget, order = MemoryBudget(10), list[str]()

    async def run(name: str, mib: int) -> None:
        """Reserve and note it."""
        await budget.reserve(mib * MEBIBYTE)
        order.append(name)

    await run("running", 6)
    large = asyncio.ensure_future(run("large", 8))
    await asyncio.sleep(0)
    small = asyncio.ensure_future(run("small", 1))
    await asyncio.sleep(0)
    assert order == ["running"]
    budget.release(6 * MEBIBYTE)
    await asyncio.gather(large, small)
    assert order == ["running", "large", "small"]
    assert budget.reserved == 9 * MEBIBYTE


@pytest.mark.parametrize("granted", [False, True])
async def test_who_goes_away_while_waiting_holds_up_nobody(granted: bool) -> None:  # noqa: FBT001 - parametrised
    """Also when the memory came at the very moment."""
    budget = MemoryBudget(10)
    await budget.reserve(8 * MEBIBYTE)
    gone = asyncio.ensure_future(budget.reserve(9 * MEBIBYTE))
    await asyncio.sleep(0)
    waiting = asyncio.ensure_future(budget.reserve(2 * MEBIBYTE))
    await asyncio.sleep(0)
    if granted:
        budget.release(8 * MEBIBYTE)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    await waiting
    assert budget.reserved == (2 if granted else 10) * MEBIBYTE


async def test_one_alone_may_always_run() -> None:
    """It was checked when it came; a model that was loaded since must not leave it waiting for ever."""
    budget = MemoryBudget(10)
    await budget.reserve(20 * MEBIBYTE)
    assert budget.reserved == 20 * MEBIBYTE


@pytest.mark.parametrize(
    ("meminfo", "limits", "expected"),
    [
        ("MemAvailable: 1048576 kB", ["max", None], 819),
        ("MemAvailable: 1048576 kB", ["536870912", None], 409),
        ("MemAvailable: 1048576 kB", [None, "9223372036854771712"], 819),
        (None, ["max", None], 3276),
        ("nothing known", [None, "268435456"], 204),
    ],
)
def test_the_limit_comes_from_the_container_or_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, meminfo: str | None, limits: list[str | None], expected: int
) -> None:
    """Control groups of both versions; a share is left for the server."""
    paths = [tmp_path / "meminfo", tmp_path / "memory.max", tmp_path / "memory.limit_in_bytes"]
    for path, text in zip(paths, (meminfo, *limits), strict=True):
        if text is not None:
            path.write_text(text)
    monkeypatch.setattr(memory, "_MEMINFO", paths[0])
    monkeypatch.setattr(memory, "_LIMITS", tuple(paths[1:]))
    assert memory_limit(0) == expected
    assert memory_limit(512) == 512
