"""What the makers of test bundles share: the files of a bundle, its configuration, its metadata."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

Config = dict[str, Any]

METADATA: Config = {
    "version": "1.2.0",
    "monai_version": "1.6.1",
    "pytorch_version": "2.13.0",
    "numpy_version": "2.4.6",
    "required_packages_version": {},
    "authors": "Bedside maintainers",
    "copyright": "Bedside maintainers",
}

LOAD: list[Config] = [
    {"_target_": "LoadImaged", "keys": "image"},
    {"_target_": "EnsureChannelFirstd", "keys": "image"},
]


def config_of(network: Config, preprocessing: list[Config], inferer: Config, postprocessing: list[Config]) -> Config:
    """Return the inference configuration as bundles are written: every part under its usual name."""
    return {
        "imports": ["$import glob", "$import monai", "$import torch", "$import numpy as np"],
        "bundle_root": ".",
        "dataset_dir": "$@bundle_root + '/data'",
        "output_dir": "$@bundle_root + '/eval'",
        "device": "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
        "network_def": network,
        "network": "$@network_def.to(@device)",
        "preprocessing": {"_target_": "Compose", "transforms": preprocessing},
        "datalist": "$[{'image': path} for path in sorted(glob.glob(@dataset_dir + '/*'))]",
        "dataset": {"_target_": "Dataset", "data": "@datalist", "transform": "@preprocessing"},
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1, "num_workers": 2},
        "inferer": inferer,
        "postprocessing": {"_target_": "Compose", "transforms": postprocessing},
        "handlers": [
            {
                "_target_": "CheckpointLoader",
                "load_path": "$@bundle_root + '/models/model.pt'",
                "load_dict": {"model": "@network"},
            }
        ],
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
            "val_handlers": "@handlers",
        },
        "run": ["$@evaluator.run()"],
    }


def image_metadata(task: str, dims: int, classes: dict[str, str]) -> Config:
    """Return the metadata of a bundle from one image of 16 voxels a side to a mask on its grid."""
    return {
        **METADATA,
        "task": f"A {task} for tests",
        "description": f"{dims}-D {task}",
        "network_data_format": {
            "inputs": {
                "image": {
                    "type": "image",
                    "format": "magnitude",
                    "num_channels": 1,
                    "spatial_shape": [16] * dims,
                    "dtype": "float32",
                    "value_range": [],
                    "is_patch_data": True,
                    "channel_def": {"0": "image"},
                }
            },
            "outputs": {
                "pred": {
                    "type": "image",
                    "format": "segmentation",
                    "num_channels": len(classes),
                    "spatial_shape": [16] * dims,
                    "dtype": "float32",
                    "is_patch_data": True,
                    "channel_def": classes,
                }
            },
        },
    }


def write(root: Path, config: Config, metadata: Config, weights: Any, scripts: str = "") -> None:
    """Write a bundle; ``scripts`` is the text of its module ``scripts.network``."""
    for folder in ("configs", "models", "docs"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "configs" / "inference.json").write_text(json.dumps(config, indent=2))
    (root / "configs" / "metadata.json").write_text(json.dumps(metadata, indent=2))
    (root / "docs" / "README.md").write_text(f"# {root.name}\n\nA bundle for tests. Not a medical device.\n")
    torch.save(weights, root / "models" / "model.pt")
    if scripts:
        (root / "scripts").mkdir(exist_ok=True)
        (root / "scripts" / "__init__.py").write_text("")
        (root / "scripts" / "network.py").write_text(scripts)


def changed(root: Path, change: Callable[[Config], None], inputs: Config | None = None) -> None:
    """Change the inference configuration of a bundle that has been written, and what its metadata says goes in."""
    path = root / "configs" / "inference.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config, indent=2))
    if inputs is not None:
        path = root / "configs" / "metadata.json"
        metadata = json.loads(path.read_text())
        metadata["network_data_format"]["inputs"] = inputs
        path.write_text(json.dumps(metadata, indent=2))


def plane_network(root: Path, channels: int, preprocessing: list[Config], scripts: str = "") -> None:
    """Write a bundle with one convolution over planes, whose result goes to memory as it is."""
    network = {"_target_": "torch.nn.Conv2d", "in_channels": channels, "out_channels": 1, "kernel_size": 1}
    torch.manual_seed(0)
    weights = torch.nn.Conv2d(channels, 1, 1).state_dict()
    saver = {"_target_": "SaveImaged", "keys": "pred", "output_dir": "@output_dir", "resample": False}
    config = config_of(network, preprocessing, {"_target_": "SimpleInferer"}, [saver])
    metadata = image_metadata("segmentation", 2, {"0": "background"})
    metadata["network_data_format"]["inputs"]["image"]["num_channels"] = channels
    write(root, config, metadata, weights, scripts)
