"""Makes metadata files with what published bundles have, each named after its oddity: ``python make_metadata.py``."""

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent

WHOLE: dict[str, Any] = {
    "version": "0.1.0",
    "monai_version": "1.4.0",
    "pytorch_version": "2.4.0",
    "numpy_version": "1.26.0",
    "required_packages_version": {"nibabel": "5.2.1"},
    "task": "A task",
    "description": "Made up.",
    "authors": "Nobody",
    "copyright": "Nobody",
}
IMAGE: dict[str, Any] = {
    "type": "image",
    "format": "magnitude",
    "num_channels": 1,
    "spatial_shape": [96, 96, 96],
    "dtype": "float32",
    "value_range": [0, 1],
    "is_patch_data": True,
    "channel_def": {"0": "image"},
}
MASK: dict[str, Any] = {
    **IMAGE,
    "format": "segmentation",
    "num_channels": 2,
    "channel_def": {"0": "background", "1": "organ"},
}
CLASSES: dict[str, Any] = {**MASK, "type": "probabilities", "format": "classes", "spatial_shape": [1, 2]}


def document(
    inputs: dict[str, Any] | None = None, outputs: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    """Return whole metadata of these tensors."""
    network = {"inputs": inputs or {"image": IMAGE}, "outputs": outputs or {"pred": MASK}}
    return {**WHOLE, "network_data_format": network, **more}


def image(**changes: Any) -> dict[str, Any]:
    """Return metadata whose input differs so."""
    return document({"image": {**IMAGE, **changes}})


def result(**changes: Any) -> dict[str, Any]:
    """Return metadata whose output differs so."""
    return document(outputs={"pred": {**MASK, **changes}})


def without(entry: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return an entry without some of its members."""
    return {name: value for name, value in entry.items() if name not in names}


ODDITIES: dict[str, dict[str, Any]] = {
    "value_range_is_classes": result(value_range=[0, 1, 2, 3]),
    "value_range_empty": image(value_range=[]),
    "value_range_is_number": image(value_range=255),
    "shape_formula_multiple": image(spatial_shape=["8*n", "8*n", "16*n"]),
    "shape_formula_power": image(spatial_shape=["2**p*n", "2**p*n", "2**p*n"]),
    "shape_any": image(spatial_shape=["*", "*", "*"]),
    "shape_number_as_text": image(spatial_shape=["256", "256"]),
    "shape_bare_letter": image(spatial_shape=["n", "n", "n"]),
    "shape_with_float_and_null": image(spatial_shape=[96.0, None, 0]),
    "shape_is_number": image(spatial_shape=96),
    "shape_of_ten_axes": image(spatial_shape=[256] * 10),
    "type_object_format_dict": document(outputs={"pred": {**without(MASK, "channel_def"), "type": "object"}}),
    "type_png": image(type="png", format="RGB", num_channels=5, spatial_shape=[128, 128]),
    "type_noise": document({"latent": {**without(IMAGE, "channel_def"), "type": "noise", "spatial_shape": [64, 64]}}),
    "type_feature": result(type="feature", format="image", channel_def={"0": "image"}),
    "type_magnitude": image(type="magnitude", format="RGB", num_channels=3, spatial_shape=[736, 480]),
    "type_probability_of_pixels": result(type="probability", format="segmentation", spatial_shape=["164", "164"]),
    "timesteps_beside_latent": document(
        {
            "latent": {**IMAGE, "type": "noise", "num_channels": 8},
            "condition": {**IMAGE, "type": "timesteps", "format": "timesteps", "spatial_shape": [], "dtype": "long"},
        }
    ),
    "latent_without_channels": document(
        {"latent": {**IMAGE, "type": "tuples", "format": "latent", "num_channels": 0, "spatial_shape": [64]}}
    ),
    "pair_as_channels": image(num_channels=2, spatial_shape=[64, 64], channel_def={"0": "moving", "1": "fixed"}),
    "points_with_axes_as_channels": result(
        type="tuples", format="points", spatial_shape=[2, 10], channel_def={"0": "Y", "1": "X"}
    ),
    "channel_def_missing": document(outputs={"pred": without(MASK, "channel_def")}),
    "channel_def_longer_than_channels": result(num_channels=1, channel_def={str(n): f"class {n}" for n in range(133)}),
    "label_def_for_channel_def": document(
        outputs={"pred": {**without(MASK, "channel_def"), "label_def": {"0": "background", "1": "liver"}}}
    ),
    "network_data_format_missing": dict(WHOLE),
    "network_data_format_null": {**WHOLE, "network_data_format": None},
    "tensors_as_lists": {**WHOLE, "network_data_format": {"inputs": [IMAGE], "outputs": ["pred"]}},
    "outputs_without_pred": document(
        outputs={
            "nucleus_prediction": {**MASK, "type": "probability"},
            "horizontal_vertical": {**MASK, "type": "probability", "format": "regression"},
        }
    ),
    "output_of_another_name": document(outputs={"classification": CLASSES}),
    "post_processed_outputs": {
        **WHOLE,
        "network_data_format": {
            "inputs": {"image": IMAGE},
            "outputs": {"pred": {**MASK, "num_channels": 105, "channel_def": {"0": "logits"}}},
            "post_processed_outputs": {"pred": {**MASK, "num_channels": 1}},
        },
    },
    "optional_packages_version": {
        **without(document(), "required_packages_version"),
        "optional_packages_version": {"itk": "5.3"},
    },
    "both_packages_versions": {
        **document(),
        "optional_packages_version": {"nibabel": "3", "itk": "5.3"},
        "required_packages_version": {"nibabel": "5.2.1"},
    },
    "packages_as_list": document(required_packages_version=["nibabel"]),
    "metrics_by_class": document(eval_metrics={"mean_dice": {"central gland": 0.88, "peripheral zone": 0.75}}),
    "metrics_missing": document(),
    "authors_as_list": document(authors=["A. Nobody", "B. Nobody"], copyright=None),
    "version_is_number": document(version=0.5),
    "numbers_as_text": image(num_channels="1", is_patch_data="true", dtype=None),
}


def main() -> None:
    """Write every file."""
    for name, raw in ODDITIES.items():
        (HERE / f"{name}.json").write_text(json.dumps(raw, indent=1) + "\n")


if __name__ == "__main__":
    main()
