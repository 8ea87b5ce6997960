"""What published metadata hold, and what nobody has written yet: read or unknown, never a lie, never a crash."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedside.bundle.contract import InputFact, OutputFact, derive_inputs, derive_outputs
from bedside.bundle.metadata import Metadata, parse_metadata, read_metadata
from bedside.bundle.sample import sample_inputs
from bedside.errors import InvalidBundle
from bedside.types import DecodedImage

ASSETS = Path(__file__).parents[2] / "assets" / "metadata"
ZOO = os.environ.get("BEDSIDE_ZOO", "")

IMAGE = InputFact("image", "image")
MASK = OutputFact("pred", "float32", (40, 40, 40), has_geometry=True, like_input="image")


def odd(name: str) -> Metadata:
    """Read one asset."""
    return parse_metadata(json.loads((ASSETS / f"{name}.json").read_text()))


def use(metadata: Metadata) -> None:
    """Derive a contract, and make what the warm-up would be given."""
    specs = derive_inputs(metadata, [IMAGE])
    [sample] = sample_inputs(specs, metadata).items
    assert isinstance(sample, DecodedImage)
    assert all(spec.dtype == "float32" for spec in derive_outputs(metadata, [MASK]))


@pytest.mark.parametrize("name", sorted(path.stem for path in ASSETS.glob("*.json")))
def test_every_oddity_is_read_and_can_be_used(name: str) -> None:
    """No bundle is refused for what its metadata say of the network."""
    use(odd(name))


@pytest.mark.skipif(not ZOO, reason="BEDSIDE_ZOO is not set to a checkout of Project-MONAI/model-zoo")
def test_every_bundle_of_the_zoo_is_read() -> None:
    """All metadata of the checkout at $BEDSIDE_ZOO."""
    bundles = sorted(path.parents[1] for path in Path(ZOO).glob("models/*/configs/metadata.json"))
    assert bundles
    for bundle in bundles:
        use(read_metadata(bundle))


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("shape_formula_multiple", ("8*n", "8*n", "16*n")),
        ("shape_formula_power", ("2**p*n",) * 3),
        ("shape_any", ("*", "*", "*")),
        ("shape_number_as_text", (256, 256)),
        ("shape_bare_letter", ("n", "n", "n")),
        ("shape_with_float_and_null", (96, "*", "*")),
        ("shape_is_number", ()),
    ],
)
def test_lengths_are_numbers_formulas_or_anything(name: str, shape: tuple[int | str, ...]) -> None:
    """What is no length at all may be any."""
    assert odd(name).inputs["image"].spatial_shape == shape


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("channel_def_missing", {}),
        ("label_def_for_channel_def", {0: "background", 1: "liver"}),
        ("channel_def_longer_than_channels", {index: f"class {index}" for index in range(133)}),
        ("output_of_another_name", {0: "background", 1: "organ"}),
        ("outputs_without_pred", {}),
        ("post_processed_outputs", {0: "background", 1: "organ"}),
        ("network_data_format_missing", {}),
    ],
)
def test_names_of_labels_come_from_where_they_are(name: str, labels: dict[int, str]) -> None:
    """Of several outputs none of which has the result's name, nobody knows which is meant."""
    [spec] = derive_outputs(odd(name), [MASK])
    assert spec.labels == labels


@pytest.mark.parametrize(
    ("name", "fact", "kind"),
    [
        ("points_with_axes_as_channels", OutputFact("pred", "float32", (2, 10)), "tensor"),
        ("type_object_format_dict", OutputFact("pred", "float32", (7, 6)), "tensor"),
        ("type_feature", OutputFact("pred", "float32", (64, 64)), "image"),
        ("type_probability_of_pixels", OutputFact("pred", "float32", (164, 164)), "segmentation"),
        ("output_of_another_name", OutputFact("pred", "float32", (2,)), "probabilities"),
        ("output_of_another_name", OutputFact("pred", "float32", (1, 2)), "probabilities"),
        ("output_of_another_name", OutputFact("pred", "float32", (3,)), "tensor"),
        ("output_of_another_name", MASK, "image"),
        ("network_data_format_missing", OutputFact("pred", "float32", (64, 64)), "image"),
        ("network_data_format_missing", OutputFact("pred", "float32", (4,)), "tensor"),
    ],
)
def test_the_run_decides_and_the_words_only_name(name: str, fact: OutputFact, kind: str) -> None:
    """Landmarks are no image whatever their number of axes; only one number per class can be probabilities."""
    [spec] = derive_outputs(odd(name), [fact])
    assert spec.kind == kind


