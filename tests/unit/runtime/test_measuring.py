"""Measuring memory at load: how often a model is run for it, and what is kept of the first run."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bedside.bundle.contract import InputFact, derive_inputs
from bedside.bundle.folder import open_bundle
from bedside.bundle.sample import sample_inputs
from bedside.runtime.building import BuiltBundle
from bedside.runtime.engine import BundleEngine
from bedside.runtime.facts import LoadedFacts
from bedside.runtime.loading import item_of
from bedside.runtime.measuring import measure
from bedside.runtime.peak import forget_peak, status_bytes
from bedside.runtime.record_pass import Item
from bedside.runtime.staging import Staging
from bedside.settings import MEBIBYTE
from bedside.types import Prediction

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux: /proc/self/clear_refs")

Build = Callable[[str], BuiltBundle]
FACTS = LoadedFacts((InputFact("image", "image", reader="NibabelReader"),), (), "cpu")


class Counting(BundleEngine):
    """Counts its runs."""

    runs = 0

    def run(self, item: Item) -> Prediction:
        """Run as usual."""
        self.runs += 1
        return super().run(item)


def measured(build: Build, bundles: Path, staging: Staging, *, slow: bool) -> tuple[int, float]:
    """Return the runs made, and what is forecast for one more like the first."""
    folder = open_bundle(bundles / "volume_segmentation")
    engine = Counting(build("volume_segmentation"))
    sample = sample_inputs(derive_inputs(folder.metadata, FACTS.inputs), folder.metadata)
    staged = staging.put(sample)
    engine.warm_up(item_of(sample, staged.paths))
    staged.remove()
    if slow:
        engine.first_seconds, engine.first_peak = 1e6, status_bytes("VmRSS") + 100 * MEBIBYTE
    engine.runs = 0
    need = measure(engine, folder, FACTS, staging, 5.0, 0)
    assert need is not None
    return engine.runs, need.of(sample, 1.0)


def test_a_fast_model_is_run_at_several_sizes(build_one: Build, bundles: Path, staging: Staging) -> None:
    """More than one point, so that base and slope are told apart."""
    runs, forecast = measured(build_one, bundles, staging, slow=False)
    assert runs > 1
    assert forecast > 0


def test_a_slow_model_is_not_run_again(build_one: Build, bundles: Path, staging: Staging) -> None:
    """The first run, which loading makes anyhow, is the one point: at least 8 bytes a voxel, about its 100 MiB here."""
    runs, forecast = measured(build_one, bundles, staging, slow=True)
    assert runs == 0
    assert 50 * MEBIBYTE < forecast <= 101 * MEBIBYTE


def test_the_peak_begins_anew() -> None:
    """What was given back before is no part of the next run's peak."""
    np.ones(64 * MEBIBYTE // 8).sum()
    before = status_bytes("VmHWM")
    forget_peak()
    assert status_bytes("VmHWM") <= before
