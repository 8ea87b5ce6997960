"""The models of one server and their states."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.registry.conftest import Models, found

from bedside.errors import BundleError, LoadFailed, ModelNotFound, ModelNotReady, ModelVersionNotFound, StagingFull
from bedside.interfaces import NotInline
from bedside.registry.loading import Loader, Model
from bedside.registry.repository import Repository


async def test_a_loaded_model_is_resolved() -> None:
    """Name, version, digest and contract are the bundle's."""
    models = Models(found("spleen"))
    await models.repository.rescan()
    model = models.repository.resolve("spleen", None)
    assert (model.name, model.version, model.digest) == ("spleen", "1.0.0", "sha256:spleen1.0.0a")
    assert model.contract.model == "spleen"
    assert models.repository.resolve("spleen", "1.0.0") is model
    assert model.seconds >= 0


async def test_a_reference_that_cannot_be_read_is_found_out_at_load(tmp_path: Path) -> None:
    """Not when the first answers are compared with it; the reason names the file."""
    (tmp_path / "golden").mkdir()
    (tmp_path / "golden" / "reference.json").write_text("DOE^JOHN")
    whole = found("spleen")
    assert whole.folder is not None
    models = Models(replace(whole, folder=replace(whole.folder, root=tmp_path)))
    await models.repository.rescan()
    assert models.states() == {"spleen 1.0.0": "UNAVAILABLE"}
    assert "golden/reference.json" in models.reason("spleen")
    assert "DOE" not in models.reason("spleen")


async def test_unknown_names_and_versions_are_told_apart() -> None:
    """Each names the field that is wrong."""
    repository = Models(found("spleen")).repository
    await repository.rescan()
    with pytest.raises(ModelNotFound) as name:
        repository.resolve("liver", None)
    with pytest.raises(ModelVersionNotFound) as version:
        repository.resolve("spleen", "9")
    assert (name.value.field, version.value.field) == ("model", "version")
    assert not isinstance(name.value, ModelVersionNotFound)


async def test_before_the_first_look_no_name_is_unknown() -> None:
    """A sender that calls while the server starts is told to come back, not that there is no such model."""
    repository = Models(found("spleen")).repository
    with pytest.raises(ModelNotReady):
        repository.resolve("spleen", None)
    await repository.rescan()
    assert repository.resolve("spleen", None).name == "spleen"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (LoadFailed("no weights"), "no weights"),
        (StagingFull("no room"), "no room"),
        (OSError("/srv/DOE^JOHN"), "OSError"),
    ],
)
async def test_a_model_that_fails_does_not_stop_the_others(error: Exception, reason: str) -> None:
    """It is UNAVAILABLE with its reason, whatever it raised, and nothing of it goes on; the next one is loaded."""
    models = Models(found("liver"), found("spleen"))
    models.errors["liver", "1.0.0"] = error
    await models.repository.rescan()
    assert models.states() == {"liver 1.0.0": "UNAVAILABLE", "spleen 1.0.0": "READY"}
    assert models.reason("liver") == reason
    assert models.executor("liver").closed
    with pytest.raises(ModelNotReady):
        models.repository.resolve("liver", None)


async def test_a_folder_that_is_no_bundle_is_listed_with_its_reason() -> None:
    """The others serve."""
    broken = replace(found("broken", "unknown"), folder=None, reason="configs/metadata.json is missing")
    models = Models(broken, found("spleen"))
    await models.repository.rescan()
    assert models.states() == {"broken unknown": "UNAVAILABLE", "spleen 1.0.0": "READY"}
    assert models.reason("broken", "unknown") == "configs/metadata.json is missing"


@pytest.mark.parametrize(("ready_when", "expected"), [("all", False), ("any", True)])
async def test_the_operator_decides_what_readiness_means(ready_when: str, expected: bool) -> None:  # noqa: FBT001
    """One model that fails keeps the server from readiness, or it does not."""
    models = Models(found("liver"), found("spleen"), ready_when=ready_when)
    models.errors["liver", "1.0.0"] = LoadFailed()
    await models.repository.rescan()
    assert models.repository.ready is expected


async def test_no_model_answers_and_the_server_is_not_ready() -> None:
    """Whatever readiness means."""
    for ready_when in ("all", "any"):
        models = Models(found("liver"), ready_when=ready_when)
        models.errors["liver", "1.0.0"] = LoadFailed()
        await models.repository.rescan()
        assert not models.repository.ready


