"""The models of one server: known, loading, ready, failed, unloaded. Implements ``interfaces.ModelRepository``."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from bedside.bundle.folder import BundleFolder
from bedside.errors import BedsideError, BundleError, ModelNotFound, ModelNotReady, ModelVersionNotFound
from bedside.interfaces import ModelStatus
from bedside.registry.finding import Found
from bedside.registry.loading import Loader, Model
from bedside.registry.versions import highest, version_key

State = Literal["UNLOADED", "LOADING", "READY", "UNAVAILABLE"]

_ABSENT = "the pinned version is not in the repository"


@dataclass(slots=True)
class Version:
    """One version of one model, in one of its states.

    Attributes:
        found: what its source offers now.
        current: the copy that answers, also while a newer one is being loaded.
        tried: fingerprint of the files that were loaded last, or that failed to.
        seen: fingerprint at the last look of a watcher, who waits until a copy has been written to its end.
        wanted: False once it has been unloaded on purpose.
    """

    found: Found
    state: State = "UNLOADED"
    reason: str = ""
    current: Model | None = None
    tried: str = ""
    seen: str = ""
    wanted: bool = True

    @property
    def name(self) -> str:
        """Return the model's name."""
        return self.found.name

    @property
    def version(self) -> str:
        """Return the version."""
        return self.found.version

    @property
    def digest(self) -> str:
        """Return the digest of the copy that answers, empty where none does."""
        return self.current.digest if self.current else ""

    @property
    def seconds(self) -> float:
        """Return how long its last load took."""
        return self.current.seconds if self.current else 0.0

    @property
    def shims(self) -> tuple[str, ...]:
        """Return the names of what the compatibility layer changed for the copy that answers."""
        return self.current.contract.shims if self.current else ()

    @property
    def answers(self) -> bool:
        """Tell whether it would answer now: loaded, and its process alive."""
        return self.current is not None and self.current.executor.ready

    @property
    def stale(self) -> bool:
        """Tell whether loading it would give something else than what answers."""
        return not self.answers or bool(self.reason) or self.tried != self.found.fingerprint


@dataclass(slots=True)
class _Name:
    """Everything that is known under one name."""

    name: str
    versions: dict[str, Version] = field(default_factory=dict)
    default: Version | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


OnChange = Callable[[Version], None]


