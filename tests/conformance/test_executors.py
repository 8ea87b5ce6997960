"""What ``interfaces.Executor`` promises, kept by every executor there is."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import set_track_meta

from bedside.batching.bounded import BoundedExecutor
from bedside.bundle.folder import BundleFolder, open_bundle
from bedside.errors import BedsideError, Draining, InputNotProcessable, LoadFailed, ModelNotReady
from bedside.interfaces import Executor, NotInline
from bedside.runtime.inline import InlineExecutor
from bedside.runtime.process import ProcessExecutor
from bedside.runtime.staging import Staging
from bedside.settings import RuntimeSettings, Settings
from bedside.types import DecodedRecord, ValidatedInputs

Make = Callable[[BundleFolder, RuntimeSettings, Staging], Executor]

EXECUTORS: dict[str, Make] = {
    "inline": InlineExecutor,
    "process": ProcessExecutor,
    "bounded": lambda folder, settings, staging: BoundedExecutor(
        ProcessExecutor(folder, settings, staging), queue_length=1
    ),
}


def record(*values: float, name: str = "features") -> ValidatedInputs:
    """Return a record."""
    return ValidatedInputs((DecodedRecord(name, np.array(values, np.float32), {}),))


@pytest.fixture(params=EXECUTORS)
async def make(
    request: pytest.FixtureRequest, bundles: Path, settings: Settings
) -> AsyncIterator[Callable[[str], Executor]]:
    """Return what makes an executor of a test bundle; whatever it made is closed."""
    staging = Staging(settings.runtime.staging_dir)
    made: list[Executor] = []

    def of(name: str, **changes: Any) -> Executor:
        """Make an executor of a bundle, with some of its settings changed."""
        runtime = settings.runtime.model_copy(update=changes)
        made.append(EXECUTORS[request.param](open_bundle(bundles / name), runtime, staging))
        return made[-1]

    yield of
    for executor in made:
        await executor.close()
    assert list(staging._root.iterdir()) == []
    staging.close()
    set_track_meta(True)


async def test_loading_gives_the_contract_and_readiness(make: Callable[[str], Executor]) -> None:
    """Not ready before, ready after, on a device that is named."""
    executor = make("record_classification")
    assert not executor.ready
    contract = await executor.load()
    assert (executor.ready, executor.device) == (True, "cpu")
    assert (contract.model, contract.version) == ("record_classification", "1.2.0")
    assert [feature.name for feature in contract.inputs[0].features] == ["age", "chol", "thalach"]
    assert contract.outputs[0].labels == {0: "no disease", 1: "disease"}


async def test_the_answer_is_the_same_everywhere(make: Callable[[str], Executor], bundles: Path) -> None:
    """One set of weights, one record, one answer, with the seconds of its stages."""
    weights = torch.load(bundles / "record_classification" / "models" / "model.pt", weights_only=True)
    logits = torch.nn.functional.linear(torch.tensor([0.5, 0.1, 0.0]), weights["weight"], weights["bias"])
    executor = make("record_classification")
    await executor.load()
    prediction = await executor.run(record(5, 1, np.nan), timeout_seconds=60.0)
    (output,) = prediction.arrays
    assert (output.name, str(output.array.dtype), output.array.shape) == ("pred", "float32", (2,))
    np.testing.assert_allclose(output.array, torch.softmax(logits, -1).numpy(), rtol=1e-6)
    assert prediction.seconds["inference"] > 0


async def test_one_request_after_another_is_answered(make: Callable[[str], Executor]) -> None:
    """Each with its own result."""
    executor = make("record_classification")
    await executor.load()
    first, second, again = [
        (await executor.run(record(*values), timeout_seconds=60.0)).arrays[0].array
        for values in ((1, 2, 3), (30, 20, 10), (1, 2, 3))
    ]
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, second)


async def test_an_input_that_preprocessing_refuses_is_told_and_costs_nothing(make: Callable[[str], Executor]) -> None:
    """The class of the error and nothing of its text; the next request is answered."""
    executor = make("record_classification")
    await executor.load()
    with pytest.raises(InputNotProcessable) as caught:
        await executor.run(record(1, name="other"), timeout_seconds=60.0)
    assert caught.value.cause == "KeyError"
    assert executor.ready
    await executor.run(record(1, 2, 3), timeout_seconds=60.0)


async def test_a_bundle_that_cannot_be_built_is_a_bundle_error(make: Callable[[str], Executor]) -> None:
    """With the reason, and it is not ready."""
    executor = make("missing_weights")
    with pytest.raises(LoadFailed, match=r"model\.pt"):
        await executor.load()
    assert not executor.ready


async def test_loading_has_a_bound(make: Callable[..., Executor]) -> None:
    """Nobody waits longer than ``load_seconds``; what cannot be ended where it was tried is for another place."""
    executor = make("record_classification", load_seconds=1e-3)
    with pytest.raises((LoadFailed, NotInline)):
        await executor.load()
    assert not executor.ready


async def test_what_would_hold_others_up_says_so(make: Callable[..., Executor]) -> None:
    """On the event loop a record that takes too long is told when it is loaded; elsewhere it holds nobody up."""
    executor = make("record_classification", inline_seconds=1e-9)
    if not isinstance(executor, InlineExecutor):
        await executor.load()
        await executor.run(record(1, 2, 3), timeout_seconds=60.0)
        return
    with pytest.raises(NotInline, match="too_slow") as caught:
        await executor.load()
    assert not executor.ready
    assert (caught.value.record_seconds or 0) > 1e-9


async def test_nothing_runs_before_loading(make: Callable[[str], Executor]) -> None:
    """ModelNotReady, at once."""
    with pytest.raises(ModelNotReady):
        await make("record_classification").run(record(1, 2, 3), timeout_seconds=60.0)


async def test_nothing_runs_after_closing_until_it_is_loaded_again(make: Callable[[str], Executor]) -> None:
    """Closing twice is no error, and is not the end."""
    executor = make("record_classification")
    await executor.load()
    await executor.close()
    await executor.close()
    assert not executor.ready
    with pytest.raises(BedsideError) as caught:
        await executor.run(record(1, 2, 3), timeout_seconds=60.0)
    assert isinstance(caught.value, ModelNotReady | Draining)
    await executor.load()
    await executor.run(record(1, 2, 3), timeout_seconds=60.0)


async def test_a_network_that_runs_eager_is_not_loaded_again(make: Callable[[str], Executor]) -> None:
    """Asked to run as PyTorch runs it, one that does so says that there was nothing to leave, and goes on answering."""
    executor = make("record_classification")
    await executor.load()
    assert await executor.run_eager() == ""
    await executor.run(record(1, 2, 3), timeout_seconds=60.0)
