"""What a reference run is given, and what MONAI's workflow makes of it; in this process."""

import csv
import json
import math
import shutil
from io import BytesIO
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bedside.bundle.agreement import NotComparable
from bedside.bundle.folder import open_bundle
from bedside.runtime import reference_worker
from bedside.runtime.reference_item import ReferenceItem, item_of, table_of
from bedside.runtime.sandbox import Room
from bedside.types import OutputArray, RawPart, RawRecord


@pytest.fixture
def room(tmp_path: Path) -> Room:
    """Return a room that is made."""
    private = tmp_path / "room"
    private.mkdir()
    room = Room(private, ())
    room.make()
    return room


def run(root: Path, room: Room, item: ReferenceItem) -> list[OutputArray]:
    """Run a bundle by MONAI."""
    return list(reference_worker._run(open_bundle(root), room, item))


def test_files_and_records_become_an_item(tmp_path: Path) -> None:
    """Files by their media type; numbers in the network's order, missing ones as None."""
    inputs: dict[str, RawPart | RawRecord] = {
        "image": RawPart("image", "application/gzip", b"x"),
        "record": RawRecord({"b": 2, "a": 1}),
    }
    item = item_of(inputs, {"record": ("a", "b", "c")}, tmp_path)
    assert Path(item.files["image"]).name == "input0.nii.gz"
    assert Path(item.files["image"]).read_bytes() == b"x"
    assert list(item.records["record"].items()) == [("a", 1), ("b", 2), ("c", None)]


@pytest.mark.parametrize(
    "given", [RawPart("scan", "application/dicom", b""), RawPart("scan", "application/zip", b""), RawRecord({})]
)
def test_an_input_that_no_bundle_reads_is_told(given: RawPart | RawRecord, tmp_path: Path) -> None:
    """DICOM is Bedside's; monai.bundle has no request that could hold it."""
    with pytest.raises(NotComparable, match="scan"):
        item_of({"scan": given}, {}, tmp_path)


@pytest.mark.parametrize(
    "options",
    [{}, {"header": None, "names": ["b", "a", "other"]}, {"sep": ";"}, {"delimiter": "\t", "header": 0}],
)
def test_a_table_is_read_back_with_the_bundles_options(options: dict[str, Any], tmp_path: Path) -> None:
    """Missing values are NaN, columns that the record has not are empty."""
    path = table_of(ReferenceItem(records={"features": {"a": 1.5, "b": None}}), options, tmp_path)
    (row,) = pd.read_csv(path, **options).to_dict("records")
    assert (row["a"], math.isnan(row["b"])) == (1.5, True)
    assert math.isnan(row.get("other", math.nan))


def test_a_written_mask_is_read_back(bundles: Path, room: Room) -> None:
    """The file that MONAI wrote, with its geometry."""
    volume = nibabel.Nifti1Image(
        np.random.default_rng(0).normal(size=(20, 21, 22)).astype(np.float32), np.diag([2, 2, 2, 1])
    )
    item = item_of({"image": RawPart("image", "application/x-nifti", volume.to_bytes())}, {}, room.inputs)
    (mask,) = run(bundles / "volume_segmentation", room, item)
    assert (mask.name, mask.array.shape, str(mask.array.dtype)) == ("", (20, 21, 22), "uint8")
    assert mask.affine is not None
    np.testing.assert_allclose(mask.affine, volume.affine)
    assert list(room.output.rglob("*.nii.gz"))


def test_what_an_engine_leaves_is_taken_where_no_image_is_written(bundles: Path, room: Room) -> None:
    """Probabilities of a picture, and of a record that stands in a list of items."""
    stream = BytesIO()
    Image.fromarray(np.arange(784, dtype=np.uint8).reshape(28, 28)).save(stream, "png")
    item = item_of({"image": RawPart("image", "image/png", stream.getvalue())}, {}, room.inputs)
    picture = {output.name: output for output in run(bundles / "plane_classification", room, item)}
    assert picture["pred"].array.sum() == pytest.approx(1, abs=1e-6)
    item = item_of({"features": RawRecord({"age": 50, "chol": None})}, {"features": ("age", "chol")}, room.inputs)
    assert list(reference_worker._entry(item)) == ["features"]
    np.testing.assert_array_equal(reference_worker._entry(item)["features"], np.array([50, np.nan], np.float32))


def test_a_record_goes_where_the_items_stand(bundles: Path, room: Room) -> None:
    """A configuration with a plain list takes a vector."""
    item = ReferenceItem(records={"features": {"age": 50.0, "chol": 1.0, "thalach": None}})
    left = {output.name: output for output in run(bundles / "record_classification", room, item)}
    assert left["pred"].array.shape == (2,)


def test_a_table_stands_where_the_configuration_names_one(bundles: Path, room: Room, tmp_path: Path) -> None:
    """``CSVDataset`` reads one row, with the options that the bundle gives it."""
    copied = Path(shutil.copytree(bundles / "record_classification", tmp_path / "copied"))
    file = copied / "configs" / "inference.json"
    config = json.loads(file.read_text())
    (step,) = config["preprocessing"]["transforms"]
    step["func"] = "$lambda x: torch.nan_to_num(torch.as_tensor(x, dtype=torch.float32) / 10.0)"  # a table has doubles
    config["names"] = ["age", "chol", "thalach"]
    config["dataset"] = {
        "_target_": "CSVDataset",
        "src": "$@dataset_dir + '/table.csv'",
        "col_names": "@names",
        "col_groups": {"features": "@names"},
        "kwargs_read_csv": {"header": None, "names": "@names"},
        "transform": "@preprocessing",
    }
    file.write_text(json.dumps(config))
    item = ReferenceItem(records={"features": {"age": 50.0, "chol": 1.0, "thalach": None}})
    (by_table,) = [output for output in run(copied, room, item) if output.name == "pred"]
    (by_list,) = [output for output in run(bundles / "record_classification", room, item) if output.name == "pred"]
    np.testing.assert_array_equal(by_table.array, by_list.array)
    with (room.scratch / "record.csv").open(newline="") as stream:
        assert list(csv.reader(stream)) == [["50.0", "1.0", ""]]


def test_a_picture_that_a_bundle_writes_is_read_back(tmp_path: Path) -> None:
    """In the order of writing; what is no image is not looked at."""
    Image.fromarray(np.eye(3, dtype=np.uint8)).save(tmp_path / "mask.png")
    (tmp_path / "numbers.csv").write_text("1,2")
    (found,) = reference_worker._written(tmp_path)
    np.testing.assert_array_equal(found.array, np.eye(3))


def test_a_run_through_no_item_is_told() -> None:
    """An engine that never iterated has left nothing."""
    with pytest.raises(NotComparable, match="no item"):
        reference_worker._left([])


def test_a_bundle_without_a_list_is_told(bundles: Path, room: Room, tmp_path: Path) -> None:
    """There is no place for the case's input."""
    root = tmp_path / "sampling"
    (root / "configs").mkdir(parents=True)
    (root / "configs" / "metadata.json").write_text(
        (bundles / "record_classification" / "configs" / "metadata.json").read_text()
    )
    (root / "configs" / "inference.json").write_text(json.dumps({"run": ["$print('nothing')"]}))
    with pytest.raises(NotComparable, match="no list of files"):
        run(root, room, ReferenceItem())
