"""A mistake in a bundle is told by its place, with the spelling that was likely meant."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bedside.bundle.contract import InputFact
from bedside.bundle.folder import BundleFolder, open_bundle
from bedside.errors import LoadFailed
from bedside.runtime.diagnosis import failing_transform, made_up, other_inputs, wrong_names
from bedside.runtime.loading import load
from bedside.runtime.staging import Staging
from bedside.settings import Settings
from bedside.types import DecodedArray, DecodedImage, DecodedRecord, DecodedValue

Make = Callable[[dict[str, Any]], BundleFolder]


@pytest.fixture
def make(make_folder: Callable[[str], BundleFolder]) -> Make:
    """Return what makes a bundle of a configuration."""
    return lambda config: make_folder(json.dumps(config))


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (
            {"dataloader": 1, "evaluator": {"loader": "@dataloadr"}},
            "evaluator::loader refers to '@dataloadr', which is nowhere (did you mean 'dataloader'?)",
        ),
        ({"run": ["$@evaluator.run()"]}, "run::0 refers to '@evaluator', which is nowhere"),
        ({"a": {"b": [1]}, "c": "@a#b#1"}, "c refers to '@a::b::1', which is nowhere"),
        ({"net": {"_target_": "UNett"}}, "net: MONAI has no 'UNett' (did you mean 'UNet'?)"),
        (
            {"net": {"_target_": "monai.networks.nets.Unett"}},
            "net: monai.networks.nets has no 'Unett' (did you mean 'Unet'?)",
        ),
    ],
)
def test_a_wrong_name_is_told_with_its_place(make: Make, config: dict[str, Any], told: str) -> None:
    """References and components, in a part or in a list."""
    assert wrong_names(make(config)).startswith(told)


@pytest.mark.parametrize(
    "config",
    [
        {"a": [{"b": None}], "c": "$@a#0#b or @bundle_root", "d": {"e": 1, "f": "@#e"}},
        {"_meta_": {}, "a": "$@_meta_#version", "note": "ask @somebody about it"},
        {
            "net": {"_target_": "UNet"},
            "loss": {"_target_": "torch.nn.MSELoss"},
            "own": {"_target_": "scripts.net.Tiny"},
        },
        {"first": {"_target_": "AddChanneld", "keys": "image"}},
        {"function": {"_target_": "$@first"}, "first": 1},
    ],
)
def test_a_name_that_leads_somewhere_is_not_told(make: Make, config: dict[str, Any]) -> None:
    """Values that are null, relative references, code of the bundle's own, what a shim mends."""
    assert wrong_names(make(config)) == ""


def test_no_more_than_three_are_told(make: Make) -> None:
    """The first mistake is often the cause of the others."""
    assert wrong_names(make({"a": [f"@x{i}" for i in range(9)]})).count("nowhere") == 3


def test_a_configuration_that_cannot_be_read_adds_nothing(make_folder: Callable[[str], BundleFolder]) -> None:
    """What failed before is what is told."""
    assert wrong_names(make_folder("{")) == ""


def test_the_innermost_transform_is_the_one_that_failed() -> None:
    """MONAI names each around it, ``Compose`` as well; another error has none."""
    inner = RuntimeError("applying transform <monai.transforms.utility.dictionary.EnsureChannelFirstd object at 0x7f>")
    outer = RuntimeError("applying transform <monai.transforms.compose.Compose object at 0x7f>")
    outer.__cause__ = inner
    inner.__cause__ = ValueError("no channel")
    assert failing_transform(outer) == "EnsureChannelFirstd"
    assert failing_transform(ValueError("no channel")) == ""


def test_a_made_up_input_is_described_by_its_size() -> None:
    """The size is what a network most often disagrees with."""
    image = DecodedImage("image", b"", ".nii", (4, 5, 6, 2), 3, 2, "uint8")
    record = DecodedRecord("vitals", np.ones(4, np.float32), {})
    items = (image, record, DecodedArray("latent", np.zeros((1, 64))), DecodedValue("points", [[1]]))
    assert made_up(items) == (
        "a made-up 'image' (4 x 5 x 6, channels: 2), a made-up 'vitals' (features: 4), "
        "a made-up 'latent' (shape [1, 64]), a made-up 'points' (a value)"
    )
    assert made_up(()) == "no input"


def test_inputs_that_the_metadata_call_otherwise_are_told(bundles: Path) -> None:
    """Nothing else says that a key of the preprocessing and a name in metadata.json must be one."""
    metadata = open_bundle(bundles / "record_classification").metadata
    told = "its preprocessing reads 'vitals', and network_data_format.inputs has 'features'"
    assert other_inputs([InputFact("vitals", "record"), InputFact("label", "value", optional=True)], metadata) == told
    assert other_inputs([InputFact("features", "record")], metadata) == ""
    assert other_inputs([InputFact("vitals", "record")], metadata.model_copy(update={"inputs": {}})) == ""


def test_a_first_run_that_fails_tells_what_it_was_given(
    bundles: Path, tmp_path: Path, settings: Settings, staging: Staging, output_dir: Path
) -> None:
    """A feature that the metadata forget is seen from the numbers beside the network's own words."""
    root = tmp_path / "record_classification"
    shutil.copytree(bundles / "record_classification", root)
    path = root / "configs" / "metadata.json"
    metadata = json.loads(path.read_text())
    del metadata["network_data_format"]["inputs"]["features"]["channel_def"]["2"]
    path.write_text(json.dumps(metadata))
    with pytest.raises(LoadFailed, match=r"^its first run, on a made-up 'features' \(features: 2\), failed: .*Error: "):
        load(open_bundle(root), settings.runtime, staging, output_dir)
