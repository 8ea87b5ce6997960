"""The models of one server: known, loading, ready, failed, unloaded. Implements ``interfaces.ModelRepository``."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from bedside.bundle.contract import Contract
from bedside.bundle.folder import BundleFolder
from bedside.errors import (
    BedsideError,
    BundleError,
    ConfigurationError,
    ModelNotFound,
    ModelNotReady,
    ModelVersionNotFound,
)
from bedside.interfaces import Executor, ModelStatus

State = Literal["UNLOADED", "LOADING", "READY", "UNAVAILABLE"]


@dataclass(slots=True)
class Model:
    """One version of one model, in one of its states. Implements ``interfaces.ServedModel`` while it is ready."""

    folder: BundleFolder
    executor: Executor
    state: State = "UNLOADED"
    reason: str = ""
    loaded: Contract | None = None
    seconds: float = 0.0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def name(self) -> str:
        """Return the model's name."""
        return self.folder.name

    @property
    def version(self) -> str:
        """Return the bundle's version."""
        return self.folder.metadata.version

    @property
    def digest(self) -> str:
        """Return the digest over the bundle's tree."""
        return self.folder.digest

    @property
    def contract(self) -> Contract:
        """Return the contract. Raises ModelNotReady before the first forward pass."""
        if self.loaded is None:
            raise ModelNotReady
        return self.loaded

    @property
    def ready(self) -> bool:
        """Tell whether it would answer now: loaded, and its process alive."""
        return self.state == "READY" and self.executor.ready


OnChange = Callable[[Model], None]
Admit = Callable[[BundleFolder], Awaitable[object]]


async def _admit_all(_folder: BundleFolder) -> None:
    """Ask nobody."""


class Repository:
    """Holds the models and moves them between their states.

    Args:
        folders: the bundles to serve.
        make_executor: builds what runs a bundle.
        on_change: told after each change of state (for the log and the metrics).
        admit: asked before each load; raises where a bundle may not be loaded.
    """

    def __init__(
        self,
        folders: Iterable[BundleFolder],
        make_executor: Callable[[BundleFolder], Executor],
        on_change: OnChange = lambda _model: None,
        admit: Admit = _admit_all,
    ) -> None:
        self._models: dict[str, dict[str, Model]] = {}
        self._on_change = on_change
        self._admit = admit
        for folder in folders:
            versions = self._models.setdefault(folder.name, {})
            if folder.metadata.version in versions:
                name, version = folder.name, folder.metadata.version
                raise ConfigurationError(
                    f"two bundles are named '{name}' and have the version {version}", field="bundle"
                )
            versions[folder.metadata.version] = Model(folder, make_executor(folder))
        self._latest = {name: max(versions.values(), key=_version_key) for name, versions in self._models.items()}

    def resolve(self, name: str, version: str | None) -> Model:
        """Return a loaded model; see ``interfaces.ModelRepository.resolve``.

        A model whose process is being restarted is given out too: its executor knows whether waiting is worth it.
        """
        model = self.find(name, version)
        if model.state != "READY":
            raise ModelNotReady
        return model

    def find(self, name: str, version: str | None = None) -> Model:
        """Return a model in whatever state. Raises ModelNotFound, ModelVersionNotFound."""
        latest = self._latest.get(name)
        if latest is None:
            raise ModelNotFound(field="model")
        if version is None:
            return latest
        try:
            return self._models[name][version]
        except KeyError:
            raise ModelVersionNotFound(field="version") from None

    def versions(self, name: str) -> tuple[str, ...]:
        """Return the versions of a model that are known. Raises ModelNotFound."""
        self.find(name)
        return tuple(self._models[name])

    def index(self) -> Sequence[ModelStatus]:
        """Return the state of every model."""
        return [ModelStatus(model.name, model.version, _shown(model), model.reason) for model in self._all()]

    @property
    def ready(self) -> bool:
        """Tell whether every model that is not unloaded on purpose answers."""
        return all(model.ready for model in self._all() if model.state != "UNLOADED")

    async def load_all(self) -> None:
        """Load every model, one after the other; a model that fails is left UNAVAILABLE with its reason.

        One at a time: two bundles that build at once compete for the same cores, and neither is ready sooner.
        """
        for model in self._all():
            model.state = "LOADING"
        for model in self._all():
            await self._load(model)

    async def load(self, name: str) -> None:
        """Load every version of a model. Raises ModelNotFound, BundleError."""
        self.find(name)
        for model in self._models[name].values():
            await self._load(model)
            if model.state == "UNAVAILABLE":
                raise BundleError(model.reason)

    async def unload(self, name: str) -> None:
        """End every version of a model. Raises ModelNotFound."""
        self.find(name)
        for model in self._models[name].values():
            async with model.lock:
                model.state, model.loaded = "UNLOADED", None
                await model.executor.close()
            self._on_change(model)

    async def close(self) -> None:
        """End every model."""
        await asyncio.gather(*(model.executor.close() for model in self._all()))

    async def _load(self, model: Model) -> None:
        async with model.lock:
            if model.ready:
                return
            model.state, model.reason = "LOADING", ""
            self._on_change(model)
            begin = asyncio.get_running_loop().time()
            try:
                await self._admit(model.folder)
                model.loaded = await model.executor.load()
            except Exception as error:  # noqa: BLE001 - one model that cannot be loaded must not stop the others
                detail = error.detail if isinstance(error, BedsideError) else type(error).__name__
                model.state, model.reason = "UNAVAILABLE", detail
            else:
                model.state = "READY"
                model.seconds = asyncio.get_running_loop().time() - begin
        self._on_change(model)

    def _all(self) -> list[Model]:
        return [model for versions in self._models.values() for model in versions.values()]


def _shown(model: Model) -> str:
    # A process that died after it was ready is being restarted: the index says so, whatever the last state was.
    return "LOADING" if model.state == "READY" and not model.executor.ready else model.state


def _version_key(model: Model) -> tuple[tuple[int, int, str], ...]:
    # A version that goes on with a word comes before the one that ends there: 1.0.0-rc1 < 1.0.0 (semver.org §11).
    parts = model.version.replace("-", ".").split(".")
    return *((2, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts), (1, 0, "")
