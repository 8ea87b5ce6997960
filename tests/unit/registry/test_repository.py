"""The models of one server and their states."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from bedside.bundle.contract import Contract
from bedside.bundle.folder import BundleFolder
from bedside.bundle.metadata import Metadata
from bedside.bundle.policy import Policy
from bedside.errors import (
    BundleError,
    ConfigurationError,
    LoadFailed,
    ModelNotFound,
    ModelNotReady,
    ModelVersionNotFound,
    StagingFull,
)
from bedside.interfaces import Executor
from bedside.registry.repository import Model, Repository
from bedside.types import Prediction, ValidatedInputs


class Loader:
    """An executor that loads, or fails to, as the test wants."""

    def __init__(self, folder: BundleFolder) -> None:
        self.folder = folder
        self.error: Exception | None = None
        self.may_load = asyncio.Event()
        self.may_load.set()
        self.loading = asyncio.Event()
        self.loads = 0
        self.device = "cpu"
        self.ready = False

    async def load(self) -> Contract:
        """Load once the test lets it."""
        self.loads += 1
        self.loading.set()
        await self.may_load.wait()
        if self.error:
            raise self.error
        self.ready = True
        return Contract(self.folder.name, self.folder.metadata.version, self.folder.digest, "", "", (), (), {})

    async def run(self, inputs: ValidatedInputs, *, timeout_seconds: float) -> Prediction:
        """Run nothing."""
        raise NotImplementedError

    async def close(self) -> None:
        """End."""
        self.ready = False


def folder(name: str, version: str = "1.0.0") -> BundleFolder:
    """Return a bundle that lies nowhere."""
    return BundleFolder(Path("/srv") / name, name, Metadata(version=version), Policy(), f"sha256:{name}{version}")


class Models:
    """A repository with its executors in the test's hand."""

    def __init__(self, *folders: BundleFolder) -> None:
        self.loaders: dict[tuple[str, str], Loader] = {}
        self.changes: list[tuple[str, str]] = []
        self.repository = Repository(folders, self._make, lambda model: self.changes.append((model.name, model.state)))

    def loader(self, name: str, version: str = "1.0.0") -> Loader:
        """Return one of the executors."""
        return self.loaders[name, version]

    def _make(self, folder: BundleFolder) -> Executor:
        self.loaders[folder.name, folder.metadata.version] = loader = Loader(folder)
        return loader

    def states(self) -> dict[str, str]:
        """Return the index by name."""
        return {status.name: status.state for status in self.repository.index()}


async def test_a_loaded_model_is_resolved() -> None:
    """Name, version, digest and contract are the bundle's."""
    models = Models(folder("spleen"))
    await models.repository.load_all()
    model = models.repository.resolve("spleen", None)
    assert (model.name, model.version, model.digest) == ("spleen", "1.0.0", "sha256:spleen1.0.0")
    assert model.contract.model == "spleen"
    assert models.repository.resolve("spleen", "1.0.0") is model
    assert model.seconds >= 0


async def test_unknown_names_and_versions_are_told_apart() -> None:
    """Each names the field that is wrong."""
    repository = Models(folder("spleen")).repository
    with pytest.raises(ModelNotFound) as name:
        repository.resolve("liver", None)
    with pytest.raises(ModelVersionNotFound) as version:
        repository.resolve("spleen", "9")
    assert (name.value.field, version.value.field) == ("model", "version")
    assert not isinstance(name.value, ModelVersionNotFound)


async def test_a_model_that_is_not_loaded_is_not_resolved() -> None:
    """Nor has it a contract."""
    repository = Models(folder("spleen")).repository
    with pytest.raises(ModelNotReady):
        repository.resolve("spleen", None)
    with pytest.raises(ModelNotReady):
        _ = repository.find("spleen").contract


@pytest.mark.parametrize(
    ("versions", "highest"),
    [
        (["1.9.0", "1.10.0", "1.2.0"], "1.10.0"),
        (["1.0.0-rc1", "1.0.0"], "1.0.0"),
        (["1.0.0-rc1", "0.9.0"], "1.0.0-rc1"),
        (["1.0.0-rc.1", "1.0.0-rc.2"], "1.0.0-rc.2"),
        (["1.0", "1.0.1"], "1.0.1"),
        (["²", "1"], "1"),
    ],
)
async def test_without_a_version_the_highest_is_meant(versions: list[str], highest: str) -> None:
    """By number, not by letter, and a candidate comes before its release."""
    for order in (versions, versions[::-1]):
        repository = Models(*(folder("spleen", version) for version in order)).repository
        assert repository.find("spleen").version == highest
        assert repository.versions("spleen") == tuple(order)


