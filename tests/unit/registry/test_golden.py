"""Golden cases at load: a model whose answers differ does not serve."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bedside.bundle.contract import Contract, FeatureSpec, InputSpec, OutputSpec
from bedside.bundle.folder import BundleFolder
from bedside.bundle.metadata import Metadata
from bedside.bundle.policy import Policy
from bedside.codecs import Codecs
from bedside.errors import GoldenMismatch, InvalidBundle, RunFailed
from bedside.registry.golden import GoldenCheck, GoldenResult, outcomes
from bedside.settings import LimitSettings, RegistrySettings
from bedside.types import OutputArray, Prediction, ValidatedInputs

CONTRACT = Contract(
    "heart",
    "1.0.0",
    "sha256:0",
    "",
    "",
    (InputSpec("features", "record", ("application/json",), features=(FeatureSpec("age", "years"),)),),
    (OutputSpec("pred", "probabilities", "float32", (2,), {0: "no", 1: "yes"}),),
    {},
)


class Executor:
    """Answers with the age in per cent, or as the test wants."""

    device = "cpu"
    concurrency = 1
    ready = True
    error: Exception | None = None
    hangs = False
    way = ""
    """The form of its network; in a quicker one than PyTorch's own, ages are wrong by ``error_of_way``."""
    error_of_way = 0.2

    def __init__(self) -> None:
        self.left: list[str] = []

    async def load(self) -> Contract:
        """Return the contract."""
        return CONTRACT

    async def run(self, inputs: ValidatedInputs, *, timeout_seconds: float) -> Prediction:
        """Answer."""
        if self.error:
            raise self.error
        if self.hangs:
            await asyncio.Event().wait()
        age = float(inputs.items[0].values[0]) / 100  # type: ignore[union-attr]
        age += self.error_of_way if self.way else 0
        return Prediction((OutputArray("pred", np.array([1 - age, age], np.float32)),))

    async def run_eager(self) -> str:
        """Leave the quicker form."""
        left, self.way = self.way, ""
        return left

    async def close(self) -> None:
        """End."""


def case(name: str, age: float, expected: float) -> dict[str, Any]:
    """Return a case as in cases.json."""
    wanted = {"probabilities": {"yes": expected}, "tolerance": 0.001}
    return {"name": name, "inputs": {"features": {"age": age}}, "expected": {"pred": wanted}}


@pytest.fixture
def folder(tmp_path: Path) -> BundleFolder:
    """Return a bundle folder without cases."""
    (tmp_path / "golden").mkdir()
    return BundleFolder(tmp_path, "heart", Metadata(version="1.0.0"), Policy(), "sha256:0")


def write(folder: BundleFolder, *cases: Any) -> None:
    """Write the cases."""
    (folder.root / "golden" / "cases.json").write_text(json.dumps(cases))


async def checked(folder: BundleFolder, executor: Executor | None = None, **settings: Any) -> Sequence[GoldenResult]:
    """Check a model; return what was told of its cases."""
    told: list[GoldenResult] = []
    executor = executor or Executor()
    check = GoldenCheck(
        RegistrySettings(**settings),
        Codecs(LimitSettings()),
        lambda _folder, results: told.extend(results),
        lambda _folder, left: executor.left.append(left),
    )
    await check(folder, executor, CONTRACT)
    return told


async def test_right_answers_pass(folder: BundleFolder) -> None:
    """Each case is told with its outcome."""
    write(folder, case("a", 63, 0.63), case("b", 20, 0.2))
    results = await checked(folder)
    assert outcomes(results) == {"passed": 2, "failed": 0, "skipped": 0}
    assert all(result.seconds > 0 for result in results)


async def test_a_bundle_without_cases_passes(folder: BundleFolder) -> None:
    """They are optional."""
    assert await checked(folder) == []


async def test_a_wrong_answer_refuses_the_model(folder: BundleFolder) -> None:
    """The case and the difference are named."""
    write(folder, case("a", 63, 0.63), case("b", 20, 0.5))
    with pytest.raises(GoldenMismatch, match=r"case 'b': pred: probability of yes is 0\.2000, expected 0\.5"):
        await checked(folder)
    assert outcomes(await checked(folder, golden="warn"))["failed"] == 1
    assert await checked(folder, golden="off") == []


