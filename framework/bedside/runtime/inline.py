"""Runs a bundle on the server's event loop: for records, where a hop to another process costs more than the model.

The price is isolation, so it is asked for (``execution = "inline"`` in ``bedside.toml``) and granted only to bundles
that are pure configuration and take one record; see docs/decisions/0003-processes-and-inline.md.
"""

import asyncio
import shutil
from typing import TYPE_CHECKING

from bedside.bundle.contract import Contract
from bedside.bundle.folder import BundleFolder
from bedside.errors import ModelNotReady
from bedside.observability.logging import adopt_loggers
from bedside.runtime.assembly import assemble
from bedside.runtime.facts import EAGER
from bedside.runtime.staging import Staging
from bedside.settings import RuntimeSettings
from bedside.types import DecodedRecord, Prediction, ValidatedInputs

if TYPE_CHECKING:
    from pathlib import Path

    from bedside.runtime.engine import BundleEngine


class InlineExecutor:
    """Stages 6 and 7 in the server's own process; there is no queue. Implements ``interfaces.Executor``."""

    def __init__(self, folder: BundleFolder, settings: RuntimeSettings, staging: Staging) -> None:
        self._folder = folder
        self._settings = settings
        self._staging = staging
        self._engine: BundleEngine | None = None
        self._output_dir: Path | None = None
        self._device = ""
        self._acceleration = EAGER

    @property
    def ready(self) -> bool:
        """Tell whether the model is loaded."""
        return self._engine is not None

    @property
    def device(self) -> str:
        """Return the device that the network is on."""
        return self._device

    @property
    def concurrency(self) -> int:
        """Return 1: there is one event loop."""
        return 1

    async def load(self) -> Contract:
        """Build the bundle in a thread, so that the server goes on answering. Raises LoadFailed."""
        return await asyncio.to_thread(self._load)

    async def run_eager(self) -> str:
        """Build the bundle again without acceleration; see ``interfaces.Executor.run_eager``."""
        left = "" if self._acceleration == EAGER else self._acceleration
        if left:
            await self.close()
            self._settings = self._settings.model_copy(update={"acceleration": "off"})
            await self.load()
        return left

    async def run(self, inputs: ValidatedInputs, *, timeout_seconds: float) -> Prediction:  # noqa: ARG002
        """Run one record; it costs less than a time-out could notice."""
        if self._engine is None:
            raise ModelNotReady
        return self._engine.run({item.name: item.values for item in inputs.items if isinstance(item, DecodedRecord)})

    async def close(self) -> None:
        """Forget the model."""
        self._engine = None
        if self._output_dir is not None:
            shutil.rmtree(self._output_dir, ignore_errors=True)

    def _load(self) -> Contract:
        from bedside.runtime.loading import load  # noqa: PLC0415 - torch only where a model runs in this process

        self._output_dir = self._staging.folder()
        adopt_loggers()  # those that MONAI brought; before it says its first word
        try:
            engine, facts = load(self._folder, self._settings, self._staging, self._output_dir)
        finally:
            adopt_loggers()  # those that the bundle's own components brought
        self._device, self._acceleration = facts.device, facts.acceleration.name
        self._engine = engine
        return assemble(self._folder, facts)