async def test_the_versions_of_no_model_are_not_found() -> None:
    """An empty list would look like a model."""
    with pytest.raises(ModelNotFound):
        Models().repository.versions("spleen")


async def test_two_bundles_cannot_share_an_address() -> None:
    """Same name and version twice is refused, rather than one hiding the other."""
    with pytest.raises(ConfigurationError, match="spleen"):
        Models(folder("spleen"), folder("spleen"))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (LoadFailed("no weights"), "no weights"),
        (StagingFull("no room"), "no room"),
        (OSError("/srv/DOE^JOHN"), "OSError"),
    ],
)
async def test_a_model_that_fails_does_not_stop_the_others(error: Exception, reason: str) -> None:
    """It is UNAVAILABLE with its reason, whatever it raised; the next one is loaded."""
    models = Models(folder("liver"), folder("spleen"))
    models.loader("liver").error = error
    await models.repository.load_all()
    assert models.states() == {"liver": "UNAVAILABLE", "spleen": "READY"}
    assert next(s.reason for s in models.repository.index() if s.name == "liver") == reason
    assert not models.repository.ready


async def test_all_are_loading_until_they_are_ready() -> None:
    """The index says so, and readiness waits for the last one."""
    models = Models(folder("liver"), folder("spleen"))
    models.loader("spleen").may_load.clear()
    loading = asyncio.create_task(models.repository.load_all())
    await models.loader("spleen").loading.wait()
    assert models.states() == {"liver": "READY", "spleen": "LOADING"}
    assert not models.repository.ready
    models.loader("spleen").may_load.set()
    await loading
    assert models.repository.ready


async def test_every_change_is_told() -> None:
    """Loading, ready and unloaded, for the log and the metrics."""
    models = Models(folder("spleen"))
    await models.repository.load("spleen")
    await models.repository.unload("spleen")
    assert models.changes == [("spleen", "LOADING"), ("spleen", "READY"), ("spleen", "UNLOADED")]


async def test_a_model_whose_process_died_is_loading_again() -> None:
    """It is shown as loading, and given out: its executor knows whether waiting for the restart is worth it."""
    models = Models(folder("spleen"))
    await models.repository.load_all()
    models.loader("spleen").ready = False
    assert models.states() == {"spleen": "LOADING"}
    assert not models.repository.ready
    assert models.repository.resolve("spleen", None).name == "spleen"


async def test_an_unloaded_model_neither_answers_nor_blocks_readiness() -> None:
    """It is unloaded on purpose, and can be loaded again."""
    models = Models(folder("liver"), folder("spleen"))
    await models.repository.load_all()
    await models.repository.unload("liver")
    assert models.states() == {"liver": "UNLOADED", "spleen": "READY"}
    assert models.repository.ready
    with pytest.raises(ModelNotReady):
        models.repository.resolve("liver", None)
    await models.repository.load("liver")
    assert models.repository.resolve("liver", None).name == "liver"


async def test_loading_a_ready_model_does_nothing() -> None:
    """Two calls, one load."""
    models = Models(folder("spleen"))
    await asyncio.gather(models.repository.load("spleen"), models.repository.load("spleen"))
    assert models.loader("spleen").loads == 1


async def test_a_load_that_fails_is_told_to_who_asked() -> None:
    """With the reason; once mended, loading works."""
    models = Models(folder("spleen"))
    models.loader("spleen").error = LoadFailed("no weights")
    with pytest.raises(BundleError, match="no weights"):
        await models.repository.load("spleen")
    models.loader("spleen").error = None
    await models.repository.load("spleen")
    assert next(iter(models.repository.index())).reason == ""


@pytest.mark.parametrize("action", [Repository.load, Repository.unload])
async def test_unknown_models_are_neither_loaded_nor_unloaded(action: Callable[..., object]) -> None:
    """The name is checked first."""
    result = action(Models().repository, "spleen")
    assert asyncio.iscoroutine(result)
    with pytest.raises(ModelNotFound):
        await result


async def test_closing_ends_every_model() -> None:
    """Whatever its state."""
    models = Models(folder("liver"), folder("spleen"))
    await models.repository.load_all()
    await models.repository.close()
    assert not any(model.executor.ready for model in (models.repository.find(n) for n in ("liver", "spleen")))


async def test_a_repository_without_models_is_ready() -> None:
    """And tells nobody of changes, unless somebody wants to know."""
    repository = Repository([folder("spleen")], Loader)
    await repository.load_all()
    assert Repository([], Loader).ready
    assert isinstance(repository.resolve("spleen", None), Model)
