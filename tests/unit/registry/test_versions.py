"""Versions side by side: which one answers, and how one takes the place of another while calls go on."""

import asyncio

import pytest
from tests.unit.registry.conftest import Models, found
from tests.waiting import until

from bedside.errors import BundleError, GoldenMismatch, LoadFailed, ModelNotReady, ModelVersionNotFound
from bedside.registry.versions import highest


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        (["1.9.0", "1.10.0", "1.2.0"], "1.10.0"),
        (["1.0.0-rc1", "1.0.0"], "1.0.0"),
        (["1.0.0-rc1", "0.9.0"], "0.9.0"),
        (["1.0.0-rc.1", "1.0.0-rc.2"], "1.0.0-rc.2"),
        (["1.0", "1.0.1"], "1.0.1"),
        (["²", "1"], "1"),
        (["1.0.0+5", "1.0.1"], "1.0.1"),
    ],
)
def test_the_highest_release_is_the_highest(versions: list[str], expected: str) -> None:
    """By number, not by letter; a candidate only where there is no release."""
    assert highest(versions) == highest(versions[::-1]) == expected


async def test_without_a_version_the_highest_answers_and_each_by_its_number() -> None:
    """All of them are loaded, the highest first."""
    models = Models(found("spleen", "1.0.0"), found("spleen", "1.1.0"))
    await models.repository.rescan()
    assert models.repository.resolve("spleen", None).version == "1.1.0"
    assert models.repository.resolve("spleen", "1.0.0").version == "1.0.0"
    assert [executor.folder.metadata.version for executor in models.executors] == ["1.1.0", "1.0.0"]
    assert [(s.version, s.default) for s in models.repository.index()] == [("1.1.0", True), ("1.0.0", False)]


async def test_a_new_version_takes_the_name_only_once_it_is_ready() -> None:
    """Until then the old one answers, and the server stays ready."""
    models = Models(found("spleen", "1.0.0"))
    await models.repository.rescan()
    models.offered.append(found("spleen", "2.0.0"))
    models.blocked.add(("spleen", "2.0.0"))
    loading = asyncio.create_task(models.repository.load("spleen"))
    executor = await models.loading("spleen", "2.0.0", after=1)
    assert models.states() == {"spleen 1.0.0": "READY", "spleen 2.0.0": "LOADING"}
    assert models.repository.resolve("spleen", None).version == "1.0.0"
    assert models.repository.ready
    executor.may_load.set()
    await loading
    assert models.repository.resolve("spleen", None).version == "2.0.0"
    assert models.repository.resolve("spleen", "1.0.0").version == "1.0.0"


async def test_a_new_version_that_gives_wrong_answers_never_takes_the_name() -> None:
    """It is UNAVAILABLE with the difference, who asked is told, and the old one answers."""
    models = Models(found("spleen", "1.0.0"))
    await models.repository.rescan()
    models.offered.append(found("spleen", "2.0.0"))
    models.errors["spleen", "2.0.0"] = GoldenMismatch("golden case 'a': Dice 0.5")
    with pytest.raises(BundleError, match="Dice"):
        await models.repository.load("spleen")
    assert models.states() == {"spleen 1.0.0": "READY", "spleen 2.0.0": "UNAVAILABLE"}
    assert models.default("spleen") == "1.0.0"
    assert models.repository.ready


async def test_unloading_the_newest_version_rolls_back() -> None:
    """The next highest answers from then on; other versions are not touched."""
    models = Models(found("spleen", "1.0.0"), found("spleen", "2.0.0"))
    await models.repository.rescan()
    await models.repository.unload("spleen", "2.0.0")
    assert models.repository.resolve("spleen", None).version == "1.0.0"
    assert models.executor("spleen", "2.0.0").closed
    with pytest.raises(ModelNotReady):
        models.repository.resolve("spleen", "2.0.0")
    await models.repository.load("spleen", "2.0.0")
    assert models.default("spleen") == "2.0.0"
    with pytest.raises(ModelVersionNotFound):
        await models.repository.unload("spleen", "3.0.0")


async def test_a_pinned_version_answers_whatever_else_there_is() -> None:
    """And nothing else does in its place."""
    models = Models(found("spleen", "1.0.0"), found("spleen", "2.0.0"), pins={"spleen": "1.0.0"})
    await models.repository.rescan()
    assert models.default("spleen") == "1.0.0"
    await models.repository.unload("spleen", "1.0.0")
    with pytest.raises(ModelNotReady):
        models.repository.resolve("spleen", None)


async def test_a_pin_to_a_version_that_is_not_there_keeps_the_name_silent() -> None:
    """Another version would be a surprise; the server is not ready, and each version answers by its number."""
    models = Models(found("spleen", "2.0.0"), pins={"spleen": "1.0.0"})
    await models.repository.rescan()
    with pytest.raises(ModelNotReady):
        models.repository.resolve("spleen", None)
    assert models.repository.resolve("spleen", "2.0.0").version == "2.0.0"
    assert not models.repository.ready
    assert not any(status.default for status in models.repository.index())


async def test_changed_files_are_loaded_beside_the_old_copy() -> None:
    """The version means the new copy once it is ready; whoever holds the old one keeps it until it lets go."""
    models = Models(found("spleen"))
    await models.repository.rescan()
    old = models.repository.resolve("spleen", None)
    old.acquire()
    models.offered[:] = [found("spleen", content="b")]
    await models.repository.load("spleen")
    new = models.repository.resolve("spleen", None)
    assert (old.digest, new.digest) == ("sha256:spleen1.0.0a", "sha256:spleen1.0.0b")
    first = models.executors[0]
    assert first.ready
    old.release()
    while not first.closed:  # noqa: ASYNC110 - it is closed in the repository's own time
        await asyncio.sleep(0)
    assert models.executors[1].ready


