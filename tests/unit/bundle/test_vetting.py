"""Which configurations are known components and plain arithmetic only; nothing here is ever run."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from bedside.bundle.folder import BundleFolder, open_bundle
from bedside.bundle.metadata import Metadata
from bedside.bundle.policy import Policy
from bedside.bundle.vetting import pure_configuration

REPOSITORY = Path(__file__).resolve().parents[3]
APPS = sorted(path.parents[1] for path in (REPOSITORY / "apps").glob("*/configs/inference.json"))

_LOAD = {"_target_": "LoadImaged", "keys": "image"}


def vet(root: Path, config: Any, metadata: Any = None, name: str = "inference.json") -> bool:
    """Write a bundle with that configuration, and vet it."""
    (root / "configs").mkdir(parents=True)
    (root / "configs" / name).write_text(config if isinstance(config, str) else json.dumps(config))
    (root / "configs" / "metadata.json").write_text(json.dumps(metadata or {"version": "1"}))
    return pure_configuration(BundleFolder(root, "b", Metadata(version="1"), Policy(), "sha256:0"))


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "subprocess.Popen",
        "builtins.eval",
        "run_cmd",
        "monai.utils.run_cmd",
        "monai.utils.misc.run_cmd",
        "monai.utils.optional_import",
        "monai.bundle.run",
        "monai.bundle.ConfigWorkflow",
        "ConfigWorkflow",
        "ConfigParser",
        "ConfigExpression",
        "BundleAlgo",
        "AutoRunner",
        "TciaDataset",
        "PersistentDataset",
        "NumpyReader",
        "FlexibleUNet",
        "PatchInferer",
        "DataStatsd",
        "monai.apps.download_url",
        "monai.data.dataset.pickle.loads",
        "monai.data.dataset.shutil.rmtree",
        "monai.transforms.transform.os.system",
        "torch.hub.load",
        "torch.load",
        "torch.jit.load",
        "torch.nn.modules.module.functools.partial",
        "torch.utils.cpp_extension.load_inline",
        "torch.nn.Linear.load_state_dict",
        "scripts.network.Net",
        "@name",
        "%name",
        "$print",
        "",
        "os",
        None,
        3,
        ["os.system"],
        {"_target_": "torch.nn.Linear"},
    ],
)
def test_a_target_that_is_no_known_component_is_refused(tmp_path: Path, target: Any) -> None:
    """Whatever is not a class of MONAI's or torch.nn's, and those that evaluate, fetch or start something."""
    assert not vet(tmp_path, {"network": {"_target_": target}})


@pytest.mark.parametrize(
    "expression",
    [
        # doors to modules
        "__import__('os').system('id')",
        "monai.data.dataset.optional_import('os')[0].system('id')",
        "monai.transforms.io.array.logging.os.system('id')",
        "monai.utils.run_cmd(['id'])",
        "monai.bundle.run(config_file='x.json')",
        "monai.bundle.ConfigParser.load_config_file('x.json')",
        "monai.data.LoadImage('x')",
        "monai.transforms.LoadImage('os.system', command='id')",
        "torch.importlib.import_module('os').system('id')",
        "torch.hub.load('a/b', 'c')",
        "torch.load('model.pt')",
        "torch.ops.load_library('x.so')",
        "torch.utils.cpp_extension.load_inline('a', '')",
        "torch.serialization.pickle.loads(b'')",
        "np.load('x.npy', allow_pickle=True)",
        "np.memmap('x')",
        "numpy.fromfile('x')",
        "glob.os.system('id')",
        "glob.re",
        "itertools.count().__reduce__()",
        "os.system('id')",
        "os",
        # names of Python's own
        "eval('1')",
        "exec('1')",
        "open('/etc/passwd').read()",
        "compile('1', '', 'eval')",
        "getattr(torch, 'hub')",
        "globals()",
        "vars(torch)",
        "type(1)",
        "print('x')",
        "input()",
        "breakpoint()",
        "map(abs, [1])",
        # walks over attributes
        "().__class__.__base__.__subclasses__()",
        "[].__class__",
        "@network.__init__.__globals__['os'].system('id')",
        "@network.__class__.__mro__",
        "@a#b.__class__",
        "@a::b.__globals__",
        "(lambda: 0).__globals__",
        "(x for x in [1]).gi_frame.f_back.f_globals",
        "(x for x in [1]).gi_code.co_consts",
        "'{0.__class__}'.format(1)",
        "'{x.__class__}'.format_map({'x': 1})",
        "@dataloader.multiprocessing_context.reducer.pickle",
        "@array.tofile('x')",
        "@array.dump('x')",
        # modules that change hands
        "(lambda t: t.hub.load('a/b'))(torch)",
        "(lambda t=torch: t.hub)()",
        "[torch][0].hub",
        "(t := torch).hub",
        "[t.hub for t in [torch]]",
        "{'t': torch}['t'].hub",
        "torch",
        "(lambda torch: torch.anything)(1)",
        "(lambda __import__: 1)(1)",
        "(__local_refs := 1)",
        # text that is code
        'f\'{__import__("os").system("id")}\'',
        "f'{().__class__}'",
        "f'{1:{open(\"x\")}}'",
        # statements, and what is no Python
        "from os import system",
        "import os as np",
        "import subprocess",
        "import scripts",
        "import torch.hub",
        "import torch, os",
        "import torch; import os",
        "import torch as len",
        "x = 1",
        "1 +",
        "\0",
        "await x",
        # relative references: MONAI writes the enclosing keys into the expression
        "@#key",
        "@::key",
        "@##key + 1",
        "[1 %#key]",
    ],
)
def test_an_expression_that_could_do_more_than_reckon_is_refused(tmp_path: Path, expression: str) -> None:
    """Imports, attributes walked to their end, modules handed on, text that is evaluated."""
    assert not vet(tmp_path, {"network": f"${expression}"})


@pytest.mark.parametrize(
    "config",
    [
        {"network": {"_target_": "UNet", "_requires_": "$__import__('os').system('id')"}},
        {"network": {"_target_": "UNet", "_requires_": ["$__import__('os').system('id')"]}},
        {"network": {"_target_": "UNet", "_disabled_": "$__import__('os').system('id')"}},
        {"network": {"_target_": "UNet", "_mode_": "debug"}},
        {"network": {"_target_": "UNet", "_mode_": "callable"}},
        {"network": {"_target_": "UNet", "_mode_": "$'debug'"}},
        {"a": [[{"b": [{"c": "$open('x')"}]}]]},
        {"a": "%other.json#network"},
        {"a": "%/etc/other.yaml::network"},
        {"a": "%OTHER.JSON"},
        {"a": "%a b"},
        {"a": {**_LOAD, "reader": "os.system", "command": "id"}},
        {"a": {**_LOAD, "reader": ["ITKReader", "os.system"]}},
        {"a": {**_LOAD, "reader": "@name"}},
        {"a": {**_LOAD, "reader": "$'os' + '.system'"}},
        {"a": {**_LOAD, "reader": "$monai.data.PILReader() and ('os.system')"}},
        {"a": {**_LOAD, "reader": {"os.system": 1}}},
        {"a": {"_target_": "SaveImaged", "keys": "pred", "writer": "subprocess.Popen"}},
        {"a": {"_target_": "Compose", "transforms": [], "log_stats": True}},
    ],
)
def test_a_configuration_with_a_back_door_is_refused(tmp_path: Path, config: Any) -> None:
    """MONAI's own special keys, macros of other files, and arguments that it takes for names to import."""
    assert not vet(tmp_path, config)


