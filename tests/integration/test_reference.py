"""``bedside bundle test`` beside MONAI, in real processes: each kind of bundle, one that differs, those that cannot."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nibabel import Nifti1Image

from bedside import bootstrap
from bedside.bundle.agreement import NotComparable
from bedside.bundle.contract import Contract, FeatureSpec, InputSpec
from bedside.bundle.folder import open_bundle
from bedside.registry.parity import Comparison
from bedside.runtime.reference import MonaiRun
from bedside.runtime.staging import Staging
from bedside.settings import RuntimeSettings, Settings
from bedside.types import Prediction, RawRecord

APPS = Path(__file__).resolve().parents[2] / "apps"
FEATURES = tuple(FeatureSpec(name, name) for name in ("age", "chol", "thalach"))
CONTRACT = Contract("m", "1", "sha256:0", "", "", (InputSpec("features", "record", (), features=FEATURES),), (), {})
RECORD = RawRecord({"age": 50, "chol": 1, "thalach": 1})


async def compared(root: Path, settings: Settings) -> list[Comparison]:
    """Run a bundle's golden cases both ways."""
    results = await bootstrap.run_golden_cases(settings, open_bundle(root))
    assert list(settings.runtime.staging_dir.iterdir()) == []
    assert not [result.remarks for result, _ in results if result.outcome == "failed"]
    return [comparison for _, comparison in results if comparison is not None]


def with_case(root: Path, inputs: dict[str, Any], expected: dict[str, Any]) -> Path:
    """Give a bundle one golden case."""
    (root / "golden").mkdir(exist_ok=True)
    case = {"name": "one", "inputs": inputs, "expected": expected}
    (root / "golden" / "cases.json").write_text(json.dumps([case]))
    return root


@pytest.mark.parametrize("model", ["heart_disease", "chest_xray_pneumonia", "hippocampus_mr"])
async def test_the_apps_answer_as_monai_does(model: str, settings: Settings) -> None:
    """A table's row, a picture, a volume pass, and are equal to the last bit, or the last but one of a float."""
    found = [
        comparison for comparison in await compared(APPS / model, settings) if "pip install" not in comparison.remarks
    ]
    assert {comparison.outcome for comparison in found} <= {"agrees", "not compared"}
    for comparison in found:
        for output in comparison.outputs:
            assert output.largest_difference <= 1e-6
            assert output.elements > 1


async def test_a_mask_is_compared_voxel_by_voxel(bundles: Path, settings: Settings, tmp_path: Path) -> None:
    """The file that MONAI wrote beside the served one; without an expectation for it, each voxel must be equal."""
    root = Path(shutil.copytree(bundles / "volume_segmentation", tmp_path / "volume"))
    with_case(root, {"image": "scan.nii"}, {})
    voxels = np.random.default_rng(0).normal(size=(20, 21, 22)).astype(np.float32)
    (root / "golden" / "scan.nii").write_bytes(Nifti1Image(voxels, np.diag([2, 1, 1, 1])).to_bytes())
    (found,) = await compared(root, settings)
    assert found.outcome == "agrees"
    assert [(output.elements, output.equal) for output in found.outputs] == [(20 * 21 * 22, 20 * 21 * 22)]
    assert found.served_seconds > 0
    assert found.monai_seconds > 0


def monai(root: Path, settings: Settings, staging: Staging, **runtime: Any) -> MonaiRun:
    """Return what runs a record bundle by MONAI."""
    chosen: RuntimeSettings = settings.runtime.model_copy(update=runtime)
    return MonaiRun(open_bundle(root), CONTRACT, chosen, staging)


@pytest.fixture
def staging(settings: Settings) -> Any:
    """Return where processes get their folders; nothing is left in it."""
    made = Staging(settings.runtime.staging_dir)
    yield made
    assert list(made._root.iterdir()) == []
    made.close()


async def test_other_weights_give_another_answer(
    bundles: Path, settings: Settings, staging: Staging, tmp_path: Path
) -> None:
    """So the comparison can fail: MONAI reads the bundle's own weights, in a process of its own."""
    root = Path(shutil.copytree(bundles / "record_classification", tmp_path / "other"))
    torch.manual_seed(7)
    torch.save(torch.nn.Linear(3, 2).state_dict(), root / "models" / "model.pt")
    answers: list[Prediction] = [
        await monai(place, settings, staging)({"features": RECORD})
        for place in (bundles / "record_classification", root)
    ]
    first, second = (next(a.array for a in answer.arrays if a.name == "pred") for answer in answers)
    assert first.sum() == pytest.approx(1, abs=1e-6)
    assert not np.allclose(first, second, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "age", "reason"),
    [
        ("missing_weights", 50, "monai.bundle cannot run it here: FileNotFoundError"),
        ("missing_package", 50, "surely_not_installed"),
        ("misbehaving", 101, "its process ended before it had an answer"),
        ("misbehaving", 103, "monai.bundle cannot run it here: ValueError"),
    ],
)
async def test_a_bundle_that_monai_cannot_run_says_why(
    bundles: Path, settings: Settings, staging: Staging, name: str, age: float, reason: str
) -> None:
    """An exception of its code, a process that ends: a sentence, and no process or file is left."""
    record = RawRecord({**RECORD.values, "age": age})
    with pytest.raises(NotComparable, match=reason):
        await monai(bundles / name, settings, staging)({"features": record})


async def test_a_run_that_hangs_is_ended(bundles: Path, settings: Settings, staging: Staging) -> None:
    """After ``runtime.load_seconds``; the setting is named."""
    record = RawRecord({**RECORD.values, "age": 102})
    with pytest.raises(NotComparable, match="load_seconds"):
        await monai(bundles / "misbehaving", settings, staging, load_seconds=5.0)({"features": record})


async def test_an_answer_over_the_bound_is_not_taken(bundles: Path, settings: Settings, staging: Staging) -> None:
    """The reference runs the bundle's code too."""
    with pytest.raises(NotComparable, match="something else"):
        await monai(bundles / "record_classification", settings, staging, answer_bytes=4)({"features": RECORD})