def test_packages_of_either_name_count() -> None:
    """Where both say a version, the required one holds."""
    assert odd("optional_packages_version").required_packages == {"itk": "5.3"}
    assert odd("both_packages_versions").required_packages == {"nibabel": "5.2.1", "itk": "5.3"}
    assert odd("packages_as_list").required_packages == {}
    assert "required_packages_version" not in odd("optional_packages_version").missing


def test_metrics_by_class_keep_both_names() -> None:
    """A Dice per label is no less a metric."""
    assert odd("metrics_by_class").eval_metrics == {"mean_dice.central gland": 0.88, "mean_dice.peripheral zone": 0.75}


def test_texts_may_be_lists_or_numbers() -> None:
    """A version written without quotes, a list of authors."""
    assert odd("authors_as_list").authors == "A. Nobody, B. Nobody"
    assert odd("version_is_number").version == "0.5"


def test_what_cannot_be_understood_is_unknown() -> None:
    """A number as text is a number; no type is no type."""
    tensor = odd("numbers_as_text").inputs["image"]
    assert (tensor.num_channels, tensor.dtype) == (1, "")
    assert odd("latent_without_channels").inputs["latent"].num_channels is None


_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
_FORMULAS = st.text("0123456789np*+-/ ()'", max_size=12)
_ENTRY = st.fixed_dictionaries(
    {},
    optional={
        "type": _JSON,
        "format": st.sampled_from(["segmentation", "classes", "points"]) | _JSON,
        "num_channels": st.integers(-2, 6) | _JSON,
        "spatial_shape": st.lists(_FORMULAS | st.integers(-1, 64), max_size=3) | st.lists(_JSON, max_size=2),
        "dtype": _JSON,
        "value_range": _JSON,
        "is_patch_data": _JSON,
        "channel_def": st.dictionaries(st.text("012x²", max_size=3), _JSON, max_size=4) | _JSON,
        "label_def": _JSON,
    },
)
_TENSORS = st.dictionaries(st.sampled_from(["image", "pred", "latent"]), _ENTRY | _JSON, max_size=3) | _JSON
_NETWORK = st.fixed_dictionaries(
    {}, optional={"inputs": _TENSORS, "outputs": _TENSORS, "post_processed_outputs": _TENSORS}
)


@given(_NETWORK | _JSON)
def test_nothing_in_the_network_format_refuses_a_bundle(network: Any) -> None:
    """Whatever stands there: a contract comes out, and an input for the warm-up."""
    metadata = parse_metadata({"version": "1", "network_data_format": network})
    derive_outputs(metadata, [MASK, OutputFact("other", "int64", (2,)), OutputFact("boxes", kind="value")])
    [spec] = derive_inputs(metadata, [IMAGE])
    assert spec.spatial_dims is None or spec.spatial_dims > 0
    assert all(count > 0 for count in spec.channels)


@given(st.dictionaries(st.sampled_from([*Metadata.model_fields, "network_data_format", "version"]), _JSON))
def test_whatever_comes_is_metadata_or_refused_by_name(raw: dict[str, Any]) -> None:
    """The error names the part that is wrong."""
    refused = None
    try:
        parse_metadata(raw)
    except InvalidBundle as error:
        refused = error
    assert refused is None or (refused.field or "").startswith("metadata.json#")
