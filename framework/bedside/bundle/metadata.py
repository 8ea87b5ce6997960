"""``configs/metadata.json``, read leniently and checked against a schema of ours.

MONAI's own schema is a release asset that ``verify_metadata`` downloads, which a hospital's network will not allow.
Ours follows the MONAI bundle specification ("metadata.json File") and accepts what the Model Zoo publishes:
``optional_packages_version`` for ``required_packages_version``, formulas in ``spatial_shape``, missing parts.
"""

import json
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from bedside.errors import InvalidBundle

MANDATORY = (
    "version",
    "monai_version",
    "pytorch_version",
    "numpy_version",
    "required_packages_version",
    "task",
    "description",
    "authors",
    "copyright",
    "network_data_format",
)
"""Mandatory keys (MONAI bundle specification, "metadata.json File")."""


class TensorFormat(BaseModel):
    """One entry of ``network_data_format.inputs`` or ``.outputs``: a tensor of the *network*."""

    model_config = ConfigDict(frozen=True, extra="allow")

    type: str = ""
    format: str = ""
    num_channels: int | None = None
    spatial_shape: tuple[int | str, ...] = ()
    dtype: str = ""
    value_range: tuple[Any, ...] = ()
    is_patch_data: bool | None = None
    channel_def: Mapping[str, str] = Field(default_factory=dict)

    @field_validator("channel_def", mode="before")
    @classmethod
    def _names_by_index(cls, value: object) -> object:
        # Some bundles give classes as integers or leave holes; keep what is a name by index, in index order.
        if not isinstance(value, Mapping):
            return {}
        named = {str(key): str(name) for key, name in value.items() if str(key).isdecimal()}
        return dict(sorted(named.items(), key=lambda pair: int(pair[0])))

    @property
    def means_probabilities(self) -> bool:
        """Tell whether the specification's words say "class probabilities"."""
        return self.type in {"probabilities", "probability"} or self.format in {"classes", "labels", "classification"}

    @property
    def means_segmentation(self) -> bool:
        """Tell whether the specification's words say "label map"."""
        return self.format in {"segmentation", "labels"}


class FeatureDescription(BaseModel):
    """What one number of a record means: an extension of ours, which MONAI ignores.

    ``codes`` lists the values that a coded feature may take; ``seen`` is the range in the training data.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    meaning: str = ""
    unit: str = ""
    codes: Mapping[str, str] = Field(default_factory=dict)
    seen: tuple[float, float] | None = None

    @field_validator("codes")
    @classmethod
    def _codes_are_numbers(cls, value: Mapping[str, str]) -> Mapping[str, str]:
        for code in value:
            float(code)
        return value


class Metadata(BaseModel):
    """The parts of ``metadata.json`` that Bedside uses."""

    model_config = ConfigDict(frozen=True)

    name: str = ""
    version: str
    task: str = ""
    description: str = ""
    intended_use: str = ""
    authors: str = ""
    copyright: str = ""
    inputs: Mapping[str, TensorFormat] = Field(default_factory=dict)
    outputs: Mapping[str, TensorFormat] = Field(default_factory=dict)
    eval_metrics: Mapping[str, float] = Field(default_factory=dict)
    feature_descriptions: Mapping[str, FeatureDescription] = Field(default_factory=dict)
    required_packages: Mapping[str, str] = Field(default_factory=dict)
    missing: tuple[str, ...] = ()

    @field_validator("eval_metrics", mode="before")
    @classmethod
    def _numbers_only(cls, value: object) -> object:
        items = value.items() if isinstance(value, Mapping) else ()
        return {str(k): float(v) for k, v in items if _is_number(v)}

    @field_validator("feature_descriptions", mode="before")
    @classmethod
    def _texts_are_meanings(cls, value: object) -> object:
        items = value.items() if isinstance(value, Mapping) else ()
        return {str(k): {"meaning": v} if isinstance(v, str) else v for k, v in items}


def read_metadata(bundle_root: Path) -> Metadata:
    """Read ``configs/metadata.json`` of a bundle.

    Raises:
        InvalidBundle: the file is absent, is not JSON, or a part has the wrong type; the part is named.
    """
    path = bundle_root / "configs" / "metadata.json"
    if not path.is_file():  # nor a pipe, which would be waited for
        raise InvalidBundle("configs/metadata.json is missing: is this folder a MONAI bundle?", field="metadata.json")
    try:
        raw = json.loads(path.read_bytes())
    except (ValueError, OSError, RecursionError) as error:
        raise InvalidBundle(
            f"configs/metadata.json cannot be read: {type(error).__name__}", field="metadata.json"
        ) from error
    if not isinstance(raw, dict):
        raise InvalidBundle("configs/metadata.json must hold a JSON object", field="metadata.json")
    return parse_metadata(raw)


def parse_metadata(raw: Mapping[str, Any]) -> Metadata:
    """Check parsed metadata; see :func:`read_metadata`."""
    network = raw.get("network_data_format")
    network = network if isinstance(network, Mapping) else {}
    packages = raw.get("required_packages_version", raw.get("optional_packages_version")) or {}
    try:
        return Metadata.model_validate(
            {
                **{key: raw[key] for key in Metadata.model_fields if key in raw and key not in {"inputs", "outputs"}},
                "inputs": network.get("inputs") or {},
                "outputs": network.get("outputs") or {},
                "required_packages": packages,
                "missing": _missing(raw),
            }
        )
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        raise InvalidBundle(f"metadata.json: {where}: {first['msg']}", field=f"metadata.json#{where}") from error


def _is_number(value: object) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return isfinite(value)
    except OverflowError:  # an integer beyond float64
        return False


def _missing(raw: Mapping[str, Any]) -> tuple[str, ...]:
    renamed = {"required_packages_version": "optional_packages_version"}
    return tuple(key for key in MANDATORY if key not in raw and renamed.get(key) not in raw)
