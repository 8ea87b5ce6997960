"""The process of a reference run: MONAI's own workflow, from configuration to written files.

What ``monai.bundle.run`` does is done here in the same order (``ConfigWorkflow``: initialize, run, finalize), with an
observer at the engine to see what a run leaves in memory. The configuration is left as it is but for its data, its
output folder and the number of loader processes; none of the overrides and shims of ``building`` are applied.
"""

from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Events
from monai.bundle import ConfigWorkflow
from monai.data import NibabelReader, PILReader

from bedside.bundle.agreement import NotComparable
from bedside.bundle.folder import BundleFolder
from bedside.runtime.building import OUTPUT_FOLDERS, evaluator_id_of, run_id_of
from bedside.runtime.causes import first_cause, text_of
from bedside.runtime.configuration import components, look_up, target_of
from bedside.runtime.datasource import DataSource, find_data_source
from bedside.runtime.reference_item import ReferenceItem, table_of
from bedside.runtime.results import array_of, is_array, results_of
from bedside.runtime.sandbox import Room
from bedside.runtime.wire import pack_prediction
from bedside.runtime.worker import Channel, enter
from bedside.settings import RuntimeSettings
from bedside.types import OutputArray, Prediction


def main(
    connection: Connection, folder: BundleFolder, settings: RuntimeSettings, room: Room, item: ReferenceItem
) -> None:
    """Run one item and send what the run left."""
    channel = Channel(connection)
    try:
        enter(channel, folder, settings, room)
        header, arrays = pack_prediction(Prediction(tuple(_run(folder, room, item))))
    except NotComparable as reason:
        channel.send({"failed": str(reason)})
    except Exception as error:  # noqa: BLE001 - a bundle may fail in any way it likes; no patient is involved
        channel.send({"failed": f"monai.bundle cannot run it here: {text_of(first_cause(error))}"})
    else:
        channel.send({"prediction": header}, arrays)


def _run(folder: BundleFolder, room: Room, item: ReferenceItem) -> Sequence[OutputArray]:
    workflow = ConfigWorkflow(
        config_file=[str(path) for path in folder.config_files],
        meta_file=str(folder.root / "configs" / "metadata.json"),
        logging_file=False,
        workflow_type="infer",
    )
    parser = workflow.parser
    workflow.run_id = run_id_of(parser.get())
    engine_id = evaluator_id_of(parser.get(), workflow.run_id)
    source = find_data_source(parser.get(), engine_id) if engine_id else None
    if source is None:
        raise NotComparable("its configuration has no list of files that could be replaced by this one")
    _override(parser, folder.root, room.output)
    _take(parser, source, room, item)
    workflow.initialize()
    left: list[Any] = []
    engine = parser.get_parsed_content(engine_id)
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda running: left.append(running.state.output))
    workflow.run()
    workflow.finalize()
    return _written(room.output) or _left(left)


def _override(parser: Any, root: Path, output_dir: Path) -> None:
    parser["bundle_root"] = str(root)
    for name in OUTPUT_FOLDERS:
        if name in parser.get():
            parser[name] = str(output_dir)
    for place, part in list(components(parser.get())):
        if target_of(part) in {"DataLoader", "ThreadDataLoader"}:
            parser[f"{place}::num_workers"] = 0  # a confined process starts no others; the answer is the same


def _take(parser: Any, source: DataSource, room: Room, item: ReferenceItem) -> None:
    """Put the item where the configuration lists its data: a table's row, or one dictionary."""
    for place in source.places:
        if place.endswith("::src"):
            options = look_up(parser.get(), place.removesuffix("src") + "kwargs_read_csv")
            resolved = parser.get_parsed_content(place.removesuffix("src") + "kwargs_read_csv") if options else {}
            parser[place] = str(table_of(item, resolved or {}, room.scratch))
        else:
            parser[place] = [_entry(item)]


def _entry(item: ReferenceItem) -> Mapping[str, Any]:
    records = {
        name: np.array([np.nan if value is None else value for value in values.values()], np.float32)
        for name, values in item.records.items()
    }
    return {**item.files, **records}


def _written(folder: Path) -> list[OutputArray]:
    """Return the images that the bundle wrote, in the order in which it did."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return [
        found for path in sorted(paths, key=lambda path: path.stat().st_mtime_ns) if (found := _image(path)) is not None
    ]


def _image(path: Path) -> OutputArray | None:
    if path.name.endswith((".nii", ".nii.gz")):
        image = NibabelReader().read(path)
        return OutputArray("", np.asanyarray(image.dataobj), np.asarray(image.affine, np.float64))
    if path.suffix.lower() in {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"}:
        return OutputArray("", np.asarray(PILReader().read(path)))
    return None


def _left(outputs: Sequence[Any]) -> list[OutputArray]:
    if not outputs:
        raise NotComparable("its run went through no item")
    return [array_of(name, value) for name, value in results_of(outputs[-1]).items() if is_array(value)]
