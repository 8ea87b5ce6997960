"""What every test may use: a clean environment, small limits, and the bundles of ``tests/assets/bundles``."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
from tests.emitted import (
    _hold_lines_against_the_schema,  # noqa: F401 - fixtures of every test
    _watch_servers,  # noqa: F401
)

from bedside.log_settings import LogSettings
from bedside.settings import LimitSettings, RuntimeSettings, Settings

if TYPE_CHECKING:
    from xdist.scheduler import LoadFileScheduling

REPOSITORY = Path(__file__).resolve().parent.parent

# How long an example takes tells of the machine's other work, not of the code.
hypothesis.settings.register_profile("bedside", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("bedside")

GIBIBYTES_PER_WORKER = 3
"""A worker's own memory with torch, its server of ``apps/`` and their model processes, with room to spare."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Run two workers a core, where memory allows: half of the time they wait for servers that start."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 30
    return max(1, min(2 * (os.cpu_count() or 1), memory // GIBIBYTES_PER_WORKER))


ONE_SERVER = "tests/acceptance"
APART = ("test_admission.py", "test_hot_swap.py", "test_no_patient_in_any_sink.py", "test_references.py")
"""Files of that folder with servers of their own, or without one; the others share one (``served``)."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> "LoadFileScheduling | None":
    """Give a file to one worker, and all that share a server to the same: it costs a worker half a minute to start."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling  # noqa: PLC0415 - only where tests are distributed

    class ByServer(LoadFileScheduling):  # type: ignore[misc] # it has no types
        def _split_scope(self, nodeid: str) -> str:
            file = str(super()._split_scope(nodeid))
            return ONE_SERVER if file.startswith(ONE_SERVER) and not file.endswith(APART) else file

    return ByServer(config, log)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no setting of whoever runs the tests reach them."""
    for name in [name for name in os.environ if name.startswith("BEDSIDE_") and name != "BEDSIDE_DATA"]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build every test bundle once; return the folder that holds them."""
    from tests.assets.bundles.build_bundles import build_all  # noqa: PLC0415 - imports torch and MONAI

    folder = tmp_path_factory.mktemp("bundles")
    build_all(folder)
    return folder


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Return settings with small limits and folders of the test's own."""
    staging = tmp_path / "staging"
    staging.mkdir()
    return Settings(
        env="test",
        limits=LimitSettings(
            body_bytes=4 << 20, decompressed_bytes=16 << 20, json_bytes=1 << 20, request_seconds=60.0, queue_length=2
        ),
        runtime=RuntimeSettings(
            device="cpu",
            load_seconds=120.0,
            forecast_seconds=0.5,
            stop_grace_seconds=0.05,
            restart_backoff_seconds=0.01,
            restart_backoff_max_seconds=0.05,
            staging_dir=staging,
            state_dir=tmp_path / "state",
        ),
        log=LogSettings(level="error"),
    )


@pytest.fixture(scope="session")
def bedside_data() -> Path:
    """Return the folder with public data sets (BEDSIDE_DATA), or skip where there is none."""
    folder = Path(os.environ.get("BEDSIDE_DATA") or REPOSITORY.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip("needs public data: set BEDSIDE_DATA to the folder that holds hippocampus_mr and the others")
    return folder
