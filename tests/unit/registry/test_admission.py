"""The gate before loading: who passes, what is logged, and what becomes of the model."""

import asyncio
import io
import json
import shutil
from pathlib import Path
from typing import Any, Literal

import pytest

from bedside.bundle.folder import BundleFolder, open_bundle
from bedside.bundle.vetting import SitePolicy, Verdict
from bedside.errors import BundleError, NotAdmitted
from bedside.log_settings import LogSettings
from bedside.observability.logging import configure
from bedside.registry import loading
from bedside.registry.admission import Admission, AdmissionLog
from bedside.registry.finding import Found
from bedside.registry.repository import Repository
from bedside.settings import AdmissionSettings, Settings


class Loader:
    """An executor that counts its loads."""

    device = "cpu"
    concurrency = 1
    ready = False

    def __init__(self, _folder: BundleFolder) -> None:
        self.loads = 0

    async def load(self) -> Any:
        """Load."""
        self.loads += 1
        self.ready = True

    async def run(self, inputs: Any, *, timeout_seconds: float) -> Any:
        """Run nothing."""

    async def run_eager(self) -> str:
        """Do nothing."""
        return ""

    async def close(self) -> None:
        """End."""


@pytest.fixture
def coded(bundles: Path) -> BundleFolder:
    """Return a bundle with code of its own."""
    return open_bundle(bundles / "misbehaving")


@pytest.fixture
def plain(bundles: Path, tmp_path: Path) -> BundleFolder:
    """Return a bundle that is data only, and may be changed."""
    return open_bundle(Path(shutil.copytree(bundles / "record_classification", tmp_path / "plain")))


def gate(mode: Literal["enforce", "warn"] = "enforce", **policy: Any) -> tuple[Admission, list[Verdict]]:
    """Return a gate, and the list of its verdicts."""
    told: list[Verdict] = []
    settings = AdmissionSettings(mode=mode)
    return Admission(settings, SitePolicy(**policy), lambda _folder, verdict: told.append(verdict)), told


async def test_a_harmless_bundle_passes(plain: BundleFolder) -> None:
    """With its verdict."""
    admission, told = gate()
    assert (await admission.admit(plain)).trust == "data_only"
    assert len(told) == 1


async def test_code_is_stopped_with_its_reason(coded: BundleFolder) -> None:
    """And it passes where its digest is pinned."""
    admission, told = gate()
    with pytest.raises(NotAdmitted, match=r"scripts.*bedside bundle vet"):
        await admission.admit(coded)
    assert [verdict.admitted for verdict in told] == [False]
    assert (await gate(scripts="pinned", allowed_digests=(coded.digest,))[0].admit(coded)).trust == "pinned"


async def test_in_mode_warn_code_passes_and_is_told(coded: BundleFolder) -> None:
    """For a developer's own machine."""
    admission, told = gate("warn")
    assert not (await admission.admit(coded)).admitted
    assert len(told) == 1


@pytest.mark.parametrize("mode", ["enforce", "warn"])
async def test_files_that_have_changed_are_stopped(plain: BundleFolder, mode: Any) -> None:
    """The digest that was opened, judged and loaded is one and the same; in either mode."""
    (plain.root / "LICENSE").write_text("x")
    with pytest.raises(NotAdmitted, match="changed"):
        await gate(mode)[0].admit(plain)


async def test_what_is_refused_is_not_loaded_and_the_others_serve(coded: BundleFolder, plain: BundleFolder) -> None:
    """UNAVAILABLE with the reason, in the index and for whoever asks to load it."""
    loaders: dict[str, Loader] = {}

    def make(folder: BundleFolder, _not_inline: object) -> Loader:
        return loaders.setdefault(folder.name, Loader(folder))

    found = [Found(one.name, "1.0.0", "", one) for one in (coded, plain)]
    repository = Repository(lambda: found, loading.Loader(gate()[0].admitted, make))
    await repository.rescan()
    states = {status.name: (status.state, status.reason[:12]) for status in repository.index()}
    assert states == {"misbehaving": ("UNAVAILABLE", "not admitted"), "plain": ("READY", "")}
    assert {name: loader.loads for name, loader in loaders.items()} == {"plain": 1}
    with pytest.raises(BundleError, match="not admitted"):
        await repository.load("misbehaving")


@pytest.mark.parametrize("mode", ["enforce", "warn"])
def test_every_verdict_is_one_event(coded: BundleFolder, plain: BundleFolder, mode: Any) -> None:
    """With names of rules, and without a word of the bundle's."""
    stream = io.BytesIO()
    log = configure(Settings(env="test", log=LogSettings(buffer_lines=0)), stream=stream)
    admission = Admission(AdmissionSettings(mode=mode), SitePolicy(), AdmissionLog(mode))
    for folder in (plain, coded):
        try:
            asyncio.run(admission.admit(folder))
        except NotAdmitted:
            assert mode == "enforce"
    log.flush()
    good, bad = (json.loads(line) for line in stream.getvalue().splitlines())
    log.close()
    assert (good["message"], good["log.level"]) == ("bundle_admitted", "info")
    assert good["inference"]["bundle"]["trust"] == "data_only"
    assert (bad["message"], bad["log.level"]) == ("bundle_refused", "error")
    assert bad["inference"]["bundle"]["trust"] == "unsigned_code"
    assert bad["inference"]["admission"]["mode"] == mode
    assert bad["inference"]["admission"]["rules"] == "own_code+target"
    assert "Misbehaving" not in stream.getvalue().decode()
