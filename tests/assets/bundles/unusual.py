"""What bundles of the Model Zoo do and the usual ones do not, each in a bundle of its own."""

import json
from pathlib import Path

import torch
from tests.assets.bundles.layout import LOAD, Config, changed, config_of, image_metadata, plane_network, write
from tests.assets.bundles.usual import plane_classification, record_classification


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


def planes_of_a_volume(root: Path) -> None:
    """The metadata describes a network over planes; the request is a volume of them (a slice inferer)."""
    plane_network(root, 1, [*LOAD, {"_target_": "ScaleIntensityd", "keys": "image"}])
    inferer = {"_target_": "SliceInferer", "roi_size": [16, 16], "spatial_dim": 2}
    changed(root, lambda config: config.update(inferer=inferer))


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


def frames_by_bare_path(root: Path) -> None:
    """Items are no dictionaries but paths, of planes over time; the answer is a file named by the data folder."""
    plane_network(root, 1, [], _SAVE_NUMPY)

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

    changed(root, change)


def four_files(root: Path) -> None:
    """Four volumes under one key, stacked by the reader into four channels."""
    network = {"_target_": "torch.nn.Conv3d", "in_channels": 4, "out_channels": 1, "kernel_size": 1}
    saver = {"_target_": "SaveImaged", "keys": "pred", "output_dir": "@output_dir", "resample": False}
    before = [{"_target_": "LoadImaged", "keys": "image"}, {"_target_": "NormalizeIntensityd", "keys": "image"}]
    config = config_of(network, before, {"_target_": "SimpleInferer"}, [saver])
    metadata = image_metadata("segmentation", 3, {"0": "tumour"})
    metadata["network_data_format"]["inputs"]["image"]["num_channels"] = 4
    write(root, config, metadata, torch.nn.Conv3d(4, 1, 1).state_dict())


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
    plane_network(root, 5, [*LOAD, {"_target_": "ScaleIntensityd", "keys": "image"}, add, delete], _CLICKS)


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
    plane_network(root, 1, [*LOAD, {"_target_": "scripts.network.Weigh", "keys": "image"}], code)
    items = "$[{'image': '/somebody/file.png', 'classes': [3]}]"
    changed(root, lambda config: config.update(datalist=items))


def label_wanted(root: Path) -> None:
    """The postprocessing one-hots a label that no caller of a server has."""
    plane_classification(root)
    one_hot = {"_target_": "AsDiscreted", "keys": ["pred", "label"], "argmax": [True, False], "to_onehot": 2}
    changed(root, lambda config: config["postprocessing"]["transforms"].append(one_hot))


def image_with_mask(root: Path) -> None:
    """A colour picture and a mask, called label, that goes into the network."""
    both = ["image", "label"]
    load = [{"_target_": "LoadImaged", "keys": both}, {"_target_": "EnsureChannelFirstd", "keys": both}]
    plane_network(root, 4, [*load, {"_target_": "AddLabelAsGuidanced", "keys": "image", "source": "label"}])


def latent(root: Path) -> None:
    """Numbers drawn by the bundle itself are the input; there is no file and no preprocessing."""
    record_classification(root)

    def change(config: Config) -> None:
        config["datalist"] = "$[torch.rand(3) for _ in range(5)]"
        del config["dataset"]["transform"], config["preprocessing"]
        config["evaluator"]["prepare_batch"] = "$lambda batch, device, *_, **__: (batch.to(device), None, (), {})"

    changed(root, change)


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
    plane_network(root, 1, LOAD, _OWN_DATASET)

    def change(config: Config) -> None:
        config["dataset"]["_target_"] = "scripts.network.Patches"
        config["handlers"].append({"_target_": "scripts.network.Saver", "output_dir": "@output_dir"})
        config["postprocessing"]["transforms"] = [{"_target_": "EnsureTyped", "keys": "pred"}]

    changed(root, change)


def stream_of_pairs(root: Path) -> None:
    """An iterator, empty after one run, over datasets that share one list of paths."""
    plane_network(root, 2, LOAD)

    def change(config: Config) -> None:
        load = {"_target_": "Compose", "transforms": [{"_target_": "LoadImage", "ensure_channel_first": True}]}
        inner = {"_target_": "Dataset", "data": "@datalist", "transform": load}
        config["datalist"] = "$sorted(glob.glob(@dataset_dir + '/*.png'))"
        config["datasets"] = [{"_target_": "ShuffleBuffer", "data": inner, "seed": seed} for seed in (1, 2)]
        pairs = "$map(lambda pair: {'image': torch.cat(pair), 'moving': pair[0]}, zip(*@datasets))"
        config["dataset"] = {"_target_": "IterableDataset", "data": pairs}
        config["dataloader"]["num_workers"] = 0
        config["evaluator"]["epoch_length"] = "$len(@datalist)"

    changed(root, change)


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

    changed(root, change, inputs={})
