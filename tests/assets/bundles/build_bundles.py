"""Makes the small bundles that the tests serve, each named after what it shows. Random weights, fixed seed.

``python tests/assets/bundles/build_bundles.py FOLDER`` writes them all.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from monai.networks.nets import UNet

Config = dict[str, Any]

_METADATA: Config = {
    "version": "1.2.0",
    "monai_version": "1.6.1",
    "pytorch_version": "2.13.0",
    "numpy_version": "2.4.6",
    "required_packages_version": {},
    "authors": "Bedside maintainers",
    "copyright": "Bedside maintainers",
}


def volume_segmentation(root: Path) -> None:
    """3-D segmentation: orientation and spacing are changed and inverted again, the mask is saved as NIfTI."""
    network = {
        "_target_": "UNet",
        "spatial_dims": 3,
        "in_channels": 1,
        "out_channels": 3,
        "channels": [4, 8],
        "strides": [2],
        "norm": "INSTANCE",
    }
    torch.manual_seed(0)
    weights = UNet(**{key: value for key, value in network.items() if key != "_target_"}).state_dict()
    config = _config(
        network,
        preprocessing=[
            {"_target_": "LoadImaged", "keys": "image"},
            {"_target_": "EnsureChannelFirstd", "keys": "image"},
            {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
            {"_target_": "Spacingd", "keys": "image", "pixdim": [1.0, 1.0, 1.0], "mode": "bilinear"},
            {"_target_": "NormalizeIntensityd", "keys": "image"},
        ],
        inferer={"_target_": "SlidingWindowInferer", "roi_size": [16, 16, 16], "overlap": 0.25},
        postprocessing=[
            {"_target_": "Activationsd", "keys": "pred", "softmax": True},
            {
                "_target_": "Invertd",
                "keys": "pred",
                "transform": "@preprocessing",
                "orig_keys": "image",
                "nearest_interp": False,
                "to_tensor": True,
            },
            {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
            {
                "_target_": "SaveImaged",
                "keys": "pred",
                "output_dir": "@output_dir",
                "output_dtype": "$np.uint8",
                "resample": False,
            },
        ],
    )
    _write(
        root,
        config,
        _image_metadata("segmentation", 3, {"0": "background", "1": "anterior", "2": "posterior"}),
        weights,
    )


def plane_classification(root: Path) -> None:
    """2-D classification of a PNG or JPEG, reduced to grey by the preprocessing."""
    network = {"_target_": "DenseNet", "spatial_dims": 2, "in_channels": 1, "out_channels": 2, "init_features": 8}
    network |= {"growth_rate": 4, "block_config": [2, 2]}
    from monai.networks.nets import DenseNet  # noqa: PLC0415 - beside its use

    torch.manual_seed(0)
    weights = DenseNet(**{key: value for key, value in network.items() if key != "_target_"}).state_dict()
    config = _config(
        network,
        preprocessing=[
            {"_target_": "LoadImaged", "keys": "image"},
            {"_target_": "EnsureChannelFirstd", "keys": "image"},
            {"_target_": "Lambdad", "keys": "image", "func": "$lambda x: x[:3].mean(0, keepdim=True)"},
            {"_target_": "Resized", "keys": "image", "spatial_size": [32, 32]},
            {"_target_": "ScaleIntensityd", "keys": "image"},
        ],
        inferer={"_target_": "SimpleInferer"},
        postprocessing=[{"_target_": "Activationsd", "keys": "pred", "softmax": True}],
    )
    metadata = _image_metadata("classification", 2, {"0": "normal", "1": "pneumonia"})
    metadata["network_data_format"]["outputs"]["pred"] |= {
        "type": "probabilities",
        "format": "classes",
        "spatial_shape": [],
    }
    # As bundles write class probabilities to a file when they are run by MONAI; a server never fires it.
    config["handlers"].append(
        {
            "_target_": "ClassificationSaver",
            "output_dir": "@output_dir",
            "filename": "predictions.csv",
            "batch_transform": "$lambda batch: [item['image'].meta for item in batch]",
            "output_transform": "$monai.handlers.from_engine('pred')",
        }
    )
    _write(root, config, metadata, weights)


def record_classification(root: Path, *, scripts: str = "", network: Config | None = None) -> None:
    """Three named numbers in, two class probabilities out."""
    network = network or {"_target_": "torch.nn.Linear", "in_features": 3, "out_features": 2}
    config = _config(
        network,
        preprocessing=[
            {
                "_target_": "Lambdad",
                "keys": "features",
                "func": "$lambda x: torch.nan_to_num(torch.as_tensor(x) / 10.0)",
                "overwrite": "image",
                "track_meta": False,
            }
        ],
        inferer={"_target_": "SimpleInferer"},
        postprocessing=[
            {"_target_": "Lambdad", "keys": "pred", "func": "$lambda x: torch.softmax(x, dim=-1)", "track_meta": False}
        ],
    )
    metadata = {
        **_METADATA,
        "task": "Risk from three numbers",
        "description": "A record model for tests",
        "eval_metrics": {"accuracy": 0.8},
        "feature_descriptions": {"age": "age in years"},
        "network_data_format": {
            "inputs": {
                "features": {
                    "type": "tuples",
                    "format": "record",
                    "num_channels": 3,
                    "spatial_shape": [],
                    "dtype": "float32",
                    "channel_def": {"0": "age", "1": "chol", "2": "thalach"},
                }
            },
            "outputs": {
                "pred": {
                    "type": "probabilities",
                    "format": "classes",
                    "num_channels": 2,
                    "spatial_shape": [],
                    "dtype": "float32",
                    "channel_def": {"0": "no disease", "1": "disease"},
                }
            },
        },
    }
    torch.manual_seed(0)
    weights = torch.nn.Linear(3, 2).state_dict()
    _write(root, config, metadata, weights, scripts)


_MISBEHAVING = '''
import ctypes, os, time
import torch

class Misbehaving(torch.nn.Linear):
    """Does what the first number says: 101 exits, 102 hangs, 103 raises, 104 reads address zero, 105 prints."""

    def forward(self, x):
        wish = round(float(x[0, 0]) * 10) - 100
        if wish == 1:
            os._exit(3)
        if wish == 2:
            time.sleep(3600)
        if wish == 3:
            raise ValueError("DOE^JOHN 1970-01-01")
        if wish == 4:
            ctypes.string_at(0)
        if wish == 5:
            print("DOE^JOHN")
        return super().forward(x)
'''


def misbehaving(root: Path) -> None:
    """A bundle with code of its own that crashes, hangs or raises when the record asks for it."""
    network = {"_target_": "scripts.network.Misbehaving", "in_features": 3, "out_features": 2}
    record_classification(root, scripts=_MISBEHAVING, network=network)


def scripts_adding(amount: float) -> Callable[[Path], None]:
    """Return a maker of a bundle whose ``scripts`` package adds ``amount``: two of them must not meet."""

    def make(root: Path) -> None:
        code = (
            "import torch\nclass Net(torch.nn.Linear):\n    def forward(self, x):\n"
            f"        return super().forward(x) * 0 + torch.tensor([[{amount}, 0.0]])\n"
        )
        network = {"_target_": "scripts.network.Net", "in_features": 3, "out_features": 2}
        record_classification(root, scripts=code, network=network)

    return make


def missing_package(root: Path) -> None:
    """Imports a package that nobody has."""
    record_classification(root, scripts="import surely_not_installed\n", network={"_target_": "scripts.network.Net"})


def missing_weights(root: Path) -> None:
    """Has no ``models/model.pt``."""
    record_classification(root)
    (root / "models" / "model.pt").unlink()


def broken_configuration(root: Path) -> None:
    """``inference.json`` is cut off."""
    record_classification(root)
    path = root / "configs" / "inference.json"
    path.write_text(path.read_text()[:100])


def writing_files(root: Path) -> None:
    """Writes its answer to a text file by design, beside the result in memory."""
    code = (
        "import pathlib\nfrom monai.transforms import MapTransform\n"
        "class SaveText(MapTransform):\n"
        "    def __init__(self, keys, output_dir):\n"
        "        super().__init__(keys)\n        self.output_dir = output_dir\n"
        "    def __call__(self, data):\n"
        "        text = str([round(float(v), 3) for v in data['pred']])\n"
        "        pathlib.Path(self.output_dir, 'answer.txt').write_text(text)\n"
        "        return data\n"
    )
    record_classification(root, scripts=code)
    path = root / "configs" / "inference.json"
    config = json.loads(path.read_text())
    config["postprocessing"]["transforms"].append(
        {"_target_": "scripts.network.SaveText", "keys": "pred", "output_dir": "@output_dir"}
    )
    path.write_text(json.dumps(config, indent=2))


BUNDLES: dict[str, Callable[[Path], None]] = {
    "volume_segmentation": volume_segmentation,
    "plane_classification": plane_classification,
    "record_classification": record_classification,
    "misbehaving": misbehaving,
    "scripts_adding_one": scripts_adding(1.0),
    "scripts_adding_nine": scripts_adding(9.0),
    "missing_package": missing_package,
    "missing_weights": missing_weights,
    "broken_configuration": broken_configuration,
    "writing_files": writing_files,
}


def _config(network: Config, preprocessing: list[Config], inferer: Config, postprocessing: list[Config]) -> Config:
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


def _image_metadata(task: str, dims: int, classes: dict[str, str]) -> Config:
    return {
        **_METADATA,
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


def _write(root: Path, config: Config, metadata: Config, weights: Any, scripts: str = "") -> None:
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


def build_all(folder: Path) -> None:
    """Write every bundle below ``folder``."""
    for name, make in BUNDLES.items():
        make(folder / name)


if __name__ == "__main__":
    build_all(Path(sys.argv[1]))
