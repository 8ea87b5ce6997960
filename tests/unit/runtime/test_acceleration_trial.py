"""How a bundle's network runs: as its tune file says, where that holds here and gives the same answer."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bedside.bundle.folder import BundleFolder, open_bundle
from bedside.bundle.tuned import Tuned, tune_file, write_tuned
from bedside.runtime import acceleration, acceleration_trial
from bedside.runtime.acceleration import Accelerated, Candidate
from bedside.runtime.acceleration_trial import this_machine
from bedside.runtime.engine import BundleEngine
from bedside.runtime.facts import WHY_EAGER, Acceleration, LoadedFacts
from bedside.runtime.loading import load
from bedside.runtime.staging import Staging
from bedside.settings import Settings


class Site:
    """A copy of a bundle, with what loads it."""

    def __init__(self, root: Path, settings: Settings, staging: Staging, output_dir: Path) -> None:
        self.folder: BundleFolder = open_bundle(root)
        self._settings, self._staging, self._output = settings.runtime, staging, output_dir

    def tune(self, name: str = "freeze", **changes: Any) -> None:
        """Write a tune file for here."""
        torch.set_num_threads(1)
        machine = this_machine(torch.device("cpu"))
        bound: dict[str, Any] = {"digest": self.folder.digest, "torch": machine.torch}
        bound |= {"processor": machine.processor, "threads": machine.threads}
        write_tuned(self.folder.root, Tuned(**{"acceleration": name, "ratio": 2.0, **bound, **changes}))

    def load(self, setting: str = "auto") -> tuple[BundleEngine, Acceleration]:
        """Load it."""
        settings = self._settings.model_copy(update={"acceleration": setting})
        engine, facts = load(self.folder, settings, self._staging, self._output)
        assert LoadedFacts.from_json(json.loads(json.dumps(facts.to_json()))).acceleration == facts.acceleration
        return engine, facts.acceleration

    def eager_because(self, setting: str = "auto") -> str:
        """Load it, expect its own network, return why."""
        engine, found = self.load(setting)
        network = engine._built.evaluator.network if engine._built.evaluator is not None else None
        assert not isinstance(network, Accelerated)
        assert found.name == "eager"
        assert found.why in WHY_EAGER
        return found.why


@pytest.fixture
def site(
    bundles: Path,
    tmp_path: Path,
    settings: Settings,
    staging: Staging,
    output_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Site:
    """Return a site with the bundle that the test names."""
    root = tmp_path / "site" / "model"
    shutil.copytree(bundles / getattr(request, "param", "plane_classification"), root)
    monkeypatch.setattr(sys, "path", [str(root), *sys.path])
    return Site(root, settings, staging, output_dir)


def test_the_network_runs_as_was_chosen(site: Site) -> None:
    """And answers as it did."""
    site.tune()
    engine, found = site.load()
    assert (found.name, found.why) == ("freeze", "")
    assert isinstance(engine._built.evaluator.network, Accelerated)


def test_without_a_choice_it_is_eager(site: Site) -> None:
    """As it is where it is switched off."""
    assert site.eager_because() == "not_tuned"
    site.tune()
    assert site.eager_because("off") == "switched_off"


@pytest.mark.parametrize(
    "changes", [{"digest": "sha256:0"}, {"torch": "1.0"}, {"processor": "another"}, {"threads": 64}]
)
def test_a_choice_for_something_else_is_ignored(site: Site, changes: dict[str, Any]) -> None:
    """Other files, another machine."""
    site.tune(**changes)
    assert site.eager_because() == "tuned_for_another"


def test_a_choice_that_is_malformed_is_ignored(site: Site) -> None:
    """No JSON, or a way that does not exist."""
    tune_file(site.folder.root).write_text("{")
    assert site.eager_because() == "malformed"
    site.tune("telepathy")
    assert site.eager_because() == "malformed"


def test_a_form_that_changes_the_answer_is_not_used(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the tune file says."""
    wrong = Candidate(lambda network, _: lambda values: network(values) * 1.5, 1e-3)
    monkeypatch.setattr(acceleration, "CANDIDATES", {"freeze": wrong})
    site.tune()
    assert site.eager_because() == "answers_differ"


def test_the_answer_to_the_sample_is_compared_too(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The network's numbers may pass, what becomes of them not: without golden cases only rounding may."""
    rough = Candidate(lambda network, _: lambda values: network(values) + 0.01 * network(values).roll(1, -1), 1.0)
    monkeypatch.setattr(acceleration, "CANDIDATES", {"freeze": rough})
    site.tune()
    assert site.eager_because() == "answers_differ"


def test_a_form_that_fails_on_the_sample_is_not_used(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The network that was there serves."""

    class Fails(Accelerated):
        def forward(self, *_inputs: Any, **_more: Any) -> Any:
            raise RuntimeError

    monkeypatch.setattr(acceleration_trial, "quicken", lambda network, _, example: Fails(network, network, example))
    site.tune()
    assert site.eager_because() == "not_made"


@pytest.mark.parametrize("site", ["record_classification"], indirect=True)
def test_records_stay_as_they_are(site: Site) -> None:
    """They run as one recorded graph."""
    site.tune()
    _, found = site.load()
    assert (found.name, found.why) == ("eager", "lean_records")


def test_golden_cases_judge_what_the_sample_cannot() -> None:
    """With them, the sample's answer must keep its form only."""
    from bedside.types import OutputArray, Prediction  # noqa: PLC0415

    def one(*values: float, dtype: type = np.float32) -> Prediction:
        return Prediction((OutputArray("pred", np.array(values, dtype)),))

    acceleration_trial._require_same(one(0, 1), one(0, 2), judged=True)
    for other in (one(0, 1, 2), one(0, 1, dtype=np.float64), Prediction(())):
        with pytest.raises(acceleration.StaysEager):
            acceleration_trial._require_same(one(0, 1), other, judged=True)
