"""Where a bundle runs that asks for the event loop: there if it may and is quick, else in a process of its own."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from tests.unit.observability.test_metrics import value

from bedside import bootstrap
from bedside.bundle.folder import open_bundle
from bedside.observability.metrics import Metrics
from bedside.registry.finding import Finder
from bedside.runtime.inline import InlineExecutor
from bedside.runtime.staging import Staging
from bedside.settings import Settings
from bedside.storage.folders import FolderSource
from bedside.types import DecodedRecord, ValidatedInputs

RECORD = ValidatedInputs((DecodedRecord("features", np.array([5, 1, 1], np.float32), {}),))


class Site:
    """A repository with one bundle, and what was told of it."""

    def __init__(self, root: Path, settings: Settings) -> None:
        self.metrics = Metrics()
        self.said: list[str] = []
        self.staging = Staging(settings.runtime.staging_dir)
        finder = Finder([FolderSource(root.parent)])
        self.repository = bootstrap.make_repository(settings, finder, self.staging, self.metrics, self.said.append)

    def gauge(self, name: str) -> float | None:
        """Return a number of the model."""
        return value(self.metrics, name, model="heart")


@pytest.fixture
def heart(bundles: Path, tmp_path: Path) -> Path:
    """Return a bundle that asks for the event loop."""
    root = Path(shutil.copytree(bundles / "record_classification", tmp_path / "models" / "heart"))
    (root / "bedside.toml").write_text('execution = "inline"\n')
    assert open_bundle(root).policy.execution == "inline"
    return root


@pytest.fixture
async def site(request: pytest.FixtureRequest, heart: Path, settings: Settings) -> AsyncIterator[Site]:
    """Return a site with this bundle, loaded, with some of its settings changed."""
    runtime = settings.runtime.model_copy(update=getattr(request, "param", {}))
    site = Site(heart, settings.model_copy(update={"runtime": runtime}))
    await site.repository.rescan()
    yield site
    await site.repository.close()
    site.staging.close()


async def answer_of(site: Site) -> tuple[int, ...]:
    """Return the shape of the answer to a record."""
    model = site.repository.resolve("heart", None)
    return (await model.executor.run(RECORD, timeout_seconds=60.0)).arrays[0].array.shape


async def test_a_quick_bundle_runs_on_the_event_loop(site: Site) -> None:
    """No process is started for it."""
    assert isinstance(site.repository.resolve("heart", None).executor, InlineExecutor)
    assert not site.gauge("bedside_model_process_starts_total")
    assert await answer_of(site) == (2,)


@pytest.mark.parametrize(
    ("site", "why"),
    [({"inline_seconds": 1e-9}, "too_slow"), ({"inline": "off"}, "switched_off")],
    indirect=["site"],
)
async def test_one_that_is_slow_or_unwanted_there_runs_in_a_process(site: Site, why: str) -> None:
    """It answers all the same, and the person at the terminal is told why."""
    assert site.gauge("bedside_model_process_starts_total") == 1
    assert site.said == [f"heart 1.2.0 runs in a process of its own: {why}", "heart 1.2.0 is ready"]
    assert await answer_of(site) == (2,)


async def test_one_with_code_of_its_own_runs_in_a_process(heart: Path, settings: Settings) -> None:
    """It is not even tried on the event loop."""
    policy = settings.admission.model_copy(update={"mode": "warn"})
    (heart / "scripts").mkdir()
    (heart / "scripts" / "__init__.py").write_text("")
    site = Site(heart, settings.model_copy(update={"admission": policy}))
    await site.repository.rescan()
    try:
        assert site.said[0] == "heart 1.2.0 runs in a process of its own: not_configuration"
        assert site.gauge("bedside_model_process_starts_total") == 1
    finally:
        await site.repository.close()
        site.staging.close()


async def test_a_busy_one_shows_in_the_gauge(site: Site) -> None:
    """Each call that has found it counts until its account, also those of a copy that is being replaced."""
    old = site.repository.resolve("heart", None)
    old.acquire()
    old.acquire()
    assert (site.gauge("bedside_in_flight"), site.gauge("bedside_queue_length")) == (2, 0)
    (old.folder.root / "LICENSE").write_text("newer")
    await site.repository.rescan()
    new = site.repository.resolve("heart", None)
    new.acquire()
    assert new is not old
    assert site.gauge("bedside_in_flight") == 3
    for model in (old, old, new):
        model.release()
    assert site.gauge("bedside_in_flight") == 0
