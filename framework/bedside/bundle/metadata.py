"""``configs/metadata.json``, read leniently and checked against a schema of ours.

MONAI's own schema is a release asset that ``verify_metadata`` downloads, which a hospital's network will not allow.
Ours follows the MONAI bundle specification ("metadata.json File") and accepts what the Model Zoo publishes:
``optional_packages_version`` for ``required_packages_version``, formulas in ``spatial_shape``, missing parts. Only the
version must be there; whatever else cannot be understood is unknown.
"""

import json
from collections.abc import Iterator, Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

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


_NO_GRIDS = frozenset({"tuples", "points", "series", "object", "dict", "timesteps", "probabilities", "classes"})
_LONGEST_INDEX = 6  # digits: no network has a million classes, and int() of a thousand digits costs


_DICOM_MODALITIES = {"MRI": "MR", "PET": "PT"} | {name: name for name in ("MR", "CT", "PT", "CR", "DX", "MG", "IO")}


class TensorFormat(BaseModel):
    """One entry of ``network_data_format.inputs`` or ``.outputs``: a tensor of the *network*.

    What cannot be understood is left at its default, which means "unknown": a misprint here is no reason to refuse a
    bundle that runs, and none to guess. ``label_def`` is read as ``channel_def`` where there is none of that name.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    type: str = ""
    format: str = ""
    num_channels: int | None = None
    spatial_shape: tuple[int | str, ...] = ()
    dtype: str = ""
    modality: str = ""
    channel_def: Mapping[str, str] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _label_def(cls, value: object) -> object:
        entry = dict(value) if isinstance(value, Mapping) else {}
        return {**entry, "channel_def": entry.get("channel_def") or entry.get("label_def")}

    @field_validator("type", "format", "dtype", "modality", mode="before")
    @classmethod
    def _word(cls, value: object) -> object:
        return value if isinstance(value, str) else ""

    @field_validator("num_channels", mode="before")
    @classmethod
    def _count(cls, value: object) -> object:
        number = _length(value)
        return number if isinstance(number, int) and number > 0 else None

    @field_validator("spatial_shape", mode="before")
    @classmethod
    def _lengths(cls, value: object) -> object:
        return tuple(_length(entry) for entry in value) if isinstance(value, list | tuple) else ()

    @field_validator("channel_def", mode="before")
    @classmethod
    def _names_by_index(cls, value: object) -> object:
        # Some bundles give classes as integers or leave holes; keep what is a name by index, in index order.
        if not isinstance(value, Mapping):
            return {}
        named = {str(key): str(name) for key, name in value.items() if _is_index(str(key))}
        return dict(sorted(named.items(), key=lambda pair: int(pair[0])))

    @property
    def dicom_modality(self) -> str:
        """Return what ``modality`` means as DICOM Modality (PS3.3 §C.7.3.1.1.1), empty where it means none."""
        return _DICOM_MODALITIES.get(self.modality.strip().upper(), "")

    @property
    def means_probabilities(self) -> bool:
        """Tell whether the specification's words say "class probabilities"."""
        return self.type in {"probabilities", "probability"} or self.format in {"classes", "labels", "classification"}

    @property
    def means_segmentation(self) -> bool:
        """Tell whether the specification's words say "label map"."""
        return self.format in {"segmentation", "labels"}

    @property
    def means_grid(self) -> bool:
        """Tell whether the specification's words allow that the axes are those of an image."""
        return self.type not in _NO_GRIDS and self.format not in _NO_GRIDS


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
    inputs: Mapping[str, TensorFormat] = Field(default_factory=dict)
    outputs: Mapping[str, TensorFormat] = Field(default_factory=dict)
    eval_metrics: Mapping[str, float] = Field(default_factory=dict)
    feature_descriptions: Mapping[str, FeatureDescription] = Field(default_factory=dict)
    required_packages: Mapping[str, str] = Field(default_factory=dict)
    missing: tuple[str, ...] = ()

    @field_validator("name", "task", "description", "intended_use", "authors", mode="before")
    @classmethod
    def _text(cls, value: object) -> object:
        # Lists of authors, and a null where nobody thought of anything.
        return ", ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)

    @field_validator("version", mode="before")
    @classmethod
    def _number_as_text(cls, value: object) -> object:
        return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value

    @field_validator("inputs", "outputs", mode="before")
    @classmethod
    def _tensors(cls, value: object) -> object:
        items = value.items() if isinstance(value, Mapping) else ()
        return {str(name): entry for name, entry in items if isinstance(entry, Mapping)}

    @field_validator("required_packages", mode="before")
    @classmethod
    def _packages(cls, value: object) -> object:
        items = value.items() if isinstance(value, Mapping) else ()
        return {str(name): str(version) for name, version in items}

    @field_validator("eval_metrics", mode="before")
    @classmethod
    def _numbers_only(cls, value: object) -> object:
        return dict(_metrics(value))

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
    if not bundle_root.is_dir():
        raise InvalidBundle(f"there is no folder {bundle_root}", field="bundle")
    if not path.is_file():  # nor a pipe, which would be waited for
        raise InvalidBundle("configs/metadata.json is missing: is this folder a MONAI bundle?", field="metadata.json")
    try:
        raw = json.loads(path.read_bytes())
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}: {error.msg}"
        raise InvalidBundle(f"configs/metadata.json is no JSON ({place})", field="metadata.json") from error
    except (ValueError, OSError, RecursionError) as error:
        raise InvalidBundle(
            f"configs/metadata.json cannot be read: {type(error).__name__}", field="metadata.json"
        ) from error
    if not isinstance(raw, dict):
        raise InvalidBundle("configs/metadata.json must hold a JSON object", field="metadata.json")
    return parse_metadata(raw)


def parse_metadata(raw: Mapping[str, Any]) -> Metadata:
    """Check parsed metadata; see :func:`read_metadata`."""
    network = _mapping(raw.get("network_data_format"))
    packages = {**_mapping(raw.get("optional_packages_version")), **_mapping(raw.get("required_packages_version"))}
    try:
        return Metadata.model_validate(
            {
                **{key: raw[key] for key in Metadata.model_fields if key in raw and key not in {"inputs", "outputs"}},
                "inputs": network.get("inputs"),
                # What is said of the result itself counts for more than what is said of the network's tensor.
                "outputs": {**_mapping(network.get("outputs")), **_mapping(network.get("post_processed_outputs"))},
                "required_packages": packages,
                "missing": _missing(raw),
            }
        )
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        raise InvalidBundle(f"metadata.json: {where}: {first['msg']}", field=f"metadata.json#{where}") from error


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _length(value: object) -> int | str:
    """Return an axis length as the number or the formula that it is; ``*`` (any) for anything else."""
    if isinstance(value, str):
        text = value.strip()
        return int(text) if _is_index(text) and int(text) else text or "*"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else "*"


def _is_index(text: str) -> bool:
    return text.isdecimal() and text.isascii() and len(text) <= _LONGEST_INDEX


def _metrics(value: object, prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, metric in _mapping(value).items():
        if is_number(metric):
            yield f"{prefix}{name}", float(metric)
        elif not prefix:  # one level: a metric by class
            yield from _metrics(metric, f"{name}.")


def is_number(value: object) -> bool:
    """Tell whether a JSON value is a finite number; true and false are none."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return isfinite(value)
    except OverflowError:  # an integer beyond float64
        return False


def _missing(raw: Mapping[str, Any]) -> tuple[str, ...]:
    renamed = {"required_packages_version": "optional_packages_version"}
    return tuple(key for key in MANDATORY if key not in raw and renamed.get(key) not in raw)
