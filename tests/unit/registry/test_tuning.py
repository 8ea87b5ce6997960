"""Which way of running a network is kept: the fastest of those that agree with eager, on golden cases or a sample."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.unit.registry.test_golden import CONTRACT, Executor, case

from bedside.bundle.contract import Contract
from bedside.bundle.folder import BundleFolder
from bedside.bundle.metadata import Metadata
from bedside.bundle.policy import Policy
from bedside.bundle.tuned import Machine
from bedside.codecs import Codecs
from bedside.errors import LoadFailed, RunFailed
from bedside.registry import tuning
from bedside.registry.tuning import Measured, Tuning, tune
from bedside.runtime.facts import Acceleration
from bedside.settings import ACCELERATIONS, LimitSettings
from bedside.types import Prediction, ValidatedInputs

MACHINE = Machine("2.13.0", "EPYC", 1)


class Quick(Executor):
    """Answers as the way that it was loaded with does: each ``off`` by something, after ``ticks`` of the test's clock.

    Args:
        clock: the test's.
        ticks: what a run takes.
        off: what is added to the disease's probability.
    """

    def __init__(self, clock: list[float], acceleration: Acceleration, ticks: float, off: float) -> None:
        self.clock, self.acceleration, self.ticks, self.off = clock, acceleration, ticks, off

    async def run(self, inputs: ValidatedInputs, *, timeout_seconds: float) -> Prediction:
        """Answer."""
        self.clock[0] += self.ticks
        found = await super().run(inputs, timeout_seconds=timeout_seconds)
        (array,) = found.arrays
        return Prediction((array._replace(stored=array.stored + np.float32(self.off)),))


class Site:
    """Loads the bundle in each way, with what the test says of some of them: ticks and how far it is off, or a failure.

    All others cannot be had.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **ways: tuple[float, float] | Exception) -> None:
        self.clock = [0.0]
        self.ways = {"off": (1.0, 0.0), **ways}
        monkeypatch.setattr(tuning, "perf_counter", lambda: self.clock[0])

    @asynccontextmanager
    async def load(self, name: str) -> AsyncIterator[tuple[Quick, Contract]]:
        """Load."""
        way: Any = self.ways.get(name)
        if isinstance(way, LoadFailed):
            raise way
        if way is None:
            missing = Acceleration(why="not_installed", detail="pip install", machine=MACHINE)
            yield Quick(self.clock, missing, 1.0, 0.0), CONTRACT
            return
        ticks, off = (1.0, 0.0) if isinstance(way, Exception) else way
        found = Acceleration("eager" if name == "off" else name, machine=MACHINE)
        executor = Quick(self.clock, found, ticks, off)
        executor.error = way if isinstance(way, Exception) else None
        yield executor, CONTRACT


@pytest.fixture
def folder(tmp_path: Path) -> BundleFolder:
    """Return a bundle with one golden case, which tolerates 0.001."""
    (tmp_path / "golden").mkdir()
    (tmp_path / "golden" / "cases.json").write_text(json.dumps([case("fifty", 50, 0.5)]))
    return BundleFolder(tmp_path, "heart", Metadata(version="1.0.0"), Policy(), "sha256:0")


async def tuned(folder: BundleFolder, site: Site) -> tuple[Tuning, dict[str, Measured]]:
    """Tune; return what was measured, also by way."""
    found = await tune(folder, site.load, Codecs(LimitSettings()), rounds=3, seconds=60)
    assert tuple(way.name for way in found.ways) == ACCELERATIONS
    return found, {way.name: way for way in found.ways}


async def test_the_fastest_that_agrees_is_chosen(folder: BundleFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bound to the files and the machine; what cannot be had says why."""
    found, ways = await tuned(folder, Site(monkeypatch, freeze=(0.5, 0.0), openvino=(0.25, 0.0005)))
    assert found.choice is not None
    assert (found.choice.acceleration, found.choice.ratio) == ("openvino", 4.0)
    assert found.choice.holds_for("sha256:0", MACHINE)
    assert (found.inputs, found.eager_seconds) == (("fifty",), 1.0)
    assert (ways["freeze"].seconds, ways["freeze"].equal, ways["openvino"].equal) == (0.5, 1.0, 0.0)
    assert (ways["bf16"].why, ways["bf16"].remarks) == ("not_installed", ("pip install",))


async def test_a_way_that_changes_the_answer_is_not_kept(folder: BundleFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """However fast it is: what the golden case tolerates is the measure."""
    found, ways = await tuned(folder, Site(monkeypatch, freeze=(0.5, 0.0), bf16=(0.01, 0.002)))
    assert found.choice is not None
    assert found.choice.acceleration == "freeze"
    assert not ways["bf16"].kept
    assert "differ by more than 0.001" in ways["bf16"].remarks[0]


async def test_without_golden_cases_only_rounding_may_differ(
    folder: BundleFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a made-up sample."""
    (folder.root / "golden" / "cases.json").unlink()
    found, ways = await tuned(folder, Site(monkeypatch, freeze=(0.5, 1e-7), bf16=(0.01, 0.0005)))
    assert found.inputs == ()
    assert found.choice is not None
    assert found.choice.acceleration == "freeze"
    assert ways["bf16"].remarks == ("pred: not eager's",)


async def test_a_case_whose_input_is_not_at_hand_is_left_out(
    folder: BundleFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes in a package that is not installed."""
    missing = case("head", 50, 0.5)
    missing["inputs"] = {"features": {"package": "no_such_package", "path": "head.nii"}}
    (folder.root / "golden" / "cases.json").write_text(json.dumps([missing, case("fifty", 50, 0.5)]))
    found, _ = await tuned(folder, Site(monkeypatch))
    assert found.inputs == ("fifty",)


async def test_what_gains_little_or_fails_is_not_chosen(folder: BundleFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth is the least; a way that does not load or run is told."""
    failed: Exception = RunFailed(cause="ValueError", where="")
    site = Site(monkeypatch, freeze=(0.95, 0.0), openvino=LoadFailed("no"), bf16=failed)
    found, ways = await tuned(folder, site)
    assert found.choice is None
    assert not ways["freeze"].kept
    assert (ways["openvino"].why, ways["openvino"].remarks) == ("not_made", ("no",))
    assert ways["bf16"].why == "not_made"