async def test_all_are_loading_until_they_are_ready() -> None:
    """The index says so, and readiness waits for the last one."""
    models = Models(found("liver"), found("spleen"))
    models.blocked.add(("spleen", "1.0.0"))
    loading = asyncio.create_task(models.repository.rescan())
    executor = await models.loading("spleen", after=1)
    assert models.states() == {"liver 1.0.0": "READY", "spleen 1.0.0": "LOADING"}
    assert not models.repository.ready
    executor.may_load.set()
    await loading
    assert models.repository.ready


async def test_every_change_is_told() -> None:
    """Loading, ready and unloaded, for the log and the metrics."""
    models = Models(found("spleen"))
    await models.repository.load("spleen")
    await models.repository.unload("spleen")
    assert models.changes == [("spleen", "LOADING"), ("spleen", "READY"), ("spleen", "UNLOADED")]


async def test_a_model_whose_process_died_is_loading_again() -> None:
    """It is shown as loading, and given out: its executor knows whether waiting for the restart is worth it."""
    models = Models(found("spleen"))
    await models.repository.rescan()
    models.executor("spleen").ready = False
    assert models.states() == {"spleen 1.0.0": "LOADING"}
    assert not models.repository.ready
    assert models.repository.resolve("spleen", None).name == "spleen"


async def test_an_unloaded_model_neither_answers_nor_blocks_readiness() -> None:
    """It is unloaded on purpose, stays so when the sources are looked at again, and can be loaded."""
    models = Models(found("liver"), found("spleen"))
    await models.repository.rescan()
    await models.repository.unload("liver")
    await models.repository.rescan()
    assert models.states() == {"liver 1.0.0": "UNLOADED", "spleen 1.0.0": "READY"}
    assert models.repository.ready
    with pytest.raises(ModelNotReady):
        models.repository.resolve("liver", None)
    await models.repository.load("liver")
    assert models.repository.resolve("liver", None).name == "liver"


async def test_loading_a_ready_model_does_nothing() -> None:
    """Two calls, one load."""
    models = Models(found("spleen"))
    await asyncio.gather(models.repository.load("spleen"), models.repository.load("spleen"))
    assert len(models.executors) == 1


async def test_a_load_that_fails_is_told_to_who_asked() -> None:
    """With the reason; once mended, loading works."""
    models = Models(found("spleen"))
    models.errors["spleen", "1.0.0"] = LoadFailed("no weights")
    with pytest.raises(BundleError, match="no weights"):
        await models.repository.load("spleen")
    models.errors.clear()
    await models.repository.load("spleen")
    assert models.reason("spleen") == ""


@pytest.mark.parametrize("action", [Repository.load, Repository.unload])
async def test_unknown_models_are_neither_loaded_nor_unloaded(action: Callable[..., object]) -> None:
    """The name is checked first."""
    repository = Models().repository
    await repository.rescan()
    result = action(repository, "spleen")
    assert asyncio.iscoroutine(result)
    with pytest.raises(ModelNotFound):
        await result


async def test_closing_ends_every_model_and_every_load() -> None:
    """Whatever its state; a load that has begun is given up."""
    models = Models(found("liver"), found("spleen"))
    models.blocked.add(("spleen", "1.0.0"))
    loading = asyncio.create_task(models.repository.rescan())
    await models.loading("spleen", after=1)
    await models.repository.close()
    assert [executor.closed for executor in models.executors] == [True, True]
    with pytest.raises(asyncio.CancelledError):
        await loading


async def test_a_repository_without_models_is_ready() -> None:
    """And tells nobody of changes, unless somebody wants to know."""
    models = Models(found("spleen"))
    loader = Loader(models._admit, models._make)
    repository = Repository(lambda: models.offered, loader)
    assert repository.ready
    await repository.rescan()
    assert isinstance(repository.resolve("spleen", None), Model)


async def test_what_may_not_run_on_the_event_loop_is_run_elsewhere() -> None:
    """What was tried there is closed, and another executor is made, which is told why."""
    models = Models(found("heart"))
    models.errors["heart", "1.0.0"] = NotInline("too_slow", 2.0)
    await models.repository.rescan()
    assert models.states() == {"heart 1.0.0": "READY"}
    assert [(executor.ready, executor.closed) for executor in models.executors] == [(False, True), (True, False)]
