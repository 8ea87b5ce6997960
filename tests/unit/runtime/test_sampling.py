"""A sampler is tried in one step and served in all of them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from monai.networks.schedulers import DDIMScheduler, PNDMScheduler

from bedside.bundle.folder import BundleFolder, open_bundle
from bedside.runtime.engine import BundleEngine
from bedside.runtime.facts import LoadedFacts
from bedside.runtime.loading import load
from bedside.runtime.sampling import ONE_STEP, one_step
from bedside.runtime.staging import Staging
from bedside.settings import Settings

STEPS = 5


@pytest.fixture
def loaded(
    tmp_path: Path, settings: Settings, staging: Staging, output_dir: Path
) -> Callable[[str], tuple[BundleEngine, LoadedFacts]]:
    """Return what loads a sampler, given the expression that samples: ``@scheduler`` is set, for five steps."""

    def load_one(sample: str) -> tuple[BundleEngine, LoadedFacts]:
        return load(_sampler(tmp_path / "sampler", sample), settings.runtime, staging, output_dir)

    return load_one


def _sampler(root: Path, sample: str) -> BundleFolder:
    (root / "configs").mkdir(parents=True)
    configuration = {
        "imports": ["$import torch"],
        "scheduler": {"_target_": "monai.networks.schedulers.DDIMScheduler", "num_train_timesteps": 100},
        "set_timesteps": f"$@scheduler.set_timesteps({STEPS})",
        "sample": {"_target_": "torch.nn.Identity", "_requires_": "@set_timesteps"},
        "run": [f"$@sample({sample})"],
    }
    (root / "configs" / "inference.json").write_text(json.dumps(configuration))
    (root / "configs" / "metadata.json").write_text('{"version": "1.0.0"}')
    return open_bundle(root)


def test_loading_takes_one_step_and_requests_take_all(
    loaded: Callable[[str], tuple[BundleEngine, LoadedFacts]],
) -> None:
    """What is served is what the bundle's author wrote; that the trial was shorter is told."""
    engine, facts = loaded("{'steps': @scheduler.timesteps.reshape(-1, 1)}")
    assert facts.shims == (ONE_STEP,)
    assert [fact.shape for fact in facts.outputs] == [(1, 1)]
    for _ in range(2):
        (steps,) = engine.run({}).arrays
        assert steps.array.size == STEPS


def test_a_sampler_whose_code_needs_two_steps_is_tried_in_all(
    loaded: Callable[[str], tuple[BundleEngine, LoadedFacts]],
) -> None:
    """Its first step alone fails, so the run at load is a whole one."""
    engine, facts = loaded("{'second': @scheduler.timesteps[1].reshape(1, 1)}")
    assert facts.shims == ()
    assert len(engine.run({}).arrays) == 1


def test_a_scheduler_that_counts_its_steps_begins_anew() -> None:
    """PNDM keeps what it has seen of a sample; a trial leaves nothing of it behind."""
    scheduler = PNDMScheduler(num_train_timesteps=100)
    with one_step() as shortened:
        scheduler.set_timesteps(STEPS)
        trial = len(scheduler.timesteps)
        scheduler.counter = 7
    fresh = PNDMScheduler(num_train_timesteps=100)
    fresh.set_timesteps(STEPS)
    assert (trial, len(shortened)) == (1, 1)
    assert scheduler.counter == fresh.counter
    assert scheduler.timesteps.tolist() == fresh.timesteps.tolist()


def test_a_trial_that_fails_leaves_schedulers_as_they_were() -> None:
    """Whatever is raised within, the classes are MONAI's own behind it."""
    before = DDIMScheduler.set_timesteps
    with pytest.raises(ZeroDivisionError), one_step():
        raise ZeroDivisionError
    assert DDIMScheduler.set_timesteps is before
