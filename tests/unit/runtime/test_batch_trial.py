"""Whether items may share a run: tried at load, and refused with a reason where company changes an answer."""

import io
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bedside.bundle.contract import derive_inputs
from bedside.bundle.folder import BundleFolder, open_bundle
from bedside.bundle.sample import sample_inputs
from bedside.errors import InputNotProcessable, ModelFailure, RunFailed
from bedside.runtime import batch_trial
from bedside.runtime.batch_pass import CannotShare
from bedside.runtime.batch_trial import _require_same, try_batches
from bedside.runtime.engine import BundleEngine
from bedside.runtime.facts import WHY_ALONE, Batches, LoadedFacts
from bedside.runtime.loading import item_of, load
from bedside.runtime.staging import Staging
from bedside.settings import RuntimeSettings, Settings
from bedside.types import DecodedImage, OutputArray, Prediction, ValidatedInputs


@dataclass
class Loaded:
    """A bundle that is loaded, with what it takes to try it."""

    folder: BundleFolder
    engine: BundleEngine
    facts: LoadedFacts
    staging: Staging
    settings: RuntimeSettings

    def batches(self, **settings: Any) -> Batches:
        """Try batches."""
        return try_batches(
            self.engine, self.folder, self.facts, self.staging, self.settings.model_copy(update=settings)
        )

    def item(self, seed: int, **changes: Any) -> dict[str, Any]:
        """Return a made-up item."""
        specs = derive_inputs(self.folder.metadata, self.facts.inputs)
        sample = sample_inputs(specs, self.folder.metadata, seed=seed)
        if changes:
            (image,) = sample.items
            assert isinstance(image, DecodedImage)
            sample = ValidatedInputs((replace(image, **changes),))
        return item_of(sample, self.staging.put(sample).paths)


Open = Callable[[str], Loaded]


@pytest.fixture
def opened(
    bundles: Path, settings: Settings, staging: Staging, output_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> Open:
    """Return what loads a test bundle by name, as its own process would. Any gain is gain enough: machines are busy."""
    monkeypatch.setattr(batch_trial, "_LEAST_GAIN", 0.0)
    monkeypatch.setattr(batch_trial, "_SLOW_SECONDS", 1e6)

    def open_one(name: str) -> Loaded:
        monkeypatch.setattr(sys, "path", [str(bundles / name), *sys.path])
        folder = open_bundle(bundles / name)
        runtime = settings.runtime.model_copy(update={"batch_budget_ms": 1e6})
        return Loaded(folder, *load(folder, runtime, staging, output_dir), staging, runtime)

    return open_one


def picture(value: int, side: int = 16) -> bytes:
    """Return a PNG of one grey."""
    stream = io.BytesIO()
    Image.new("L", (side, side), value).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize("name", ["plane_classification", "fragile_pictures"])
def test_pictures_share_a_run_and_each_is_answered_as_alone(opened: Open, name: str, staging: Staging) -> None:
    """With a saver and without; whatever the company, an item has its own answer, and nothing is left staged."""
    loaded = opened(name)
    batches = loaded.batches()
    assert (batches.why, batches.size > 1) == ("", True)
    assert list(staging._root.iterdir()) == []
    items = [loaded.item(seed) for seed in range(5)]
    alone = [loaded.engine.run(item).arrays for item in items]
    for order in ([0, 1, 2, 3, 4], [4, 2], [3, 3, 0]):
        together = loaded.engine.run_batch([items[number] for number in order])
        for number, prediction in zip(order, together, strict=True):
            assert isinstance(prediction, Prediction)
            _require_same(Prediction(alone[number]), prediction._replace(values={}))


def test_a_shared_run_is_one_call_of_the_network(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is batched is the network, and its time is shared out."""
    loaded = opened("fragile_pictures")
    loaded.batches()
    network, sizes = loaded.engine._built.evaluator.network, []
    network.register_forward_pre_hook(lambda _network, inputs: sizes.append(len(inputs[0])))
    predictions = loaded.engine.run_batch([loaded.item(seed) for seed in range(4)])
    assert sizes == [4]
    assert (
        len({prediction.seconds["inference"] for prediction in predictions if isinstance(prediction, Prediction)}) == 1
    )


def test_of_a_batch_only_the_item_that_raises_fails(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """The batch is halved until the culprit is alone; seven right answers, one error."""
    loaded = opened("fragile_pictures")
    loaded.batches()
    items = [loaded.item(seed) for seed in range(8)]
    items[5] = loaded.item(5, payload=picture(210))
    expected = [loaded.engine.run(item).arrays[0].array for item in items if item is not items[5]]
    outcomes = loaded.engine.run_batch(items)
    failed = outcomes.pop(5)
    assert isinstance(failed, RunFailed)
    assert failed.cause == "ValueError"
    for outcome, array in zip(outcomes, expected, strict=True):
        assert isinstance(outcome, Prediction)
        np.testing.assert_allclose(outcome.arrays[0].array, array, rtol=1e-5)


def test_an_item_that_cannot_be_prepared_is_left_out(opened: Open) -> None:
    """A file that the bundle's reader refuses fails before the network; the others share its run."""
    loaded = opened("fragile_pictures")
    loaded.batches()
    sizes: list[int] = []
    loaded.engine._built.evaluator.network.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    outcomes = loaded.engine.run_batch([loaded.item(0), loaded.item(1, payload=b"no picture"), loaded.item(2)])
    assert [type(outcome) for outcome in outcomes] == [Prediction, InputNotProcessable, Prediction]
    assert sizes == [2]


def test_items_of_two_shapes_do_not_share_a_call(opened: Open) -> None:
    """They may come together; each shape has its own call, and the answers keep their order."""
    loaded = opened("fragile_pictures")
    loaded.batches()
    outcomes = loaded.engine.run_batch(
        [loaded.item(0), loaded.item(1, payload=picture(5, side=20)), loaded.item(2), loaded.item(3)]
    )
    shapes = [outcome.arrays[0].array.shape[:2] for outcome in outcomes if isinstance(outcome, Prediction)]
    assert shapes == [(16, 16), (20, 20), (16, 16), (16, 16)]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("pictures_compared", "answers_differ"),
        ("volume_segmentation", "volumes"),
        ("record_classification", "lean_records"),
        ("writing_files", "files"),
        ("sampler", "several_iterations"),
    ],
)
def test_what_cannot_share_runs_alone_and_says_why(opened: Open, name: str, why: str) -> None:
    """A network that looks at the whole batch, a volume, a record that costs nothing, files, runs of its own."""
    loaded = opened(name)
    batches = loaded.batches()
    assert batches == Batches(why=why)
    assert why in WHY_ALONE
    assert loaded.engine._together is None


