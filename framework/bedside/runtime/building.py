"""Builds a bundle through MONAI's own ConfigParser, for serving: no data, no worker processes, no logging changes.

What real bundles do, and why each override is here, is written down in docs/decisions/0002-building-bundles.md.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events
from monai.bundle import ConfigWorkflow
from monai.handlers import CheckpointLoader

from bedside.bundle.folder import BundleFolder
from bedside.errors import LoadFailed

RUN_IDS = ("run", "evaluating", "inference", "inferring", "eval")
"""The run id is not fixed by the specification; these are the ones in MONAI's Model Zoo."""

_RUN_CALL = re.compile(r"@(\w+)\.run\(")
_FOLDER_DATASETS = ("Dataset", "CacheDataset", "PersistentDataset", "SmartCacheDataset", "CSVDataset")


@dataclass(frozen=True, slots=True)
class BuiltBundle:
    """The live parts of a bundle.

    Attributes:
        evaluator: the bundle's own engine, a ``monai.engines.Evaluator``.
        preprocessing: what its dataset applies to an item.
        device: where the network is.
        output_dir: folder for bundles that write files by design.
    """

    evaluator: Any
    preprocessing: Callable[[Any], Any]
    device: torch.device
    output_dir: Path


def resolve_device(setting: str) -> torch.device:
    """Return the device for ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        LoadFailed: CUDA was asked for and there is none.
    """
    if setting == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    device = torch.device(setting)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise LoadFailed("runtime.device asks for CUDA, and torch finds none here: set BEDSIDE_RUNTIME__DEVICE=cpu")
    return device


def build(folder: BundleFolder, device: torch.device, output_dir: Path) -> BuiltBundle:
    """Build a bundle, load its weights, and leave it ready for items.

    Raises:
        LoadFailed: MONAI could not build it; the detail says what is missing.
    """
    config = [str(path) for path in folder.config_files]
    workflow = ConfigWorkflow(
        config_file=config,
        meta_file=str(folder.root / "configs" / "metadata.json"),
        logging_file=False,  # a bundle's logging.conf re-points the root logger
        workflow_type="infer",
    )
    parser = workflow.parser
    workflow.run_id = _run_id(parser.get())
    _override(parser, folder.root, device, output_dir)
    workflow.initialize()
    evaluator = parser.get_parsed_content(_evaluator_id(parser.get(), workflow.run_id))
    _load_checkpoints(evaluator)
    _prepare_run(parser, workflow.run_id)
    evaluator.network.to(device).eval()
    return BuiltBundle(evaluator, _preprocessing(evaluator), device, output_dir)


def _run_id(config: Mapping[str, Any]) -> str:
    for name in RUN_IDS:
        if name in config:
            return name
    for name, value in config.items():
        if isinstance(value, list) and any(isinstance(step, str) and ".run(" in step for step in value):
            return name
    raise LoadFailed("the inference configuration has no run expression (run, evaluating, inference, …)", field="run")


def _evaluator_id(config: Mapping[str, Any], run_id: str) -> str:
    steps = config[run_id]
    for step in steps if isinstance(steps, list) else [steps]:
        call = _RUN_CALL.search(str(step))
        if call:
            return call.group(1)
    if "evaluator" in config:
        return "evaluator"
    raise LoadFailed(f"'{run_id}' runs no evaluator: bundles that only sample are not served yet", field=run_id)


def _override(parser: Any, root: Path, device: torch.device, output_dir: Path) -> None:
    """Point the configuration at this server: its own paths and device, no data of its own, no worker processes."""
    config = parser.get()
    parser["bundle_root"] = str(root)  # relative roots depend on the working directory
    if "output_dir" in config:
        parser["output_dir"] = str(output_dir)
    if "device" in config:
        parser["device"] = f"$torch.device('{device}')"
    for name, part in config.items():
        if isinstance(part, dict):
            _without_data(parser, name, part)
    for place in _checkpoint_loaders(config):
        # Weights saved on a GPU fail on a CPU unless told where to go (Model Zoo issues 518, 613).
        parser[f"{place}#map_location"] = f"$torch.device('{device}')"


def _checkpoint_loaders(config: Any, place: str = "") -> Iterator[str]:
    """Yield the places of every CheckpointLoader that does not say where its weights go."""
    if _target(config) == "CheckpointLoader" and "map_location" not in config:
        yield place
    entries = config.items() if isinstance(config, dict) else enumerate(config) if isinstance(config, list) else ()
    for key, value in list(entries):
        yield from _checkpoint_loaders(value, f"{place}#{key}" if place else str(key))


def _without_data(parser: Any, name: str, part: Mapping[str, Any]) -> None:
    target = _target(part)
    if target in _FOLDER_DATASETS:
        # The request is the data; the bundle's own list of files is never evaluated.
        parser[name] = {"_target_": "monai.data.Dataset", "data": [], "transform": part.get("transform")}
    if target in {"DataLoader", "ThreadDataLoader"}:
        parser[f"{name}#num_workers"] = 0  # spawning workers costs seconds a request
        parser[f"{name}#shuffle"] = False  # torch refuses to shuffle an empty dataset


def _target(part: Any) -> str:
    return str(part.get("_target_", "")).rpartition(".")[2] if isinstance(part, dict) else ""


def _load_checkpoints(evaluator: Any) -> None:
    # CheckpointLoader fires when an engine starts, so every run would read the weights again. Ours never starts:
    # the handlers are called once, here.
    for handler, *_ in evaluator._event_handlers[Events.STARTED]:  # noqa: SLF001 - ignite offers no other way to them
        if isinstance(handler, CheckpointLoader):
            handler(evaluator)


def _prepare_run(parser: Any, run_id: str) -> None:
    """Evaluate the steps before the engine's run: some bundles load their weights there."""
    steps = parser.get()[run_id]
    for index, step in enumerate(steps if isinstance(steps, list) else ()):
        if _RUN_CALL.search(str(step)):
            return
        parser.get_parsed_content(f"{run_id}#{index}")


def _preprocessing(evaluator: Any) -> Callable[[Any], Any]:
    transform = getattr(getattr(evaluator.data_loader, "dataset", None), "transform", None)
    if not callable(transform):
        raise LoadFailed("the evaluator's dataset has no transform to prepare a request with", field="dataset")
    return transform  # type: ignore[no-any-return]