class Repository:
    """Holds the models and moves them between their states.

    Args:
        find: returns what the sources offer now; blocks.
        loader: loads one bundle.
        on_change: told after each change of state (for the log and the metrics).
        pins: the version that answers where a caller names none, by model; else the highest that is ready.
        ready_when: whether ``all`` names must answer before the server is ready, or ``any``.
    """

    def __init__(
        self,
        find: Callable[[], Sequence[Found]],
        loader: Loader,
        on_change: OnChange = lambda _version: None,
        *,
        pins: Mapping[str, str] | None = None,
        ready_when: Literal["all", "any"] = "all",
    ) -> None:
        self._find = find
        self._loader = loader
        self._on_change = on_change
        self._pins = pins or {}
        self._ready_when = ready_when
        self._names: dict[str, _Name] = {}
        self._looked = False
        self._scanning = asyncio.Lock()
        self._background: set[asyncio.Task[Any]] = set()
        self._retiring: set[Model] = set()

    def resolve(self, name: str, version: str | None) -> Model:
        """Return a loaded model; see ``interfaces.ModelRepository.resolve``.

        A model whose process is being restarted is given out too: its executor knows whether waiting is worth it.
        """
        model = self.find(name, version).current
        if model is None:
            raise ModelNotReady
        return model

    def find(self, name: str, version: str | None = None) -> Version:
        """Return a version in whatever state. Raises ModelNotFound, ModelVersionNotFound, ModelNotReady."""
        known = self._names.get(name)
        if known is None or known.default is None:
            # A server that has just started knows no names: "there is none" would make senders give up for good.
            raise ModelNotFound(field="model") if self._looked else ModelNotReady
        if version is None:
            return known.default
        try:
            return known.versions[version]
        except KeyError:
            raise ModelVersionNotFound(field="version") from None

    def text(self, name: str, version: str | None, which: str) -> str:
        """Return a text of a loaded bundle, empty where it has none; see ``interfaces.ModelRepository.text``."""
        return self.resolve(name, version).texts.get(which, "")

    def index(self) -> Sequence[ModelStatus]:
        """Return the state of every version."""
        return [
            ModelStatus(one.name, one.version, _shown(one), one.reason, one.digest, default=one is known.default)
            for known in self._names.values()
            for one in known.versions.values()
        ]

    @property
    def ready(self) -> bool:
        """Tell whether the names that are not unloaded on purpose answer: all of them, or one at least."""
        wanted = [
            known for known in self._names.values() if any(v.state != "UNLOADED" for v in known.versions.values())
        ]
        answers = [known.default is not None and known.default.answers for known in wanted]
        return all(answers) if self._ready_when == "all" else any(answers)

    async def rescan(self, *, settled: bool = False) -> None:
        """Look at the sources: load what is new, changed or failed, retire what has gone. The rest goes on meanwhile.

        What fails is left UNAVAILABLE with its reason. One at a time: two bundles that build at once compete for the
        same cores, and neither is ready sooner.

        Args:
            settled: load only what is new or changed, and has not changed since the last look: a copy that is still
                being written is not touched.
        """
        async with self._scanning:
            await self._look()
            due = [version for version in self._all() if version.wanted and _is_due(version, settled=settled)]
            for version in self._all():
                version.seen = version.found.fingerprint
            for version in due:
                version.state = "READY" if version.current else "LOADING"
            for version in due:
                if version.wanted:  # it may have been unloaded while others were loaded
                    await self._load(version)

    async def load(self, name: str, version: str | None = None) -> None:
        """Load every version of a model, or one; see ``interfaces.ModelRepository.load``."""
        async with self._scanning:
            await self._look()
            for one in self._chosen(name, version):
                one.wanted = True
                await self._load(one)
                if one.reason:
                    raise BundleError(one.reason)

    async def unload(self, name: str, version: str | None = None) -> None:
        """Let every version of a model finish its work and end, or one. Raises ModelNotFound, ModelVersionNotFound."""
        for one in self._chosen(name, version):
            one.wanted = False
            async with self._names[name].lock:
                model = self._forget(one)
            if model is not None:
                # Shielded: whoever asked for it may go, those who are still answered by it may not be cut off.
                await asyncio.shield(self._retire(model))

    def failed(self, folder: BundleFolder, reason: str) -> None:
        """Note that a model that was ready can no longer be started; loading it tries again."""
        for version in self._all():
            # A newer copy may have taken the name meanwhile, and is not what has failed.
            if version.current is not None and version.current.folder == folder:
                version.state, version.reason = "UNAVAILABLE", reason
                self._on_change(version)

    async def close(self) -> None:
        """End every model, and whatever is being loaded."""
        background = list(self._background)
        for task in background:
            task.cancel()
        # Those that wait for their last caller, too: a task that is cancelled before its first step does nothing.
        models = [*self._retiring, *(version.current for version in self._all() if version.current is not None)]
        await asyncio.gather(*background, *(model.executor.close() for model in models), return_exceptions=True)

    async def _look(self) -> None:
        """Bring the known versions in step with the sources."""
        found = {(one.name, one.version): one for one in await asyncio.to_thread(self._find)}
        for version in self._all():
            if (version.name, version.version) not in found:
                self._remove(version)
        # The highest first: it is the one that is to answer, and an older one need not do so for a moment.
        for one in sorted(found.values(), key=lambda one: version_key(one.version), reverse=True):
            known = self._names.setdefault(one.name, _Name(one.name))
            known.versions.setdefault(one.version, Version(one)).found = one
            self._choose(known)
        self._looked = True

    async def _load(self, version: Version) -> None:
        known = self._names[version.name]
        async with known.lock:
            if not version.stale:
                return
            tried, version.tried = version.tried, version.found.fingerprint
            if version.current is None:
                version.state = "LOADING"
                self._on_change(version)
            old = version.current
            try:
                version.current = await self._built(version.found)
            except Exception as error:  # noqa: BLE001 - one model that cannot be loaded must not stop the others
                reason = error.detail if isinstance(error, BedsideError) else type(error).__name__
                version.reason = f"its newer files are not served: {reason}" if old else reason
                version.state = "READY" if old else "UNAVAILABLE"
            except asyncio.CancelledError:
                # Whoever asked has gone, or the server ends: as if it had not been tried, so that the next one tries.
                version.tried, version.state = tried, "READY" if old else "UNLOADED"
                raise
            else:
                # From this line on the name means the new copy; whoever holds the old one is answered by it.
                version.state, version.reason = "READY", ""
                self._retire_later(old)
            self._choose(known)
        self._on_change(version)

    async def _built(self, found: Found) -> Model:
        if found.folder is None:
            raise BundleError(found.reason)
        model: Model = await self._tracked(self._loader.load(found.folder))
        return model

    def _choose(self, known: _Name) -> None:
        """Decide which version answers where none is named: the pinned one, else the highest of those that can."""
        pinned = self._pins.get(known.name)
        able = [name for name, version in known.versions.items() if version.current is not None]
        if pinned is None:
            known.default = known.versions[highest(able or known.versions)]
        else:
            known.default = known.versions.get(pinned) or Version(Found(known.name, pinned, "", None, _ABSENT))

    def _forget(self, version: Version) -> Model | None:
        model, version.current = version.current, None
        version.state, version.reason, version.tried = "UNLOADED", "", ""
        known = self._names.get(version.name)
        if known is not None and known.versions:  # else its files have gone meanwhile, too
            self._choose(known)
        self._on_change(version)
        return model

    def _remove(self, version: Version) -> None:
        self._retire_later(self._forget(version))
        known = self._names[version.name]
        del known.versions[version.version]
        if known.versions:
            self._choose(known)
        else:
            del self._names[version.name]

    def _chosen(self, name: str, version: str | None) -> list[Version]:
        self.find(name)
        if version is not None:
            return [self.find(name, version)]
        return list(self._names[name].versions.values())

    def _retire_later(self, model: Model | None) -> None:
        if model is not None:
            self._retire(model)

    def _retire(self, model: Model) -> "asyncio.Task[Any]":
        self._retiring.add(model)
        task = self._track(asyncio.ensure_future(model.retire()))
        task.add_done_callback(lambda _: self._retiring.discard(model))
        return task

    async def _tracked(self, work: Coroutine[Any, Any, Any]) -> Any:
        return await self._track(asyncio.ensure_future(work))

    def _track(self, task: "asyncio.Task[Any]") -> "asyncio.Task[Any]":
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    def _all(self) -> list[Version]:
        return [version for known in self._names.values() for version in known.versions.values()]


def _is_due(version: Version, *, settled: bool) -> bool:
    fingerprint = version.found.fingerprint
    return version.tried != fingerprint == version.seen if settled else version.stale


def _shown(version: Version) -> str:
    # A process that died after it was ready is being restarted: the index says so, whatever the last state was.
    return "LOADING" if version.state == "READY" and not version.answers else version.state
