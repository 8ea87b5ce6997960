"""Memory of real model processes: forecast, refused, bounded."""

import shutil
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.integration.processes import loaded

from bedside.bundle.folder import open_bundle
from bedside.bundle.sample import sample_inputs
from bedside.errors import MemoryLimitExceeded, ModelOutOfMemory
from bedside.runtime.memory import MemoryBudget
from bedside.runtime.process import ProcessExecutor
from bedside.settings import MEBIBYTE, Settings
from bedside.types import DecodedImage, DecodedRecord, ValidatedInputs

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux: /proc/self/clear_refs")

Serve = Callable[[Path, MemoryBudget], AbstractAsyncContextManager[ProcessExecutor]]


@pytest.fixture
def serve(settings: Settings) -> Serve:
    """Return what loads a bundle within a budget; one size alone, which is a guess, is measured on no machine."""
    runtime = settings.runtime.model_copy(update={"forecast_seconds": 60.0})
    return lambda root, budget: loaded(root, runtime, budget=budget)


async def test_a_volume_that_can_never_fit_is_refused_before_it_is_written(bundles: Path, serve: Serve) -> None:
    """The forecast comes from measured runs; the message says what would fit, and what fits is served."""
    folder, budget = open_bundle(bundles / "volume_segmentation"), MemoryBudget(2048)
    async with serve(folder.root, budget) as executor:
        need = executor.memory
        assert need is not None
        assert need.by_volume  # the bundle has Spacingd
        assert need.per_voxel >= 8
        assert budget.capacity < 2048 * MEBIBYTE
        inputs = sample_inputs((await executor.load()).inputs, folder.metadata)
        (image,) = inputs.items
        assert isinstance(image, DecodedImage)
        huge = replace(image, shape=(4000, 4000, 4000))
        with pytest.raises(MemoryLimitExceeded, match="voxels at 1 mm fit") as caught:
            await executor.run(ValidatedInputs((huge,)), timeout_seconds=60)
        assert caught.value.field == image.name
        prediction = await executor.run(inputs, timeout_seconds=60)
        assert prediction.arrays[0].array.shape == image.shape
    assert (budget.reserved, budget.capacity) == (0, 2048 * MEBIBYTE)


async def test_a_model_that_takes_more_than_was_forecast_fails_its_own_request(
    bundles: Path, serve: Serve, tmp_path: Path
) -> None:
    """It gets MemoryError instead of the kernel's signal, says so, and answers the next request."""
    root = tmp_path / "greedy"
    shutil.copytree(bundles / "misbehaving", root)
    (root / "scripts" / "network.py").write_text(
        "import torch\nclass Misbehaving(torch.nn.Linear):\n    def forward(self, x):\n"
        "        if round(float(x[0, 0]) * 10) == 101:\n            x = x + torch.ones(1 << 29).sum()\n"
        "        return super().forward(x)\n"
    )
    async with serve(root, MemoryBudget(1024)) as executor:
        before = set(executor._all)
        greedy, modest = (
            ValidatedInputs((DecodedRecord("features", np.array([first, 1, 1], np.float32), {}),)) for first in (101, 5)
        )
        with pytest.raises(ModelOutOfMemory):
            await executor.run(greedy, timeout_seconds=60)
        await executor.run(modest, timeout_seconds=60)
        assert set(executor._all) == before
