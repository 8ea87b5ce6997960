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


def _changed(root: Path, change: Callable[[Config], None], inputs: Config | None = None) -> None:
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


def _plane_network(root: Path, channels: int, preprocessing: list[Config], scripts: str = "") -> None:
    """Write a bundle with one convolution over planes, whose result goes to memory as it is."""
    network = {"_target_": "torch.nn.Conv2d", "in_channels": channels, "out_channels": 1, "kernel_size": 1}
    torch.manual_seed(0)
    weights = torch.nn.Conv2d(channels, 1, 1).state_dict()
    saver = {"_target_": "SaveImaged", "keys": "pred", "output_dir": "@output_dir", "resample": False}
    config = _config(network, preprocessing, {"_target_": "SimpleInferer"}, [saver])
    metadata = _image_metadata("segmentation", 2, {"0": "background"})
    metadata["network_data_format"]["inputs"]["image"]["num_channels"] = channels
    _write(root, config, metadata, weights, scripts)


_LOAD: list[Config] = [
    {"_target_": "LoadImaged", "keys": "image"},
    {"_target_": "EnsureChannelFirstd", "keys": "image"},
]


def planes_of_a_volume(root: Path) -> None:
    """The metadata describes a network over planes; the request is a volume of them (a slice inferer)."""
    _plane_network(root, 1, [*_LOAD, {"_target_": "ScaleIntensityd", "keys": "image"}])
    inferer = {"_target_": "SliceInferer", "roi_size": [16, 16], "spatial_dim": 2}
    _changed(root, lambda config: config.update(inferer=inferer))


_FRAGILE = """import os, time, torch
class Net(torch.nn.Conv2d):
    def forward(self, x):
        time.sleep(0.005)  # as a device: a call costs, whatever is in it
        for one in x:
            if one.mean() > 250:
                os._exit(3)
            if one.mean() > 240:
                time.sleep(3600)
            if one.mean() > 200:
                raise ValueError("Doe, John")
        return super().forward(x)
"""


def fragile_pictures(root: Path) -> None:
    """Pictures whose cost is per call; a bright one raises, a brighter one hangs, a white one ends the process."""
    _plane_network(root, 1, _LOAD, _FRAGILE)
    _changed(root, lambda config: config["network_def"].update(_target_="scripts.network.Net"))


def pictures_compared(root: Path) -> None:
    """A network that looks at the whole batch, as a batch norm in training does: company changes an answer."""
    code = (
        "import torch\nclass Net(torch.nn.Conv2d):\n    def forward(self, x):\n"
        "        return super().forward(x - x.mean(0, keepdim=True) * 0.01)\n"
    )
    _plane_network(root, 1, _LOAD, code)
    _changed(root, lambda config: config["network_def"].update(_target_="scripts.network.Net"))


def frames_by_bare_path(root: Path) -> None:
    """Items are no dictionaries but paths, of planes over time; the answer is a file named by the data folder."""
    _plane_network(root, 1, [], _SAVE_NUMPY)

    def change(config: Config) -> None:
        config["preprocessing"]["transforms"] = [
            {"_target_": "LoadImage", "image_only": True},
            {"_target_": "Transpose", "indices": [2, 0, 1, 3]},
            {"_target_": "ScaleIntensity"},
        ]
        config["datalist"] = "$sorted(glob.glob(@dataset_dir + '/*.nii'))"
        config["inferer"] = {"_target_": "SliceInferer", "roi_size": [16, 16], "spatial_dim": 2}
        config["evaluator"] |= {"decollate": False, "prepare_batch": "$lambda batch, device, _: (batch.to(device), ())"}
        saver = {"_target_": "scripts.network.SaveNumpy", "keys": "pred", "output_dir": "@output_dir"}
        config["postprocessing"]["transforms"] = [{**saver, "data_root_dir": "@dataset_dir"}]

    _changed(root, change)


_SAVE_NUMPY = (
    "import numpy as np\nfrom monai.data import FolderLayout\nfrom monai.transforms import MapTransform\n"
    "class SaveNumpy(MapTransform):\n"
    "    def __init__(self, keys, output_dir, data_root_dir):\n"
    "        super().__init__(keys)\n"
    "        self.layout = FolderLayout(output_dir, extension='.npy', data_root_dir=data_root_dir)\n"
    "    def __call__(self, data):\n"
    "        name = data['pred'].meta['filename_or_obj']\n"
    "        np.save(self.layout.filename(name[0] if isinstance(name, list) else name), np.asarray(data['pred']))\n"
    "        return data\n"
)