async def test_a_case_whose_package_is_missing_is_left_out(folder: BundleFolder) -> None:
    """It says nothing about the model."""
    absent = {"package": "no_such_package_here", "path": "a.nii"}
    write(folder, {"name": "a", "inputs": {"image": absent}, "expected": {}}, case("b", 63, 0.63))
    assert [result.outcome for result in await checked(folder)] == ["skipped", "passed"]


async def test_a_model_that_fails_on_a_case_is_refused(folder: BundleFolder) -> None:
    """With what it said."""
    write(folder, case("a", 63, 0.63))
    executor = Executor()
    executor.error = RunFailed("broken")
    with pytest.raises(GoldenMismatch, match="case 'a': broken"):
        await checked(folder, executor)


async def test_a_case_that_does_not_end_has_failed(folder: BundleFolder) -> None:
    """All cases together have so many seconds."""
    write(folder, case("a", 63, 0.63), case("b", 20, 0.2))
    executor = Executor()
    executor.hangs = True
    with pytest.raises(GoldenMismatch, match=r"not finished in time.*2 of 2"):
        await checked(folder, executor, golden_seconds=0.01)


async def test_cases_that_cannot_be_read_refuse_the_model(folder: BundleFolder) -> None:
    """Unless the operator only wants to be warned."""
    (folder.root / "golden" / "cases.json").write_text("{")
    with pytest.raises(InvalidBundle):
        await checked(folder)
    assert await checked(folder, golden="warn") == []


@pytest.mark.parametrize("named", ["../secret.json", "/etc/hostname", "link.json"])
async def test_a_case_reads_no_file_outside_its_folder(folder: BundleFolder, named: str) -> None:
    """Neither as input nor as expectation; its content would show in the reason."""
    (folder.root / "secret.json").write_text("{}")
    (folder.root / "golden" / "link.json").symlink_to("../secret.json")
    write(folder, {"name": "a", "inputs": {"features": named}, "expected": {}})
    with pytest.raises(GoldenMismatch, match="outside its folder"):
        await checked(folder)
    expected = {"pred": {"file": named, "min_dice": 1}}
    write(folder, {"name": "a", "inputs": {"features": {"age": 1}}, "expected": expected})
    with pytest.raises(GoldenMismatch, match="outside its folder"):
        await checked(folder)


@pytest.mark.parametrize("package", ["os.path", "../x", "", "1"])
async def test_a_case_imports_no_package(folder: BundleFolder, package: str) -> None:
    """To find a sub-package, Python would import what is above it."""
    write(folder, {"name": "a", "inputs": {"image": {"package": package, "path": "x"}}, "expected": {}})
    with pytest.raises(GoldenMismatch, match="top-level"):
        await checked(folder)


async def test_a_case_reads_no_file_outside_its_package(folder: BundleFolder) -> None:
    """The path is one inside the package."""
    write(folder, {"name": "a", "inputs": {"image": {"package": "json", "path": "../os.py"}}, "expected": {}})
    with pytest.raises(GoldenMismatch, match="outside its folder"):
        await checked(folder)


@pytest.mark.parametrize("golden", ["require", "warn"])
async def test_a_quicker_form_that_answers_wrong_is_left(folder: BundleFolder, golden: str) -> None:
    """PyTorch's own is judged then, and its results are those that are told: only they are served."""
    write(folder, case("a", 63, 0.63))
    executor = Executor()
    executor.way = "openvino_bf16"
    results = await checked(folder, executor, golden=golden)
    assert executor.left == ["openvino_bf16"]
    assert outcomes(results) == {"passed": 1, "failed": 0, "skipped": 0}


async def test_a_quicker_form_that_answers_right_is_kept(folder: BundleFolder) -> None:
    """Nothing is loaded twice."""
    write(folder, case("a", 63, 0.63))
    executor = Executor()
    executor.way, executor.error_of_way = "freeze", 0.0
    await checked(folder, executor)
    assert (executor.way, executor.left) == ("freeze", [])


async def test_a_model_that_is_wrong_in_either_form_is_refused(folder: BundleFolder) -> None:
    """What the author expects is not what the bundle gives, however its network is run."""
    write(folder, case("a", 63, 0.5))
    executor = Executor()
    executor.way = "freeze"
    with pytest.raises(GoldenMismatch, match="probability of yes is 0\\.6300"):
        await checked(folder, executor)
    assert executor.left == ["freeze"]
