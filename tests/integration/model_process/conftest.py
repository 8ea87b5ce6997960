"""Bundles loaded in processes, and the exit codes that are told of them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.integration.model_process.wishes import Serve

from bedside.bundle.folder import BundleFolder, open_bundle
from bedside.runtime.process import ProcessEvents, ProcessExecutor
from bedside.runtime.staging import Staging
from bedside.settings import Settings


class Crashes(ProcessEvents):
    """Notes exit codes."""

    def __init__(self, codes: list[int | None]) -> None:
        self._codes = codes

    def crashed(self, folder: BundleFolder, exit_code: int | None) -> None:
        """Note one."""
        self._codes.append(exit_code)


@pytest.fixture
def crashes() -> list[int | None]:
    """Return the exit codes that executors reported."""
    return []


@pytest.fixture
def serve(bundles: Path, settings: Settings, crashes: list[int | None]) -> Serve:
    """Return what loads a bundle in processes and ends them again."""

    @asynccontextmanager
    async def start(name: str, *, workers: int = 1) -> AsyncIterator[ProcessExecutor]:
        """Load a bundle and end it again."""
        runtime = settings.runtime.model_copy(update={"workers": workers})
        staging = Staging(runtime.staging_dir)
        executor = ProcessExecutor(open_bundle(bundles / name), runtime, staging, Crashes(crashes))
        try:
            await executor.load()
            yield executor
        finally:
            await executor.close()
            staging.close()

    return start