def four_files(root: Path) -> None:
    """Four volumes under one key, stacked by the reader into four channels."""
    network = {"_target_": "torch.nn.Conv3d", "in_channels": 4, "out_channels": 1, "kernel_size": 1}
    saver = {"_target_": "SaveImaged", "keys": "pred", "output_dir": "@output_dir", "resample": False}
    before = [{"_target_": "LoadImaged", "keys": "image"}, {"_target_": "NormalizeIntensityd", "keys": "image"}]
    config = _config(network, before, {"_target_": "SimpleInferer"}, [saver])
    metadata = _image_metadata("segmentation", 3, {"0": "tumour"})
    metadata["network_data_format"]["inputs"]["image"]["num_channels"] = 4
    _write(root, config, metadata, torch.nn.Conv3d(4, 1, 1).state_dict())


_CLICKS = (
    "import torch\nfrom monai.transforms import Transform\n"
    "class AddClicks(Transform):\n"
    "    def __init__(self, names):\n        self.names = names\n"
    "    def __call__(self, data):\n"
    "        d = dict(data)\n"
    "        maps = []\n"
    "        for name in self.names:\n"
    "            clicks = d.get(name, [])\n"
    "            map = torch.zeros_like(d['image'][:1])\n"
    "            for x, y in clicks:\n                map[0, min(x, 15), min(y, 15)] = 1\n"
    "            maps.append(map)\n"
    "        if not any(m.any() for m in maps):\n            raise ValueError('no clicks')\n"
    "        d['image'] = torch.cat([d['image'][:3], *maps])\n"
    "        d['guidance'] = maps\n"
    "        return d\n"
)


def clicks(root: Path) -> None:
    """A colour picture and clicks by the names of labels, which only the bundle's own code tells."""
    add = {"_target_": "scripts.network.AddClicks", "names": {"nucleus": 1, "background": 0}}
    delete = {"_target_": "DeleteItemsd", "keys": "guidance"}
    _plane_network(root, 5, [*_LOAD, {"_target_": "ScaleIntensityd", "keys": "image"}, add, delete], _CLICKS)


def prompt_shown(root: Path) -> None:
    """A prompt of class numbers, with an example in the expression that makes the bundle's items."""
    code = (
        "from monai.transforms import MapTransform\n"
        "class Weigh(MapTransform):\n"
        "    def __call__(self, data):\n"
        "        if data.get('classes') is None:\n            raise ValueError('no classes')\n"
        "        data['image'] = data['image'] * sum(data['classes'])\n"
        "        return data\n"
    )
    _plane_network(root, 1, [*_LOAD, {"_target_": "scripts.network.Weigh", "keys": "image"}], code)
    items = "$[{'image': '/somebody/file.png', 'classes': [3]}]"
    _changed(root, lambda config: config.update(datalist=items))


def label_wanted(root: Path) -> None:
    """The postprocessing one-hots a label that no caller of a server has."""
    plane_classification(root)
    one_hot = {"_target_": "AsDiscreted", "keys": ["pred", "label"], "argmax": [True, False], "to_onehot": 2}
    _changed(root, lambda config: config["postprocessing"]["transforms"].append(one_hot))


def image_with_mask(root: Path) -> None:
    """A colour picture and a mask, called label, that goes into the network."""
    both = ["image", "label"]
    load = [{"_target_": "LoadImaged", "keys": both}, {"_target_": "EnsureChannelFirstd", "keys": both}]
    _plane_network(root, 4, [*load, {"_target_": "AddLabelAsGuidanced", "keys": "image", "source": "label"}])


def latent(root: Path) -> None:
    """Numbers drawn by the bundle itself are the input; there is no file and no preprocessing."""
    record_classification(root)

    def change(config: Config) -> None:
        config["datalist"] = "$[torch.rand(3) for _ in range(5)]"
        del config["dataset"]["transform"], config["preprocessing"]
        config["evaluator"]["prepare_batch"] = "$lambda batch, device, *_, **__: (batch.to(device), None, (), {})"

    _changed(root, change)


