"""Builds a bundle through MONAI's own ConfigParser, for serving: no data, no worker processes, no logging changes.

What real bundles do, and why each override is here, is written down in docs/decisions/0002-building-bundles.md and
docs/decisions/0065-any-bundle.md.
"""

import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events
from ignite.metrics import Metric
from monai.bundle import ConfigWorkflow
from monai.handlers import CheckpointLoader, ClassificationSaver, MetricLogger, MetricsSaver, StatsHandler

from bedside.bundle.folder import BundleFolder
from bedside.errors import LoadFailed
from bedside.runtime import weights
from bedside.runtime.configuration import ITEMS, Configuration, components, follow, look_up, target_of
from bedside.runtime.datasource import PLAIN_DATASETS, DataSource, find_data_source
from bedside.runtime.requirements import require_device, require_packages
from bedside.runtime.saving import Kept, postprocessing_of
from bedside.runtime.shims import apply_shims

RUN_IDS = ("run", "evaluating", "inference", "inferring", "eval")
"""The run id is not fixed by the specification; these are the ones in MONAI's Model Zoo."""

_RUN_CALL = re.compile(r"@(\w+)\.run\(")
OUTPUT_FOLDERS = ("output_dir", "save_dir")
_TELLS_NOTHING = (CheckpointLoader, ClassificationSaver, MetricLogger, MetricsSaver, StatsHandler)
"""Handlers whose work is no answer: they log, count, or write what the engine's output holds already."""


