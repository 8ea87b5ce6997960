"""The contract is derived from metadata, preprocessing and a run; what none of them tells is unknown."""

from typing import Any

import numpy as np
import pytest

from bedside.bundle.contract import (
    ARRAY_MEDIA_TYPES,
    DICOM_MEDIA_TYPES,
    PLANE_MEDIA_TYPES,
    VOLUME_MEDIA_TYPES,
    Contract,
    InputFact,
    InputSpec,
    OutputFact,
    OutputSpec,
    derive_inputs,
    derive_outputs,
    require_one_per_class,
)
from bedside.bundle.metadata import Metadata, parse_metadata
from bedside.errors import LoadFailed
from bedside.types import OutputArray


def metadata(inputs: dict[str, Any] | None = None, outputs: dict[str, Any] | None = None, **more: Any) -> Metadata:
    """Return metadata with this network_data_format."""
    network = {"inputs": inputs or {}, "outputs": outputs or {}}
    return parse_metadata({"version": "1", "network_data_format": network, **more})


NETWORK = {"image": {"num_channels": 1, "spatial_shape": [96, 96, 96], "channel_def": {"0": "T1"}}}


def test_patch_shape_binds_no_upload() -> None:
    """Only the rank is taken from spatial_shape; the names from channel_def."""
    [spec] = derive_inputs(metadata(NETWORK), [InputFact("image", kind="image")])
    assert (spec.kind, spec.spatial_dims, spec.channels, spec.channel_names) == ("image", 3, (1,), ("T1",))


@pytest.mark.parametrize(
    ("fact", "channels"),
    [
        (InputFact("image", kind="image", channels=(1, 3)), (1, 3)),
        (InputFact("image", kind="image", converts=True), ()),
        (InputFact("image", kind="image", adds_channel=False), ()),
        (InputFact("image", kind="image", converts=True, channels=(4,)), (4,)),
    ],
)
def test_what_was_tried_beats_what_was_declared(fact: InputFact, channels: tuple[int, ...]) -> None:
    """The network's channels say nothing about the file's where something converts between them."""
    [spec] = derive_inputs(metadata(NETWORK), [fact])
    assert spec.channels == channels


@pytest.mark.parametrize(
    ("reader", "rank", "media_types"),
    [
        ("NibabelReader", 3, VOLUME_MEDIA_TYPES + DICOM_MEDIA_TYPES),
        ("PILReader", 2, PLANE_MEDIA_TYPES + DICOM_MEDIA_TYPES),
        ("NumpyReader", 2, ARRAY_MEDIA_TYPES),
        (None, 3, VOLUME_MEDIA_TYPES + DICOM_MEDIA_TYPES),
        (None, 2, PLANE_MEDIA_TYPES + VOLUME_MEDIA_TYPES + ARRAY_MEDIA_TYPES + DICOM_MEDIA_TYPES),
        (None, 0, VOLUME_MEDIA_TYPES + DICOM_MEDIA_TYPES + PLANE_MEDIA_TYPES + ARRAY_MEDIA_TYPES),
    ],
)
def test_reader_decides_the_media_types(reader: str | None, rank: int, media_types: tuple[str, ...]) -> None:
    """A chosen reader is a fact; without one, the rank narrows it down."""
    network = {"image": {"spatial_shape": [32] * rank}}
    [spec] = derive_inputs(metadata(network), [InputFact("image", kind="image", reader=reader)])
    assert spec.media_types == media_types
    assert spec.spatial_dims == (rank or None)


@pytest.mark.parametrize(("channels", "takes"), [((1, 3), True), ((3,), False)])
def test_radiographs_are_grey(channels: tuple[int, ...], takes: bool) -> None:  # noqa: FBT001 - a parameter
    """What reads colour alone takes none."""
    fact = InputFact("image", kind="image", reader="PILReader", channels=channels)
    [spec] = derive_inputs(metadata(NETWORK), [fact])
    assert (DICOM_MEDIA_TYPES[0] in spec.media_types) == takes
    assert spec.is_plane


