"""Bundles whose model costs next to nothing, so that what is around it can be measured."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.contestants.heart_pipeline import IDENTITY

THRESHOLD = "threshold"


def identity_bundle(folder: Path) -> Path:
    """Write a bundle that gives back the volume that it gets."""
    return _bundle(folder / IDENTITY, "Gives back the volume that it gets.", [], _tensor("magnitude", {"0": "image"}))


def threshold_bundle(folder: Path) -> Path:
    """Write a bundle that segments every voxel over 2000, saving a mask in float32 as bundles do."""
    steps: list[dict[str, Any]] = [
        {"_target_": "AsDiscreted", "keys": "pred", "threshold": 2000},
        {"_target_": "SaveImaged", "keys": "pred", "output_dir": "$@bundle_root + '/eval'", "resample": False},
    ]
    result = _tensor("segmentation", {"0": "background", "1": "lesion"})
    return _bundle(folder / THRESHOLD, "Segments what is over 2000.", steps, result)


def _tensor(kind: str, classes: Mapping[str, str]) -> dict[str, Any]:
    tensor: dict[str, Any] = {"type": "image", "format": kind, "num_channels": 1, "spatial_shape": ["*"] * 3}
    return tensor | {"dtype": "float32", "value_range": [], "is_patch_data": False, "channel_def": classes}


def _bundle(root: Path, description: str, postprocessing: list[dict[str, Any]], result: Mapping[str, Any]) -> Path:
    metadata = {
        "version": "1.0.0",
        "monai_version": "1.6.1",
        "pytorch_version": "2.13.0",
        "numpy_version": "2.4.6",
        "required_packages_version": {},
        "task": root.name,
        "description": description,
        "authors": "Bedside maintainers",
        "copyright": "Bedside maintainers",
        "network_data_format": {
            "inputs": {"image": _tensor("magnitude", {"0": "image"})},
            "outputs": {"pred": result},
        },
    }
    transforms = [{"_target_": "LoadImaged", "keys": "image"}, {"_target_": "EnsureChannelFirstd", "keys": "image"}]
    config = {
        "bundle_root": ".",
        "device": "$torch.device('cpu')",
        "network": {"_target_": "torch.nn.Identity"},
        "preprocessing": {"_target_": "Compose", "transforms": transforms},
        "dataset": {"_target_": "Dataset", "data": [], "transform": "@preprocessing"},
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1},
        "inferer": {"_target_": "SimpleInferer"},
        "postprocessing": {"_target_": "Compose", "transforms": postprocessing},
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
        },
        "imports": ["$import torch"],
        "run": ["$@evaluator.run()"],
    }
    configs = root / "configs"
    configs.mkdir(parents=True)
    (configs / "metadata.json").write_text(json.dumps(metadata, indent=1))
    (configs / "inference.json").write_text(json.dumps(config, indent=1))
    return root
