"""A bundle whose answer is known beforehand: every voxel over 500 is a lesion. It loads and runs in a moment."""

import json
from pathlib import Path

import torch

NAME = "threshold"

_CONFIG = {
    "imports": ["$import glob"],
    "bundle_root": ".",
    "device": "$torch.device('cpu')",
    "network_def": {"_target_": "torch.nn.Identity"},
    "network": "$@network_def.to(@device)",
    "preprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "LoadImaged", "keys": "image"},
            {"_target_": "EnsureChannelFirstd", "keys": "image"},
        ],
    },
    "dataset": {
        "_target_": "Dataset",
        "data": "$[{'image': path} for path in sorted(glob.glob(@bundle_root + '/data/*'))]",
        "transform": "@preprocessing",
    },
    "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1, "num_workers": 0},
    "postprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "AsDiscreted", "keys": "pred", "threshold": 500},
            {"_target_": "SaveImaged", "keys": "pred", "output_dir": "$@bundle_root + '/eval'", "resample": False},
        ],
    },
    "evaluator": {
        "_target_": "SupervisedEvaluator",
        "device": "@device",
        "val_data_loader": "@dataloader",
        "network": "@network",
        "inferer": {"_target_": "SimpleInferer"},
        "postprocessing": "@postprocessing",
    },
    "run": ["$@evaluator.run()"],
}


def _tensor(kind: str, classes: dict[str, str]) -> dict[str, object]:
    return {
        "type": "image",
        "format": kind,
        "num_channels": 1,
        "spatial_shape": [8, 8, 4],
        "dtype": "float32",
        "value_range": [],
        "is_patch_data": False,
        "channel_def": classes,
    }


_METADATA = {
    "version": "1.0.0",
    "monai_version": "1.6.0",
    "pytorch_version": "2.13.0",
    "numpy_version": "2.4.0",
    "required_packages_version": {},
    "task": "A threshold for tests",
    "description": "Not a medical device",
    "network_data_format": {
        "inputs": {"image": _tensor("magnitude", {"0": "image"})},
        "outputs": {"pred": _tensor("segmentation", {"0": "background", "1": "lesion"})},
    },
}


def build(folder: Path) -> Path:
    """Write the bundle below ``folder``; return its root."""
    root = folder / NAME
    for part in ("configs", "models", "docs"):
        (root / part).mkdir(parents=True)
    (root / "configs" / "inference.json").write_text(json.dumps(_CONFIG))
    (root / "configs" / "metadata.json").write_text(json.dumps(_METADATA))
    (root / "docs" / "README.md").write_text("# threshold\n\nFor tests. Not a medical device.\n")
    torch.save({}, root / "models" / "model.pt")
    return root
