"""``bedside bundle tune`` on a real bundle, with what is installed; a confined process then uses the choice."""

import shutil
from pathlib import Path

import pytest

from bedside.bootstrap import loaded, run_golden_cases, tune_bundle
from bedside.bundle.folder import open_bundle
from bedside.bundle.tuned import Tuned, write_tuned
from bedside.settings import ACCELERATIONS, Settings

HIPPOCAMPUS = Path(__file__).resolve().parents[2] / "apps" / "hippocampus_mr"


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
    bound = tuning.machine
    write_tuned(
        root,
        Tuned(
            acceleration=choice,
            ratio=2.0,
            digest=folder.digest,
            torch=bound.torch,
            processor=bound.processor,
            threads=bound.threads,
        ),
    )
    async with loaded(settings, folder) as (executor, _):
        assert (executor.acceleration.name, executor.acceleration.why) == (choice, "")
    results = await run_golden_cases(settings, folder, with_monai=False)
    assert [result.outcome for result, _ in results] == ["passed", "passed"]
