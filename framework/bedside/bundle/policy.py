"""``bedside.toml``: the optional policy beside a bundle. Without it every default below holds."""

import tomllib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from bedside.errors import InvalidBundle


class Policy(BaseModel):
    """What a site or an author decides about serving one bundle."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    execution: Literal["process", "inline"] = "process"
    """``process``: a process of its own, which may crash, hang or leak without touching another model.
    ``inline``: on the server's event loop, without a hop, for models that cost less than the hop. Only records in,
    and only bundles that are pure configuration, are taken inline; anything else falls back to ``process``."""

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
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidBundle(f"bedside.toml is not TOML: {error}", field="bedside.toml") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        raise InvalidBundle(f"bedside.toml: {where}: {first['msg']}", field=f"bedside.toml#{where}") from None