def test_metadata_is_part_of_the_configuration(tmp_path: Path) -> None:
    """MONAI merges it as ``_meta_``: an expression in there is one reference away from being run."""
    metadata = {"version": "1", "task": "$__import__('os').system('id')"}
    assert not vet(tmp_path, {"a": "@_meta_#task"}, metadata)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("inference.yaml", "network: !!python/object/apply:os.system ['id']"),
        ("inference.yaml", "network: !!python/name:os.system"),
        ("inference.yaml", "network: $open('x')"),
        ("inference.yaml", "a: &x [$open('x')]\nb: *x"),
        ("inference.yaml", "network: ["),
        ("inference.json", "{"),
        ("inference.json", "[" * 100_000),
    ],
)
def test_a_file_that_is_more_or_less_than_data_is_refused(tmp_path: Path, name: str, text: str) -> None:
    """YAML tags that build objects, broken files, and nesting without end."""
    assert not vet(tmp_path, text, name=name)


def test_code_of_its_own_is_refused(bundles: Path) -> None:
    """A ``scripts`` package is code, whatever the configuration says."""
    assert not pure_configuration(open_bundle(bundles / "misbehaving"))


def test_a_scripts_folder_is_refused_even_where_nothing_uses_it(tmp_path: Path, bundles: Path) -> None:
    """Nobody should have to find out whether something does."""
    root = Path(shutil.copytree(bundles / "record_classification", tmp_path / "bundle"))
    assert pure_configuration(open_bundle(root))
    (root / "scripts").mkdir()
    assert not pure_configuration(open_bundle(root))


