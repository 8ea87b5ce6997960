"""A bundle is built by MONAI for serving: without data, workers, or changes to the process."""

import json
import logging
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser

from bedside.bundle.folder import BundleFolder, open_bundle
from bedside.errors import LoadFailed
from bedside.runtime.building import (
    BuiltBundle,
    _data_dir,
    _override,
    build,
    evaluator_id_of,
    resolve_device,
    run_id_of,
)

CPU = torch.device("cpu")

Make = Callable[[str], BundleFolder]


def overridden(config: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration as it is pointed at this server."""
    parser = ConfigParser(config)
    _override(parser, Path("/srv/bundle"), CPU, Path("/srv/output"))
    content: dict[str, Any] = parser.get()
    return content


def variant(bundles: Path, tmp_path: Path, change: Callable[[dict[str, Any]], None]) -> BundleFolder:
    """Return the record bundle with a changed configuration."""
    root = tmp_path / "variant"
    (root / "configs").mkdir(parents=True)
    shutil.copytree(bundles / "record_classification" / "models", root / "models")
    for name in ("inference.json", "metadata.json"):
        config = json.loads((bundles / "record_classification" / "configs" / name).read_text())
        if name == "inference.json":
            change(config)
        (root / "configs" / name).write_text(json.dumps(config))
    return open_bundle(root)


@pytest.mark.parametrize("name", ["run", "evaluating", "inference", "inferring", "eval"])
def test_the_run_ids_of_the_model_zoo_are_known(name: str) -> None:
    """The specification fixes none; these five are in use."""
    assert run_id_of({"evaluator": {}, name: ["$@evaluator.run()"]}) == name


def test_any_list_that_runs_something_is_a_run() -> None:
    """A run id that nobody foresaw is found by what it does."""
    assert run_id_of({"imports": ["$import torch"], "go": ["$print(1)", "$@evaluator.run()"]}) == "go"


def test_a_configuration_that_runs_nothing_is_refused() -> None:
    """Without a run there is nothing to serve, and the message names the usual ids."""
    with pytest.raises(LoadFailed, match="evaluating"):
        run_id_of({"network": {}})


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"run": ["$@validator.run()"]}, "validator"),
        ({"run": "$@validator.run()"}, "validator"),
        ({"run": ["$setattr(@evaluator, 'a', 1)", "$@engine.run()"]}, "engine"),
        ({"run": ["$scripts.run(@x)"], "evaluator": {}}, "evaluator"),
    ],
)
def test_the_engine_is_the_one_that_is_run(config: dict[str, Any], expected: str) -> None:
    """Its name is read out of the run expression, else it is called ``evaluator``."""
    engine = {"_target_": "SupervisedEvaluator", "val_data_loader": "@dataloader"}
    assert evaluator_id_of({**config, expected: engine}, "run") == expected


def test_a_bundle_that_runs_no_engine_samples() -> None:
    """Its run expression is all there is."""
    assert evaluator_id_of({"run": ["$@sampler.sample()"], "evaluator": None}, "run") == ""


@pytest.mark.parametrize("target", ["Dataset", "monai.data.CacheDataset", "PersistentDataset", "CSVDataset"])
def test_datasets_are_emptied_and_keep_their_preprocessing(target: str) -> None:
    """The request is the data: lists of files are never evaluated, caches never made."""
    config = {"dataset": {"_target_": target, "data": "$never()", "cache_rate": 1.0, "transform": "@preprocessing"}}
    assert overridden(config)["dataset"] == {
        "_target_": "monai.data.Dataset",
        "data": [],
        "transform": "@preprocessing",
    }


@pytest.mark.parametrize("target", ["DataLoader", "ThreadDataLoader"])
def test_loaders_have_no_worker_processes_and_do_not_shuffle(target: str) -> None:
    """Workers cost seconds, and torch refuses to shuffle an empty dataset."""
    loader = overridden({"dataloader": {"_target_": target, "num_workers": 4, "shuffle": True}})["dataloader"]
    assert (loader["num_workers"], loader["shuffle"]) == (0, False)


def test_a_folder_of_data_is_among_the_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sandboxed process may make it nowhere else; results are named by paths below it."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    parser = ConfigParser({"saver": {"_target_": "SaveImaged", "data_root_dir": "/data"}})
    folder = _data_dir(parser)
    assert folder is not None
    assert folder.parent == tmp_path
    assert parser.get()["saver"]["data_root_dir"] == str(folder)


def test_paths_and_device_are_the_servers() -> None:
    """Relative roots and a fixed device do not survive."""
    config = overridden({"bundle_root": ".", "output_dir": "./eval", "device": "$torch.device('cuda')"})
    assert config == {"bundle_root": "/srv/bundle", "output_dir": "/srv/output", "device": "$torch.device('cpu')"}


@pytest.mark.parametrize(
    "config",
    [
        {"handlers": [{"_target_": "StatsHandler"}, {"_target_": "CheckpointLoader"}]},
        {"checkpointloader": {"_target_": "monai.handlers.CheckpointLoader"}},
        {"evaluator": {"_target_": "SupervisedEvaluator", "val_handlers": [{"_target_": "CheckpointLoader"}]}},
    ],
)
def test_weights_are_told_which_device_they_go_to(config: dict[str, Any]) -> None:
    """Weights saved on a GPU load on a CPU, wherever the configuration keeps its loader."""
    assert json.dumps(overridden(config)).count('"map_location": "$torch.device(\'cpu\')"') == 1


def test_a_map_location_of_the_bundles_own_is_kept() -> None:
    """What a bundle decided is not overridden."""
    handlers = [{"_target_": "CheckpointLoader", "map_location": "@device"}]
    assert overridden({"handlers": handlers})["handlers"][0]["map_location"] == "@device"


def test_auto_takes_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA where torch finds some, else the CPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == CPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto") == torch.device("cuda:0")
    assert resolve_device("cuda:1") == torch.device("cuda:1")


def test_cuda_that_is_not_there_is_refused_with_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking for a GPU on a machine without one names what to change."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(LoadFailed, match="BEDSIDE_RUNTIME__DEVICE"):
        resolve_device("cuda")


def test_a_built_bundle_has_its_weights_and_is_in_evaluation_mode(
    build_one: Callable[[str], BuiltBundle], bundles: Path
) -> None:
    """What was saved is what will answer."""
    network = build_one("record_classification").evaluator.network
    saved = torch.load(bundles / "record_classification" / "models" / "model.pt", weights_only=True)
    assert all(torch.equal(value, saved[name]) for name, value in network.state_dict().items())
    assert not network.training


@pytest.mark.parametrize("place", ["initialize", "run", "val_handlers"])
def test_weights_are_loaded_wherever_the_bundle_does_it(
    bundles: Path, tmp_path: Path, output_dir: Path, place: str
) -> None:
    """Bundles load weights in ``initialize``, in a step before the run, or in handlers of the engine's own."""

    def change(config: dict[str, Any]) -> None:
        config["checkpointloader"] = config.pop("handlers")[0]
        del config["evaluator"]["val_handlers"]
        if place == "val_handlers":
            config["evaluator"]["val_handlers"] = ["@checkpointloader"]
        else:
            config[place] = ["$@checkpointloader(@evaluator)", *config.get(place, [])]

    network = build(variant(bundles, tmp_path, change), CPU, output_dir).evaluator.network
    saved = torch.load(bundles / "record_classification" / "models" / "model.pt", weights_only=True)
    assert torch.equal(network.weight, saved["weight"])


def test_logging_of_a_bundle_is_not_applied(bundles: Path, tmp_path: Path, output_dir: Path) -> None:
    """A ``logging.conf`` re-points the root logger of whoever loads it; ours stays as it is."""
    folder = variant(bundles, tmp_path, lambda _config: None)
    (folder.root / "configs" / "logging.conf").write_text(
        "[loggers]\nkeys=root\n[handlers]\nkeys=h\n[formatters]\nkeys=f\n[logger_root]\nlevel=DEBUG\nhandlers=h\n"
        "[handler_h]\nclass=FileHandler\nargs=('taken_over.log',)\n[formatter_f]\nformat=%(message)s\n"
    )
    before = (logging.root.level, list(logging.root.handlers))
    build(folder, CPU, output_dir)
    assert (logging.root.level, list(logging.root.handlers)) == before


def test_an_engine_without_a_dataset_is_refused(bundles: Path, tmp_path: Path, output_dir: Path) -> None:
    """Without preprocessing there is no way from a request to the network."""

    def change(config: dict[str, Any]) -> None:
        config["evaluator"]["val_data_loader"] = "$[{}]"

    with pytest.raises(LoadFailed, match="no list of items"):
        build(variant(bundles, tmp_path, change), CPU, output_dir)
