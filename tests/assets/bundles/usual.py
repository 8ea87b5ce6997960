"""The usual kinds: a volume, a picture, a record."""

from pathlib import Path

import torch
from monai.networks.nets import DenseNet, UNet
from tests.assets.bundles.layout import METADATA, Config, config_of, image_metadata, write


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
    config = config_of(
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
    write(
        root,
        config,
        image_metadata("segmentation", 3, {"0": "background", "1": "anterior", "2": "posterior"}),
        weights,
    )


def plane_classification(root: Path) -> None:
    """2-D classification of a PNG or JPEG, reduced to grey by the preprocessing."""
    network = {"_target_": "DenseNet", "spatial_dims": 2, "in_channels": 1, "out_channels": 2, "init_features": 8}
    network |= {"growth_rate": 4, "block_config": [2, 2]}

    torch.manual_seed(0)
    weights = DenseNet(**{key: value for key, value in network.items() if key != "_target_"}).state_dict()
    config = config_of(
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
    metadata = image_metadata("classification", 2, {"0": "normal", "1": "pneumonia"})
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
    write(root, config, metadata, weights)


_RECORD: Config = {
    **METADATA,
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


def record_classification(root: Path, *, scripts: str = "", network: Config | None = None) -> None:
    """Three named numbers in, two class probabilities out."""
    network = network or {"_target_": "torch.nn.Linear", "in_features": 3, "out_features": 2}
    config = config_of(
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
    torch.manual_seed(0)
    weights = torch.nn.Linear(3, 2).state_dict()
    write(root, config, _RECORD, weights, scripts)
