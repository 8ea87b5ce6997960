"""Bundles in processes of their own, for as long as a block lasts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bedside.bundle.folder import open_bundle
from bedside.runtime.memory import MemoryBudget
from bedside.runtime.process import ProcessEvents, ProcessExecutor
from bedside.runtime.staging import Staging
from bedside.settings import RuntimeSettings


@asynccontextmanager
async def loaded(
    root: Path,
    settings: RuntimeSettings,
    events: ProcessEvents | None = None,
    budget: MemoryBudget | None = None,
    **changes: object,
) -> AsyncIterator[ProcessExecutor]:
    """Load a bundle with these settings, some of them changed, and end it again."""
    staging = Staging(settings.staging_dir)
    executor = ProcessExecutor(open_bundle(root), settings.model_copy(update=changes), staging, events, budget=budget)
    try:
        await executor.load()
        yield executor
    finally:
        await executor.close()
        staging.close()
