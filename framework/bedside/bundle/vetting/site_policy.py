"""The site's policy file: what is admitted beyond the built-in lists. The operator writes it, no bundle does."""

import re
import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from bedside.errors import ConfigurationError
from bedside.errors.validation import problems

_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(\.\*)?", re.ASCII)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def _dotted(value: str) -> str:
    if not _DOTTED.fullmatch(value):
        raise ValueError("must be a dotted name, or one that ends with '.*'")
    return value


def _digest(value: str) -> str:
    if not _DIGEST.fullmatch(value):
        raise ValueError("must be 'sha256:' and 64 hexadecimal digits, as `bedside bundle vet` prints it")
    return value


Names = tuple[Annotated[str, AfterValidator(_dotted)], ...]


class SitePolicy(BaseModel):
    """What a site admits beyond the built-in lists. A name may end with ``.*``: everything below it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    targets: Names = ()
    """Further ``_target_`` components."""

    imports: Names = ()
    """Further modules that ``$import`` may import."""

    names: Names = ()
    """Further names that ``$`` expressions may use: ``open``, ``pd.read_csv``, ``torch.jit.load``."""

    globals: Names = ()
    """Further names that a pickle of weights may hold. Whoever loads it must tell torch the same."""

    scripts: Literal["never", "pinned", "signed"] = "never"
    """Whether a bundle may bring code of its own, and everything else that only a reviewer can judge: ``never``;
    ``pinned``: its digest is in ``allowed_digests``; ``signed``: pinned, or signed with one of ``public_keys``."""

    allowed_digests: tuple[Annotated[str, AfterValidator(_digest)], ...] = ()
    """Digests of reviewed bundles, as ``bedside bundle vet`` prints them."""

    public_keys: tuple[Path, ...] = ()
    """PEM files with elliptic-curve public keys whose signatures are accepted; relative to the policy file."""


def read_site_policy(path: Path | None) -> SitePolicy:
    """Read the policy file, or return the built-in policy where there is none.

    Raises:
        ConfigurationError: the file is missing, is not TOML, or names something unknown. A server that went on
            without its policy would be a surprise in either direction.
    """
    if path is None:
        return SitePolicy()
    try:
        policy = SitePolicy.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError:
        raise ConfigurationError("the admission policy file cannot be read", field="admission.policy_file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the admission policy is not TOML: {error}", field="admission.policy_file") from None
    except ValidationError as error:
        where, what = problems(error, SitePolicy)[0]
        raise ConfigurationError(f"admission policy: {where}: {what}", field=where) from None
    return policy.model_copy(update={"public_keys": tuple(path.parent / key for key in policy.public_keys)})


def allows(patterns: Names, name: str) -> bool:
    """Tell whether a dotted name is one of ``patterns``, or below one that ends with ``.*``."""
    return any(name == entry or (entry.endswith(".*") and name.startswith(entry[:-1])) for entry in patterns)