@pytest.mark.parametrize(
    "value",
    [
        "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
        "$import torch",
        "$import numpy as np",
        "$import itertools",
        "$@network_def.to(@device)",
        "$@bundle_root + '/models/model.pt'",
        "$@load_transforms + @image_transforms",
        "$[{'image': path} for path in sorted(glob.glob(@dataset_dir + '/*.nii*'))]",
        "$lambda x: torch.nan_to_num((torch.as_tensor(x) - @center) / @scale)",
        "$lambda x: torch.softmax(x, dim=-1)",
        "$lambda x: monai.transforms.CenterSpatialCrop(min(x.shape[1:]))(x)",
        "$monai.handlers.from_engine('pred')",
        "$monai.utils.set_determinism(seed=0)",
        "$monai.utils.CommonKeys.PRED",
        "$np.uint8",
        "$math.sqrt(2) % 2",
        "$torch.nn.functional.softmax(@x#0, -1)",
        '$f"{@bundle_root}/eval"',
        "$next(@row_number)",
        "$@evaluator.run()",
        "%network_def",
        "%a#b::0",
        "@network",
        "@#sibling",
        "plain text with os.system in it",
        "",
        3.5,
        None,
        True,
    ],
)
def test_plain_arithmetic_passes(tmp_path: Path, value: Any) -> None:
    """What bundles really write."""
    assert vet(tmp_path, {"value": value})


@pytest.mark.parametrize(
    "config",
    [
        {"network": {"_target_": "UNet", "_desc_": "a network", "_disabled_": False, "_mode_": "default"}},
        {"network": {"_target_": "monai.networks.nets.UNet"}},
        {"network": {"_target_": "torch.nn.Linear"}},
        {"a": {**_LOAD, "reader": "PILReader"}},
        {"a": {**_LOAD, "reader": None}},
        {"a": {**_LOAD, "reader": "$monai.data.PILReader(converter=lambda image: image.convert('L'))"}},
        {"a": {**_LOAD, "reader": "$monai.data.PILReader"}},
        {"a": {**_LOAD, "reader": {"_target_": "PILReader"}}},
        {"a": {"_target_": "Compose", "transforms": [], "log_stats": False}},
    ],
)
def test_known_components_pass(tmp_path: Path, config: Any) -> None:
    """With MONAI's special keys, and readers by their own names."""
    assert vet(tmp_path, config)


@pytest.mark.parametrize("name", ["volume_segmentation", "plane_classification", "record_classification"])
def test_the_harmless_test_bundles_pass(bundles: Path, name: str) -> None:
    """Whole configurations."""
    assert pure_configuration(open_bundle(bundles / name))


@pytest.mark.parametrize("root", APPS, ids=lambda path: path.name)
def test_the_bundles_in_apps_pass(root: Path) -> None:
    """``heart_disease`` asks for the event loop; it would lose it without a word."""
    assert pure_configuration(open_bundle(root))