async def test_changed_files_that_fail_leave_the_old_copy_answering() -> None:
    """READY, with the reason why the newer files are not served; loading tries again."""
    models = Models(found("spleen"))
    await models.repository.rescan()
    models.offered[:] = [found("spleen", content="b")]
    models.errors["spleen", "1.0.0"] = LoadFailed("no weights")
    with pytest.raises(BundleError, match="newer files are not served: no weights"):
        await models.repository.load("spleen")
    assert models.states() == {"spleen 1.0.0": "READY"}
    assert models.repository.resolve("spleen", None).digest == "sha256:spleen1.0.0a"
    models.errors.clear()
    await models.repository.load("spleen")
    assert models.reason("spleen") == ""
    assert models.repository.resolve("spleen", None).digest == "sha256:spleen1.0.0b"


async def test_what_has_gone_from_its_source_is_retired() -> None:
    """A version, and then the last one and with it the name."""
    models = Models(found("spleen", "1.0.0"), found("spleen", "2.0.0"))
    await models.repository.rescan()
    held = models.repository.resolve("spleen", None)
    held.acquire()
    del models.offered[1]
    await models.repository.rescan()
    assert models.states() == {"spleen 1.0.0": "READY"}
    assert models.default("spleen") == "1.0.0"
    assert models.executor("spleen", "2.0.0").ready  # somebody still waits for its answer
    models.offered.clear()
    await models.repository.rescan()
    assert models.states() == {}
    await models.repository.close()
    assert all(executor.closed for executor in models.executors)


async def test_a_watcher_waits_until_a_copy_has_been_written() -> None:
    """What is new or changed is loaded at the second look that finds it the same."""
    models = Models(found("spleen", content="half"))
    await models.repository.rescan(settled=True)
    assert models.executors == []
    models.offered[:] = [found("spleen", content="whole")]
    await models.repository.rescan(settled=True)
    assert models.executors == []
    await models.repository.rescan(settled=True)
    assert models.repository.resolve("spleen", None).digest == "sha256:spleen1.0.0whole"
    await models.repository.rescan(settled=True)
    assert len(models.executors) == 1


async def test_a_watcher_does_not_try_again_what_failed() -> None:
    """Until its files change; whoever sends SIGHUP wants it tried."""
    models = Models(found("spleen"))
    models.errors["spleen", "1.0.0"] = LoadFailed("no weights")
    for _ in range(3):
        await models.repository.rescan(settled=True)
    assert len(models.executors) == 1
    models.errors.clear()
    await models.repository.rescan()
    assert models.states() == {"spleen 1.0.0": "READY"}


async def test_the_texts_of_a_model_are_those_of_the_copy_that_answers() -> None:
    """Nothing where it has none."""
    models = Models(found("spleen"))
    await models.repository.rescan()
    assert models.repository.text("spleen", None, "card") == ""
    models.repository.resolve("spleen", None).texts = {"card": "# Spleen"}
    assert models.repository.text("spleen", "1.0.0", "card") == "# Spleen"


async def test_a_load_whose_caller_goes_is_as_if_it_had_not_been_tried() -> None:
    """The old copy answers, and the next load does not take it for the new one."""
    models = Models(found("spleen", content="old"))
    await models.repository.rescan()
    models.offered = [found("spleen", content="new")]
    models.blocked.add(("spleen", "1.0.0"))
    loading = asyncio.create_task(models.repository.load("spleen"))
    await models.loading("spleen", after=1)
    loading.cancel()
    await asyncio.gather(loading, return_exceptions=True)
    assert models.states() == {"spleen 1.0.0": "READY"}
    models.blocked.clear()
    await models.repository.load("spleen")
    assert models.repository.resolve("spleen", None).digest == "sha256:spleen1.0.0new"


async def test_a_first_load_whose_caller_goes_leaves_it_unloaded() -> None:
    """Not loading for ever."""
    models = Models(found("spleen"))
    models.blocked.add(("spleen", "1.0.0"))
    loading = asyncio.create_task(models.repository.load("spleen"))
    await models.loading("spleen")
    loading.cancel()
    await asyncio.gather(loading, return_exceptions=True)
    assert models.states() == {"spleen 1.0.0": "UNLOADED"}


async def test_what_is_unloaded_while_others_load_stays_unloaded() -> None:
    """A look at the sources that has begun before does not bring it back."""
    models = Models(found("liver"), found("spleen"))
    models.blocked.add(("liver", "1.0.0"))
    scanning = asyncio.create_task(models.repository.rescan())
    executor = await models.loading("liver")
    await models.repository.unload("spleen")
    executor.may_load.set()
    await scanning
    assert models.states() == {"liver 1.0.0": "READY", "spleen 1.0.0": "UNLOADED"}


async def test_an_unload_whose_caller_goes_cuts_nobody_off() -> None:
    """Who is still answered by the model is answered; then it ends."""
    models = Models(found("spleen"))
    await models.repository.rescan()
    model, executor = models.repository.resolve("spleen", None), models.executor("spleen")
    model.acquire()
    unloading = asyncio.create_task(models.repository.unload("spleen"))
    await asyncio.sleep(0)
    unloading.cancel()
    await asyncio.gather(unloading, return_exceptions=True)
    await asyncio.sleep(0)
    assert not executor.closed
    model.release()
    await until(lambda: executor.closed)
