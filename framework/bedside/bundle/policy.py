"""``bedside.toml``: the optional policy beside a bundle. Without it every default below holds."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bedside.bundle.dicom_policy import DicomPolicy
from bedside.errors import InvalidBundle
from bedside.errors.validation import problems


class InputPolicy(BaseModel):
    """Bounds on one image input that neither metadata nor a run can tell."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    least_extent_mm: float = Field(default=0.0, ge=0)
    """Least size of the image along each spatial axis, in millimetres."""

    greatest_extent_mm: float | None = Field(default=None, gt=0)
    """Greatest such size. A model for a crop answers a whole head with nonsense, and nothing else would stop it."""


class Policy(BaseModel):
    """What a site or an author decides about serving one bundle."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    execution: Literal["process", "inline"] = "process"
    """``process``: a process of its own, which may crash, hang or leak without touching another model.
    ``inline``: on the server's event loop, without a hop, for models that cost less than the hop. Only records in, only
    bundles that are pure configuration, and only those that are quick; anything else falls back to ``process``."""

    inputs: Mapping[str, InputPolicy] = Field(default_factory=dict)
    """Bounds by input name: ``[inputs.image]``."""

    dicom: DicomPolicy = DicomPolicy()
    """DICOM series in, DICOM results out (docs/dicom.md)."""

    config_files: tuple[str, ...] = ()
    """Configuration files in ``configs/`` to merge, in order; empty: ``inference.json`` or ``.yaml``."""


def read_policy(root: Path) -> Policy:
    """Read ``bedside.toml`` of a bundle, or return the defaults.

    Raises:
        InvalidBundle: the file is not TOML, or names an unknown setting.
    """
    path = root / "bedside.toml"
    if not path.is_file():
        return Policy()
    try:
        return Policy.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidBundle(f"bedside.toml is not TOML: {error}", field="bedside.toml") from None
    except ValidationError as error:
        where, what = problems(error, Policy)[0]
        raise InvalidBundle(f"bedside.toml: {where}: {what}", field=f"bedside.toml#{where}") from None
