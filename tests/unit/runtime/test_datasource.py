"""Where a configuration takes its data from is found, whatever its parts are called."""

from typing import Any

import pytest

from bedside.runtime.datasource import find_data_source

TRANSFORM = {"_target_": "Compose"}


def config(dataset: Any, **others: Any) -> dict[str, Any]:
    """Return a configuration with an engine, a loader and this dataset."""
    return {
        "engine": {"_target_": "SupervisedEvaluator", "val_data_loader": "@loader"},
        "loader": {"_target_": "DataLoader", "dataset": "@dataset"},
        "dataset": dataset,
        **others,
    }


@pytest.mark.parametrize("target", ["Dataset", "monai.data.CacheDataset", "PersistentDataset"])
def test_a_plain_dataset_has_its_list(target: str) -> None:
    """The list is an argument; the transform stands beside it."""
    source = find_data_source(config({"_target_": target, "data": "@files", "transform": "@before"}), "engine")
    assert source is not None
    assert (source.places, source.transform, source.plain) == (("dataset::data",), "dataset::transform", True)


def test_a_dataset_written_into_its_loader_is_found() -> None:
    """Parts need no id of their own."""
    inline = {"_target_": "Dataset", "data": [], "transform": TRANSFORM}
    engine = {"_target_": "E", "val_data_loader": {"_target_": "DataLoader", "dataset": inline}}
    source = find_data_source({"engine": engine}, "engine")
    assert source is not None
    assert source.places == ("engine::val_data_loader::dataset::data",)


def test_a_dataset_of_another_kind_is_built_for_each_item() -> None:
    """It may do anything with its list when it is built."""
    source = find_data_source(config({"_target_": "MaskedPatchWSIDataset", "data": "@files"}), "engine")
    assert source is not None
    assert (source.places, source.plain) == (("dataset::data",), False)


def test_a_stream_takes_its_items_from_the_list_that_its_datasets_share() -> None:
    """Others may count that list, so the list itself is replaced."""
    inner = {"_target_": "Dataset", "data": "@files", "transform": TRANSFORM}
    streams = [{"_target_": "ShuffleBuffer", "data": inner}, {"_target_": "ShuffleBuffer", "data": inner}]
    stream = {"_target_": "IterableDataset", "data": "$zip(*@streams)"}
    source = find_data_source(config(stream, streams=streams, files="$glob.glob('*')"), "engine")
    assert source is not None
    assert (source.places, source.plain) == (("files",), False)
    assert source.transform == "streams::0::data::transform"


@pytest.mark.parametrize("dataset", [{"_target_": "scripts.Own", "folder": "/data"}, "$make()", None])
def test_a_dataset_without_a_list_is_none(dataset: Any) -> None:
    """There is nowhere for an item to stand."""
    assert find_data_source(config(dataset), "engine") is None


def test_keys_and_examples_are_read_from_the_expression_that_makes_items() -> None:
    """Through references; a text is the path of somebody's file, and no example."""
    items = {"_target_": "Dataset", "data": "$[@one]", "transform": TRANSFORM}
    one = "${@key: '/data/a.nii', 'label_prompt': [3], 'points': json.loads(x)}"
    source = find_data_source(config(items, one=one, key="image"), "engine")
    assert source is not None
    assert source.shown == {"image": None, "label_prompt": [3], "points": None}