_OWN_DATASET = (
    "import json, pathlib\nimport torch\nfrom ignite.engine import Events\n"
    "class Patches(torch.utils.data.Dataset):\n"
    "    def __init__(self, data, transform):\n"
    "        self.items = [dict(item, part=part) for item in data for part in range(3)]\n"
    "        self.transform = transform\n"
    "    def __len__(self):\n        return len(self.items)\n"
    "    def __getitem__(self, index):\n        return self.transform(dict(self.items[index]))\n"
    "class Saver:\n"
    "    def __init__(self, output_dir):\n        self.output_dir = output_dir\n"
    "    def attach(self, engine):\n"
    "        self.rows, self.images = [], len(engine.data_loader.dataset)\n"
    "        engine.add_event_handler(Events.ITERATION_COMPLETED, self)\n"
    "        engine.add_event_handler(Events.COMPLETED, self.finish)\n"
    "    def __call__(self, engine):\n"
    "        self.rows += [float(item['pred'].sum()) for item in engine.state.output]\n"
    "    def finish(self, engine):\n"
    "        text = json.dumps({'patches': self.images, 'rows': self.rows})\n"
    "        pathlib.Path(self.output_dir, 'result.json').write_text(text)\n"
)


def own_dataset(root: Path) -> None:
    """A dataset that lists patches when it is built, and a handler that counts them and writes when the run ends."""
    _plane_network(root, 1, _LOAD, _OWN_DATASET)

    def change(config: Config) -> None:
        config["dataset"]["_target_"] = "scripts.network.Patches"
        config["handlers"].append({"_target_": "scripts.network.Saver", "output_dir": "@output_dir"})
        config["postprocessing"]["transforms"] = [{"_target_": "EnsureTyped", "keys": "pred"}]

    _changed(root, change)


def stream_of_pairs(root: Path) -> None:
    """An iterator, empty after one run, over datasets that share one list of paths."""
    _plane_network(root, 2, _LOAD)

    def change(config: Config) -> None:
        load = {"_target_": "Compose", "transforms": [{"_target_": "LoadImage", "ensure_channel_first": True}]}
        inner = {"_target_": "Dataset", "data": "@datalist", "transform": load}
        config["datalist"] = "$sorted(glob.glob(@dataset_dir + '/*.png'))"
        config["datasets"] = [{"_target_": "ShuffleBuffer", "data": inner, "seed": seed} for seed in (1, 2)]
        pairs = "$map(lambda pair: {'image': torch.cat(pair), 'moving': pair[0]}, zip(*@datasets))"
        config["dataset"] = {"_target_": "IterableDataset", "data": pairs}
        config["dataloader"]["num_workers"] = 0
        config["evaluator"]["epoch_length"] = "$len(@datalist)"

    _changed(root, change)


_SAMPLER = (
    "import pathlib\nimport numpy as np\n"
    "class Sampler:\n"
    "    def sample(self, network, noise, path):\n        np.save(path, network(noise).detach().numpy())\n"
)


def sampler(root: Path) -> None:
    """No engine, no data: every run draws noise, and writes what the network makes of it under the time of day."""
    record_classification(root, scripts=_SAMPLER)

    def change(config: Config) -> None:
        for name in ("evaluator", "dataset", "dataloader", "datalist", "handlers", "preprocessing", "postprocessing"):
            del config[name]
        config["imports"].append("$import time")
        config["noise"] = "$torch.randn(1, 3)"
        config["load"] = "$@network_def.load_state_dict(torch.load(@bundle_root + '/models/model.pt'))"
        config["path"] = "$@output_dir + '/' + str(time.time_ns()) + '.npy'"
        config["inferer"] = {"_target_": "scripts.network.Sampler", "_requires_": "@load"}
        config["run"] = ["$@inferer.sample(@network, @noise, @path)"]

    _changed(root, change, inputs={})


def needs_cuda(root: Path) -> None:
    """Attention that only a GPU has."""
    record_classification(root)
    _changed(root, lambda config: config["network_def"].update(use_flash_attention=True))


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
    "planes_of_a_volume": planes_of_a_volume,
    "fragile_pictures": fragile_pictures,
    "pictures_compared": pictures_compared,
    "frames_by_bare_path": frames_by_bare_path,
    "four_files": four_files,
    "clicks": clicks,
    "prompt_shown": prompt_shown,
    "label_wanted": label_wanted,
    "image_with_mask": image_with_mask,
    "latent": latent,
    "own_dataset": own_dataset,
    "stream_of_pairs": stream_of_pairs,
    "sampler": sampler,
    "needs_cuda": needs_cuda,
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
