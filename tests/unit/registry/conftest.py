"""A repository whose sources and executors are in the test's hand."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.waiting import PATIENCE_SECONDS

from bedside.bundle.contract import Contract
from bedside.bundle.folder import BundleFolder
from bedside.bundle.metadata import Metadata
from bedside.bundle.policy import Policy
from bedside.interfaces import Executor, NotInline
from bedside.registry.finding import Found
from bedside.registry.loading import Loader
from bedside.registry.repository import Repository
from bedside.types import Prediction, ValidatedInputs


class FakeExecutor:
    """Loads, or fails to, as the test wants."""

    def __init__(self, folder: BundleFolder, error: Exception | None) -> None:
        self.folder = folder
        self.error = error
        self.may_load = asyncio.Event()
        self.may_load.set()
        self.loading = asyncio.Event()
        self.device = "cpu"
        self.concurrency = 1
        self.ready = False
        self.closed = False

    async def load(self) -> Contract:
        """Load once the test lets it."""
        self.loading.set()
        await self.may_load.wait()
        if self.error:
            raise self.error
        self.ready = True
        return Contract(self.folder.name, self.folder.metadata.version, self.folder.digest, "", "", (), (), {})

    async def run(self, inputs: ValidatedInputs, *, timeout_seconds: float) -> Prediction:
        """Run nothing."""
        raise NotImplementedError

    async def run_eager(self) -> str:
        """Do nothing."""
        return ""

    async def close(self) -> None:
        """End."""
        self.ready, self.closed = False, True


def found(name: str, version: str = "1.0.0", content: str = "a") -> Found:
    """Return a bundle that lies nowhere; ``content`` stands for its files."""
    folder = BundleFolder(Path("/nowhere") / name, name, Metadata(version=version), Policy(), "")
    return Found(name, version, f"{name}{version}{content}", folder)


class Models:
    """A repository, what its sources offer, and every executor that was made."""

    def __init__(self, *offered: Found, **options: Any) -> None:
        self.offered = list(offered)
        self.errors: dict[tuple[str, str], Exception] = {}
        self.blocked: set[tuple[str, str]] = set()
        self.executors: list[FakeExecutor] = []
        self.changes: list[tuple[str, str]] = []
        loader = Loader(self._admit, self._make)
        self.repository = Repository(lambda: self.offered, loader, self._changed, **options)

    def executor(self, name: str, version: str = "1.0.0") -> FakeExecutor:
        """Return the newest executor of a version."""
        key = (name, version)
        return next(e for e in reversed(self.executors) if (e.folder.name, e.folder.metadata.version) == key)

    async def loading(self, name: str, version: str = "1.0.0", *, after: int = 0) -> FakeExecutor:
        """Wait until more than ``after`` executors were made, and the newest of this version loads."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(self.executors) <= after:  # noqa: ASYNC110 - it is made in the repository's own time
                await asyncio.sleep(0)
            executor = self.executor(name, version)
            await executor.loading.wait()
        return executor

    def states(self) -> dict[str, str]:
        """Return the index by name and version."""
        return {f"{status.name} {status.version}": status.state for status in self.repository.index()}

    def reason(self, name: str, version: str = "1.0.0") -> str:
        """Return why a version is not served."""
        return self.repository.find(name, version).reason

    def default(self, name: str) -> str:
        """Return the version that answers where none is named."""
        return self.repository.find(name).version

    async def _admit(self, folder: BundleFolder) -> BundleFolder:
        (fingerprint,) = (one.fingerprint for one in self.offered if one.folder == folder)
        return replace(folder, digest=f"sha256:{fingerprint}")

    def _make(self, folder: BundleFolder, not_inline: NotInline | None) -> Executor:
        key = (folder.name, folder.metadata.version)
        executor = FakeExecutor(folder, None if not_inline else self.errors.get(key))
        if key in self.blocked:
            executor.may_load.clear()
        self.executors.append(executor)
        return executor

    def _changed(self, version: Any) -> None:
        self.changes.append((version.name, version.state))
