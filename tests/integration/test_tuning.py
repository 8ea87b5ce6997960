"""``bedside bundle tune`` on a real bundle, with what is installed; a confined process then uses the choice."""

import json
import shutil
from pathlib import Path

import pytest

from bedside.bootstrap import loaded, make_repository, run_golden_cases, tune_bundle
from bedside.bundle.folder import open_bundle
from bedside.bundle.sample import sample_inputs
from bedside.bundle.tuned import Machine, Tuned, write_tuned
from bedside.observability.metrics import Metrics
from bedside.registry.finding import Finder
from bedside.runtime.staging import Staging
from bedside.settings import ACCELERATIONS, RuntimeSettings, Settings
from bedside.storage.folders import FolderSource
from bedside.types import DecodedImage, ValidatedInputs

HIPPOCAMPUS = Path(__file__).resolve().parents[2] / "apps" / "hippocampus_mr"


def choose(root: Path, way: str, machine: Machine) -> None:
    """Write what tuning would write where ``way`` is the fastest."""
    bound = {"torch": machine.torch, "processor": machine.processor, "threads": machine.threads}
    write_tuned(root, Tuned(acceleration=way, ratio=2.0, digest=open_bundle(root).digest, **bound))


@pytest.mark.slow
async def test_a_real_bundle_is_tuned_and_serves_so(settings: Settings, tmp_path: Path) -> None:
    """Each way that is installed runs in a confined process and agrees; a choice is used, and its golden cases pass."""
    for package in ("onnx", "onnxruntime", "openvino", "nilearn"):
        pytest.importorskip(package, reason="pip install 'bedside[accelerate,demo]'")
    root = tmp_path / "hippocampus_mr"
    shutil.copytree(HIPPOCAMPUS, root)
    folder = open_bundle(root)
    tuning = await tune_bundle(settings, folder, rounds=1)
    ways = {way.name: way for way in tuning.ways}
    assert tuning.inputs == ("mni152_right", "mni152_left")
    assert {name: (way.why, way.remarks) for name, way in ways.items()} == dict.fromkeys(ACCELERATIONS, ("", ()))
    assert min(way.equal for way in ways.values()) > 0.999
    # Which is the fastest depends on the machine and its load; that one is chosen is what follows.
    choice = max(tuning.ways, key=lambda way: way.ratio).name
    choose(root, choice, tuning.machine)
    async with loaded(settings, folder) as (executor, _):
        assert (executor.acceleration.name, executor.acceleration.why) == (choice, "")
    results = await run_golden_cases(settings, folder, with_monai=False)
    assert [result.outcome for result, _ in results] == ["passed", "passed"]


async def test_a_choice_that_the_golden_cases_refuse_is_served_eager(
    bundles: Path, settings: Settings, tmp_path: Path
) -> None:
    """A probability to seven digits is not what bfloat16 gives; PyTorch's own network gives it, and is served."""
    root = Path(shutil.copytree(bundles / "plane_classification", tmp_path / "models" / "picture"))
    runtime: RuntimeSettings = settings.runtime.model_copy(update={"acceleration": "off"})
    async with loaded(settings.model_copy(update={"runtime": runtime}), open_bundle(root)) as (eager, contract):
        (image,) = sample_inputs(contract.inputs, open_bundle(root).metadata).items
        prediction = await eager.run(ValidatedInputs((image,)), timeout_seconds=60.0)
        machine = eager.acceleration.machine
    assert isinstance(image, DecodedImage)
    (root / "golden").mkdir()
    (root / "golden" / "image.png").write_bytes(image.payload)
    sick = float(prediction.arrays[0].array.reshape(-1)[1])
    wanted = {"pred": {"probabilities": {"pneumonia": sick}, "tolerance": 1e-7}}
    case = {"name": "exact", "inputs": {"image": "image.png"}, "expected": wanted}
    (root / "golden" / "cases.json").write_text(json.dumps([case]))
    choose(root, "bf16", machine)
    staging, metrics, told = Staging(settings.runtime.staging_dir), Metrics(), list[str]()
    repository = make_repository(settings, Finder([FolderSource(root.parent)]), staging, metrics, told.append)
    try:
        await repository.rescan()
        assert [(model.state, model.reason) for model in repository.index()] == [("READY", "")]
        assert told == ["picture 1.2.0 runs as PyTorch runs it: its golden cases refuse bf16", "picture 1.2.0 is ready"]
        served = await repository.resolve("picture", None).executor.run(ValidatedInputs((image,)), timeout_seconds=60.0)
        assert served.arrays[0].array.tolist() == prediction.arrays[0].array.tolist()
    finally:
        await repository.close()
        staging.close()