def test_a_run_beyond_the_budget_is_not_shared(opened: Open) -> None:
    """Where one alone takes longer than sharing may add, items are better done in turn."""
    assert opened("plane_classification").batches(batch_budget_ms=1e-3).why == "slow"


def test_a_slow_model_is_not_run_again(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """What its first run took, which loading makes anyhow, is enough to know."""
    loaded = opened("plane_classification")
    loaded.engine.first_seconds = 1e7
    monkeypatch.setattr(loaded.engine, "run", lambda _item: pytest.fail("it was run again"))
    assert loaded.batches().why == "slow"


def test_what_does_not_help_is_switched_off(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Measured, not assumed."""
    monkeypatch.setattr(batch_trial, "_LEAST_GAIN", 1e9)
    assert opened("plane_classification").batches().why == "no_gain"


def test_it_can_be_switched_off(opened: Open) -> None:
    """A batch of one is none."""
    assert opened("plane_classification").batches(batch_size=1) == Batches(why="switched_off")


def test_a_trial_that_takes_long_is_cut_short(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Larger sizes are not tried once the time is over."""
    monkeypatch.setattr(batch_trial, "_TRIAL_SECONDS", 0.0)
    assert opened("plane_classification").batches().size == 2


def test_an_evaluator_that_answers_for_the_batch_as_a_whole_is_refused(opened: Open) -> None:
    """Without a result for each item nobody can tell whose is whose."""
    loaded = opened("plane_classification")
    loaded.engine._built.evaluator._iteration = lambda *_: {"pred": np.zeros(2)}
    loaded.engine.share()
    with pytest.raises(CannotShare, match="no_result_each"):
        loaded.engine.run_together([loaded.item(0), loaded.item(1)])


def test_made_up_items_that_fail_show_nothing(opened: Open) -> None:
    """Where they cannot be prepared, or fail together, items go on alone."""
    loaded = opened("fragile_pictures")
    loaded.engine.share()
    with pytest.raises(CannotShare, match="not_prepared"):
        loaded.engine.run_together([{"image": "/nowhere.png"}])
    with pytest.raises(CannotShare, match="fails_together"):
        loaded.engine.run_together([loaded.item(0), loaded.item(0, payload=picture(210))])


def test_differences_are_told() -> None:
    """Another number of results, or other values, are no agreement."""
    one = Prediction((OutputArray("a", np.zeros(2, np.float32)),))
    with pytest.raises(CannotShare):
        _require_same(one, Prediction(()))
    with pytest.raises(CannotShare):
        _require_same(one, one._replace(values={"class": 1}))
    _require_same(one, one)


def test_a_failure_alone_is_a_failure(opened: Open) -> None:
    """A batch of one is a run like any other."""
    (outcome,) = opened("fragile_pictures").engine.run_batch([{"image": "/nowhere.png"}])
    assert isinstance(outcome, ModelFailure)