@dataclass(frozen=True, slots=True)
class BuiltBundle:
    """The live parts of a bundle.

    Attributes:
        evaluator: the bundle's own engine, a ``monai.engines.Evaluator``; None where it is built for each item.
        preprocessing: what its dataset applies to an item; None where there is nothing to prepare.
        device: where the network is.
        output_dir: folder for bundles that write files by design.
        configuration: what the parts were built from.
        data_dir: folder in which the bundle expects its data, because it names results by paths below it; else None.
        engine_id: id of the engine that the run expression runs; empty where it runs none.
        source: where items go; None for bundles that take none.
        kept: what the bundle's savers leave in memory.
        example: an item that the bundle makes itself, where it makes arrays and no files.
        shims: names of the compatibility shims that were applied.
        load_once: loads the weights that the handlers of an engine would load.
    """

    evaluator: Any
    preprocessing: Callable[[Any], Any] | None
    device: torch.device
    output_dir: Path
    configuration: Configuration
    engine_id: str = ""
    source: DataSource | None = None
    kept: Kept = field(default_factory=Kept)
    example: Any = None
    shims: tuple[str, ...] = ()
    load_once: weights.LoadOnce = field(default_factory=weights.LoadOnce)
    data_dir: Path | None = None


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
        LoadFailed: MONAI could not build it, or something is missing; the detail says what.
    """
    plan = prepare(folder, device, output_dir)
    source = plan.source
    if plan.engine_id and source is None:
        raise LoadFailed(
            "the evaluator's dataset has no list of items that a request could stand in for", field="dataset"
        )
    data_dir = _data_dir(plan.parser)
    configuration = Configuration(plan.parser, plan.run_id)
    built = BuiltBundle(
        evaluator=None,
        preprocessing=configuration.resolve(source.transform) if source and source.transform else None,
        device=device,
        output_dir=output_dir,
        configuration=configuration,
        engine_id=plan.engine_id,
        source=source,
        example=plan.example,
        shims=plan.shims,
        data_dir=data_dir,
    )
    return _with_evaluator(built) if source is not None and source.plain else built


@dataclass(frozen=True, slots=True)
class Plan:
    """A configuration that is pointed at this server, of which nothing has been built.

    Attributes: as of :class:`BuiltBundle`.
    """

    parser: Any
    run_id: str
    engine_id: str
    source: DataSource | None
    example: Any
    shims: tuple[str, ...]


def prepare(folder: BundleFolder, device: torch.device, output_dir: Path) -> Plan:
    """Read a bundle's configuration and point it at this server.

    Raises:
        LoadFailed: a package or a device is missing, or the configuration runs nothing.
    """
    workflow = ConfigWorkflow(
        config_file=[str(path) for path in folder.config_files],
        meta_file=str(folder.root / "configs" / "metadata.json"),
        logging_file=False,  # a bundle's logging.conf re-points the root logger
        workflow_type="infer",
    )
    parser = workflow.parser
    content = parser.get()
    require_packages(content, folder.root)
    require_device(content, device)
    run_id = run_id_of(content)
    shims = apply_shims(content, folder.root, device)
    weights.read_to(device)
    engine_id = evaluator_id_of(content, run_id)
    source = find_data_source(content, engine_id) if engine_id else None
    example = _example(parser, source)
    _override(parser, folder.root, device, output_dir)
    if source is not None:
        _take_items(parser, source)
    return Plan(parser, run_id, engine_id, source, example, shims)


def runs_engine(configuration: Configuration, step: str) -> bool:
    """Tell whether the step of a run expression is the one that runs the engine."""
    return bool(_RUN_CALL.search(str(look_up(configuration.content, step))))


def _with_evaluator(built: BuiltBundle) -> BuiltBundle:
    """Build the engine, once for all items, if one iteration of it is all that happens to an item."""
    configuration = built.configuration
    configuration.renew([])
    for step in configuration.steps("initialize"):
        configuration.resolve(step)
    evaluator = configuration.resolve(built.engine_id)
    built.load_once(evaluator)
    for step in configuration.steps(configuration.run_id):
        if runs_engine(configuration, step):
            break
        configuration.resolve(step)  # some bundles load their weights there
    weights.require_weights()
    evaluator.network.to(built.device).eval()
    built.kept.re_point(postprocessing_of(evaluator))
    one_iteration = not any(_tells_more(handler) for handler in _handlers(evaluator))
    return replace(built, evaluator=evaluator if one_iteration else None)


def _handlers(evaluator: Any) -> list[Any]:
    events = (Events.ITERATION_COMPLETED, Events.EPOCH_COMPLETED, Events.COMPLETED)
    return [handler for event in events for handler, *_ in evaluator._event_handlers[event]]  # noqa: SLF001


def _tells_more(handler: Any) -> bool:
    """Tell whether a handler may write an answer when an iteration or the run ends."""
    owner = getattr(handler, "__self__", handler)
    module = type(owner).__module__ if not hasattr(owner, "__code__") else owner.__module__
    # A subclass may write what its parent does not.
    harmless = type(owner) in _TELLS_NOTHING or isinstance(owner, Metric)
    return not harmless and not module.startswith(("ignite.", "monai.engines."))


def run_id_of(config: Mapping[str, Any]) -> str:
    """Return the id of the run expression. Raises LoadFailed."""
    for name in RUN_IDS:
        if name in config:
            return name
    for name, value in config.items():
        if isinstance(value, list) and any(isinstance(step, str) and ".run(" in step for step in value):
            return name
    raise LoadFailed("the inference configuration has no run expression (run, evaluating, inference, …)", field="run")


def evaluator_id_of(config: Mapping[str, Any], run_id: str) -> str:
    """Return the id of the engine that is run; empty where the run expression samples without one."""
    steps = config[run_id]
    for step in steps if isinstance(steps, list) else [steps]:
        call = _RUN_CALL.search(str(step))
        if call and _is_engine(config, call.group(1)):
            return call.group(1)
    return "evaluator" if _is_engine(config, "evaluator") else ""


def _is_engine(config: Mapping[str, Any], name: str) -> bool:
    part = follow(config, name)[1]
    return isinstance(part, dict) and any("data_loader" in key or key == "dataloader" for key in part)


def _override(parser: Any, root: Path, device: torch.device, output_dir: Path) -> None:
    """Point the configuration at this server: its own paths and device, no data of its own, no worker processes."""
    config = parser.get()
    parser["bundle_root"] = str(root)  # relative roots depend on the working directory
    for name in OUTPUT_FOLDERS:
        if name in config:
            parser[name] = str(output_dir)
    if "device" in config:
        parser["device"] = f"$torch.device('{device}')"
    for place, part in list(components(config)):
        _override_component(parser, place, part, device, output_dir)


def _override_component(
    parser: Any, place: str, part: Mapping[str, Any], device: torch.device, output_dir: Path
) -> None:
    target = target_of(part)
    if target in PLAIN_DATASETS and "::" not in place:
        # The request is the data; the bundle's own list of files is never evaluated.
        _empty_dataset(parser, place, part)
    if target in {"DataLoader", "ThreadDataLoader"}:
        parser[f"{place}::num_workers"] = 0  # spawning workers costs seconds a request
        parser[f"{place}::shuffle"] = False  # torch refuses to shuffle an empty dataset
    if target == "CheckpointLoader" and "map_location" not in part:
        # Weights saved on a GPU fail on a CPU unless told where to go (Model Zoo issues 518, 613).
        parser[f"{place}::map_location"] = f"$torch.device('{device}')"
    for name in OUTPUT_FOLDERS:
        if isinstance(part.get(name), str) and not re.search(r"@(output|save)_dir\b", part[name]):
            parser[f"{place}::{name}"] = str(output_dir)


def _empty_dataset(parser: Any, place: str, part: Mapping[str, Any]) -> None:
    parser[place] = {"_target_": "monai.data.Dataset", "data": [], "transform": part.get("transform")}


def _data_dir(parser: Any) -> Path | None:
    """Have everything that names results by paths below a data folder name them by one of ours; None without such."""
    places = [place for place, part in components(parser.get()) if "data_root_dir" in part]
    if not places:
        return None
    folder = Path(tempfile.mkdtemp(prefix="data-"))  # in the process's scratch folder: a sandbox lets it make one there
    for place in places:
        parser[f"{place}::data_root_dir"] = str(folder)
    return folder


def _example(parser: Any, source: DataSource | None) -> Any:
    """Return an item of a bundle that makes its items (latents, noise) and reads no files."""
    if source is None or source.transform:
        return None
    try:
        return next(iter(parser.get_parsed_content(source.places[0])), None)
    except Exception:  # noqa: BLE001 - a list that cannot be made here shows nothing
        return None


def _take_items(parser: Any, source: DataSource) -> None:
    if source.plain:
        _empty_dataset(parser, source.dataset, look_up(parser.get(), source.dataset))
    for place in source.places:
        parser[f"{source.dataset}::data" if source.plain else place] = f"@{ITEMS}"
    parser[ITEMS] = []
