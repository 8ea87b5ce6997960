"""Bundles loaded in processes, and the exit codes that are told of them."""

from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from tests.integration.model_process.wishes import Serve
from tests.integration.processes import loaded

from bedside.bundle.folder import BundleFolder
from bedside.runtime.process import ProcessEvents, ProcessExecutor
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

    def start(name: str, *, workers: int = 1) -> AbstractAsyncContextManager[ProcessExecutor]:
        return loaded(bundles / name, settings.runtime, Crashes(crashes), workers=workers)

    return start
