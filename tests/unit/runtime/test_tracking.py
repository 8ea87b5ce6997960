"""Metadata is left out by the thread that asks for it, and by no other."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from monai.data import MetaTensor, get_track_meta, set_track_meta
from monai.transforms import EnsureType

from bedside.runtime.building import BuiltBundle
from bedside.runtime.engine import BundleEngine
from bedside.runtime.record_pass import RecordGraph, RecordSteps
from bedside.runtime.tracking import untracked


def tracked() -> bool:
    """Tell whether a transform of MONAI's gives a tensor with metadata."""
    return isinstance(EnsureType()(np.zeros(3)), MetaTensor)


def test_another_thread_keeps_its_metadata() -> None:
    """One model is loaded in a thread while another answers."""
    with untracked(), ThreadPoolExecutor(1) as other:
        assert not tracked()
        assert other.submit(tracked).result()
    assert tracked()


def test_it_ends_with_its_outermost_block() -> None:
    """A recording may run another."""
    with untracked():
        with untracked():
            pass
        assert not tracked()
    assert tracked()


def test_it_ends_where_a_step_raises() -> None:
    """A record that is refused changes nothing for the next."""
    with pytest.raises(ZeroDivisionError), untracked():
        _ = 1 / 0
    assert tracked()


def test_a_bundle_that_tracks_nothing_goes_on_so() -> None:
    """What its own code set for the process stays set."""
    set_track_meta(False)
    with untracked():
        assert not tracked()
    assert not get_track_meta()
    set_track_meta(True)
    with untracked():
        assert not tracked()
    assert tracked()


@pytest.mark.parametrize("way", [RecordGraph, RecordSteps])
def test_a_lean_way_leaves_other_models_their_metadata(
    build_one: Callable[[str], BuiltBundle], way: type[RecordGraph | RecordSteps]
) -> None:
    """Several models for records share the server's process, and each is compared with its usual way."""
    record = {"features": np.array([5, 1, 1], np.float32)}
    lean = way(build_one("record_classification"), record)
    assert tracked()
    lean(dict(record))
    assert tracked()


def test_a_trial_of_the_lean_ways_leaves_metadata(build_one: Callable[[str], BuiltBundle]) -> None:
    """Whether one is taken or none."""
    engine = BundleEngine(build_one("record_classification"))
    assert engine.use_record_pass([{"features": np.array([5, 1, 1], np.float32)}])
    assert tracked()