def test_names_may_differ_where_there_is_only_one() -> None:
    """One input and one network tensor mean the same; with two, only equal names do."""
    [spec] = derive_inputs(metadata(NETWORK), [InputFact("scan", kind="image")])
    assert (spec.name, spec.spatial_dims) == ("scan", 3)
    first, second = derive_inputs(metadata(NETWORK), [InputFact(n, kind="image") for n in ("image", "label")])
    assert (first.spatial_dims, second.spatial_dims) == (3, None)


FEATURES = {"features": {"channel_def": {"1": "thal", "0": "age"}}}


@pytest.mark.parametrize(
    ("nullable", "expected"), [((), [False, False]), ((False, True), [False, True]), ((True,), [False, False])]
)
def test_features_come_in_the_networks_order(nullable: tuple[bool, ...], expected: list[bool]) -> None:
    """By index, with what is known about each."""
    described = {"thal": {"meaning": "thallium test", "unit": "code", "codes": {"3": "normal"}}, "age": "in years"}
    facts = [InputFact("features", kind="record", nullable=nullable)]
    [spec] = derive_inputs(metadata(FEATURES, feature_descriptions=described), facts)
    assert [feature.name for feature in spec.features] == ["age", "thal"]
    assert [feature.nullable for feature in spec.features] == expected
    assert spec.features[1].codes == {3.0: "normal"}
    assert spec.features[0].description == "in years"


@pytest.mark.parametrize(
    ("tensor", "shape", "kind"),
    [
        ({"format": "classes", "channel_def": {"0": "no", "1": "yes"}}, (2,), "probabilities"),
        ({"type": "probabilities", "channel_def": {"0": "no", "1": "yes"}}, (), "probabilities"),
        ({"format": "magnitude", "channel_def": {"0": "no", "1": "yes"}}, (2,), "tensor"),
        ({"format": "segmentation", "spatial_shape": [4, 5, 6]}, (4, 5, 6), "segmentation"),
        ({"format": "segmentation", "spatial_shape": [4, 5], "num_channels": 6}, (4, 5, 6), "segmentation"),
        ({"format": "segmentation", "spatial_shape": [5, 6], "num_channels": 4}, (4, 5, 6), "image"),
        ({"format": "segmentation"}, (4, 5, 6), "image"),
        ({"format": "magnitude"}, (4, 5, 6), "image"),
        ({}, (3,), "tensor"),
    ],
)
def test_kind_of_a_result(tensor: dict[str, Any], shape: tuple[int, ...], kind: str) -> None:
    """From the specification's words and the shape of a real run."""
    facts = [OutputFact("pred", "float32", shape, has_geometry=False, like_input=None)]
    [spec] = derive_outputs(metadata(outputs={"pred": tensor}), facts)
    assert spec.kind == kind
    assert spec.shape == shape


CLASSES = {"type": "probabilities", "format": "classes", "channel_def": {"0": "none", "1": "some", "2": "much"}}


def run_once(tensor: dict[str, Any], values: Any, dtype: str = "float32") -> None:
    """Hold the metadata of one output against what a run gave for it."""
    array = np.array(values, dtype)
    fact = OutputFact("pred", dtype, array.shape)
    require_one_per_class(metadata(outputs={"pred": tensor}), [fact], [OutputArray("pred", array)])


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([0.3, 0.7], "names 3 classes, and the model gave 2 numbers"),
        ([[0.1, 0.2, 0.3, 0.4]], "names 3 classes, and the model gave 4 numbers"),
        ([0.7], "names 3 classes, and the model gave 1 number"),
    ],
)
def test_classes_and_their_probabilities_are_as_many(values: list[float], text: str) -> None:
    """Where they are not, the names would stand at the wrong numbers."""
    with pytest.raises(LoadFailed) as refused:
        run_once(CLASSES, values)
    assert refused.value.detail == f"network_data_format.outputs.pred.channel_def {text}"
    assert refused.value.field == "metadata.json"


