"""Bundles that cannot be loaded in a process: the reason is told, and nothing is left behind."""

import asyncio
import multiprocessing
import shutil
from pathlib import Path

import pytest
from tests.integration.model_process.wishes import Serve, tell_imports
from tests.waiting import until

from bedside.bundle.folder import open_bundle
from bedside.errors import LoadFailed
from bedside.runtime.model_process import fork_server
from bedside.runtime.process import ProcessExecutor
from bedside.runtime.staging import Staging
from bedside.settings import Settings


@pytest.mark.parametrize(
    ("bundle", "text"),
    [
        ("missing_package", "pip install surely_not_installed"),
        ("missing_weights", "model.pt"),
        ("broken_configuration", "JSONDecodeError"),
    ],
)
async def test_a_bundle_that_cannot_be_built_says_what_to_mend(
    serve: Serve, settings: Settings, bundle: str, text: str
) -> None:
    """LoadFailed carries the reason from the model's process, and nothing is left behind."""
    with pytest.raises(LoadFailed, match=text):
        async with serve(bundle, workers=2):
            pass
    assert list(settings.runtime.staging_dir.iterdir()) == []


async def test_loading_takes_no_longer_than_it_may(bundles: Path, settings: Settings) -> None:
    """A bundle that does not get ready in ``load_seconds`` is ended, and the setting is named."""
    runtime = settings.runtime.model_copy(update={"load_seconds": 0.01})
    staging = Staging(runtime.staging_dir)
    executor = ProcessExecutor(open_bundle(bundles / "misbehaving"), runtime, staging)
    with pytest.raises(LoadFailed, match="load_seconds"):
        await executor.load()
    assert not executor.ready
    assert list(staging._root.iterdir()) == []


async def test_loading_that_is_cancelled_leaves_no_process(bundles: Path, settings: Settings) -> None:
    """A server that is stopped while it loads has no child afterwards."""
    staging = Staging(settings.runtime.staging_dir)
    executor = ProcessExecutor(open_bundle(bundles / "misbehaving"), settings.runtime, staging)
    loading = asyncio.ensure_future(executor.load())
    await until(lambda: any(staging._root.iterdir()))
    loading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loading
    assert list(staging._root.iterdir()) == []


async def test_a_process_that_ends_while_loading_tells_its_exit_code(
    bundles: Path, settings: Settings, tmp_path: Path
) -> None:
    """A bundle that exits while it is built is a LoadFailed, not a hang."""
    root = tmp_path / "exits_while_loading"
    shutil.copytree(bundles / "misbehaving", root)
    (root / "scripts" / "network.py").write_text("import os\nos._exit(7)\n")
    executor = ProcessExecutor(open_bundle(root), settings.runtime, Staging(settings.runtime.staging_dir))
    with pytest.raises(LoadFailed, match="exit code 7"):
        await executor.load()


@pytest.mark.parametrize("bundle", ["record_classification", "plane_classification", "volume_segmentation"])
def test_loading_imports_little(bundles: Path, tmp_path: Path, bundle: str) -> None:
    """What the fork server has not imported, every model's process compiles for itself: it reads no bytecode."""
    ours, theirs = multiprocessing.Pipe()
    process = fork_server().Process(target=tell_imports, args=(bundles / bundle, tmp_path, theirs))
    process.start()
    theirs.close()
    imported = ours.recv()
    process.join()
    assert len(imported) < 20, imported
