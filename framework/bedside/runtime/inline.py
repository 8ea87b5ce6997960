"""Runs a bundle on the server's event loop: for records, where a hop to another process costs more than the model.

The price is isolation, so it is asked for (``execution = "inline"`` in ``bedside.toml``) and granted only to bundles
that are pure configuration, take records and are quick; see docs/decisions/0158-inline-is-measured.md.
"""

import asyncio
import shutil
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

from bedside.bundle.contract import Contract
from bedside.bundle.folder import BundleFolder
from bedside.errors import ModelNotReady
from bedside.interfaces import NotInline
from bedside.observability.logging import adopt_loggers
from bedside.runtime.assembly import assemble
from bedside.runtime.facts import EAGER
from bedside.runtime.staging import Staging
from bedside.settings import RuntimeSettings
from bedside.types import DecodedRecord, Prediction, ValidatedInputs

if TYPE_CHECKING:
    from pathlib import Path

    from bedside.runtime.engine import BundleEngine
    from bedside.runtime.record_pass import Item

_FEW_ROUNDS, _ROUNDS = 3, 9
_MACHINERY_SECONDS = 0.1
"""More than the evaluator's machinery costs on a busy machine: a first run that takes longer is the network's own."""


class InlineExecutor:
    """Stages 6 and 7 in the server's own process; there is no queue. Implements ``interfaces.Executor``.

    Args:
        folder: the bundle.
        settings: among them what a record may take (``runtime.inline_seconds``).
        staging: where what it writes goes.
        on_load: told what a record takes, in seconds, once the model is loaded.
    """

    def __init__(
        self,
        folder: BundleFolder,
        settings: RuntimeSettings,
        staging: Staging,
        on_load: Callable[[float], None] = lambda _record_seconds: None,
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._staging = staging
        self._on_load = on_load
        self._engine: BundleEngine | None = None
        self._output_dir: Path | None = None
        self._sample: Item = {}
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
        """Build the bundle in a thread, so that the server goes on answering. Raises LoadFailed, NotInline."""
        try:
            async with asyncio.timeout(self._settings.load_seconds):
                contract, self._engine, record_seconds = await asyncio.to_thread(self._load)
        except TimeoutError:  # a thread cannot be ended, a process can
            raise NotInline("too_slow") from None
        self._on_load(record_seconds)
        return contract

    async def run_eager(self) -> str:
        """Build the bundle again without acceleration; see ``interfaces.Executor.run_eager``."""
        left = "" if self._acceleration == EAGER else self._acceleration
        if left:
            await self.close()
            self._settings = self._settings.model_copy(update={"acceleration": "off"})
            await self.load()
        return left

    async def run(self, inputs: ValidatedInputs, *, timeout_seconds: float) -> Prediction:  # noqa: ARG002
        """Run one record, without a time-out: loading has shown that it keeps to ``runtime.inline_seconds``."""
        if self._engine is None:
            raise ModelNotReady
        return self._engine.run({item.name: item.values for item in inputs.items if isinstance(item, DecodedRecord)})

    async def close(self) -> None:
        """Forget the model."""
        self._engine = None
        if self._output_dir is not None:
            shutil.rmtree(self._output_dir, ignore_errors=True)

    def _load(self) -> "tuple[Contract, BundleEngine, float]":
        from bedside.runtime.loading import load  # noqa: PLC0415 - torch only where a model runs in this process

        self._output_dir = self._staging.folder()
        adopt_loggers()  # those that MONAI brought; before it says its first word
        try:
            engine, facts = load(self._folder, self._settings, self._staging, self._output_dir, self._look)
        finally:
            adopt_loggers()  # those that the bundle's own components brought
        self._device, self._acceleration = facts.device, facts.acceleration.name
        seconds = _record_seconds(engine, self._sample, _ROUNDS)
        if seconds > self._settings.inline_seconds:
            raise NotInline("too_slow", seconds)
        return assemble(self._folder, facts), engine, seconds

    def _look(self, engine: "BundleEngine", sample: ValidatedInputs) -> None:
        """Raise NotInline where records are not what it takes, or its network alone takes too long for the loop."""
        self._sample = {item.name: item.values for item in sample.items if isinstance(item, DecodedRecord)}
        if len(self._sample) < len(sample.items):
            raise NotInline("not_records")
        seconds = _record_seconds(engine, self._sample, _FEW_ROUNDS)
        if seconds > self._settings.inline_seconds + _MACHINERY_SECONDS:
            raise NotInline("too_slow", seconds)


def _record_seconds(engine: "BundleEngine", item: "Item", rounds: int) -> float:
    """Return the median of so many runs; the first one, which is slower, has been made."""
    times = []
    for _ in range(rounds):
        begin = perf_counter()
        engine.run(item)
        times.append(perf_counter() - begin)
    return median(times)