@pytest.mark.parametrize(
    ("tensor", "values", "dtype"),
    [
        (CLASSES, [[0.1, 0.2, 0.7]], "float32"),
        (CLASSES, [2.0], "float32"),
        (CLASSES, [2, 0], "int64"),
        (CLASSES, [[0.1, 0.9], [0.2, 0.8]], "float32"),
        (CLASSES | {"num_channels": 5}, [0.1, 0.2, 0.7], "float32"),
        (CLASSES | {"channel_def": {"0": "no", "1": "yes"}}, [0.7], "float32"),
        (CLASSES | {"channel_def": {}, "num_channels": 3}, [0.3, 0.7], "float32"),
        (CLASSES | {"type": "feature", "format": "embedding"}, [0.3, 0.7], "float32"),
    ],
    ids=["as_many", "argmax", "codes", "several_rows", "network_channels", "sigmoid", "nameless", "no_classes"],
)
def test_what_may_be_meant_is_not_refused(tensor: dict[str, Any], values: Any, dtype: str) -> None:
    """Postprocessing may pick a class, and ``num_channels`` is the network's."""
    run_once(tensor, values, dtype)


def test_results_with_a_place_or_without_metadata_are_no_rows_of_classes() -> None:
    """A label map on the input's grid, a text, and a result that nobody describes."""
    facts = [
        OutputFact("pred", "float32", (2,), like_input="image"),
        OutputFact("other", "float32", (2,)),
        OutputFact("text", kind="value"),
    ]
    arrays = [OutputArray(name, np.array([0.3, 0.7])) for name in ("pred", "other")]
    require_one_per_class(metadata(outputs={"pred": CLASSES}), facts, arrays)


def test_results_on_the_inputs_grid_have_no_fixed_shape() -> None:
    """The axes follow the input; labels are by index."""
    facts = [OutputFact("pred", "uint8", (4, 5, 6), has_geometry=True, like_input="image")]
    [spec] = derive_outputs(metadata(outputs={"pred": {"channel_def": {"1": "Anterior"}}}), facts)
    assert (spec.shape, spec.labels, spec.like_input) == ((-1, -1, -1), {1: "Anterior"}, "image")
    [unknown] = derive_outputs(metadata(), facts)
    assert (unknown.kind, unknown.labels) == ("image", {})


def test_inputs_are_found_by_name_and_kind() -> None:
    """None where there is none."""
    inputs = derive_inputs(metadata(FEATURES), [InputFact("features", kind="record")])
    contract = Contract("m", "1", "d", "", "", inputs, (), {})
    assert contract.input("features") is contract.record is inputs[0]
    assert contract.input("image") is None
    assert Contract("m", "1", "d", "", "", (), (), {}).record is None


def test_values_and_arrays_are_inputs_of_their_own() -> None:
    """Clicks are any JSON value, a latent any array; what may be left out is said, and so is how many files come."""
    facts = [
        InputFact("image", kind="image", files=4),
        InputFact("points", kind="value", optional=True, example=[[1, 2, 3]]),
        InputFact("latent", kind="tensor", shape=(-1, 64), dtype="float32"),
    ]
    image, points, latent = derive_inputs(metadata(NETWORK), facts)
    assert (image.kind, image.files, image.optional) == ("image", 4, False)
    assert points == InputSpec("points", "value", ("application/json",), optional=True, example=[[1, 2, 3]])
    assert latent == InputSpec("latent", "tensor", ("application/x-npy",), shape=(-1, 64), dtype="float32")


def test_results_that_are_no_arrays_have_no_type_and_no_shape() -> None:
    """Boxes with scores are a value; a CSV is a file."""
    facts = [OutputFact("boxes", kind="value"), OutputFact("file_0", kind="file", suffix=".csv")]
    value, file = derive_outputs(metadata(NETWORK), facts)
    assert (value, file) == (OutputSpec("boxes", "value"), OutputSpec("file_0", "file", media_type="text/csv"))


def test_a_model_may_have_no_input() -> None:
    """A generative model starts from noise of its own."""
    assert derive_inputs(metadata(NETWORK), []) == ()
