"""Which bundles the sources offer now: found and recognised, nothing of them read but their metadata."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bedside.bundle.folder import BundleFolder, fingerprint_if_readable, model_name, recognise, tree_fingerprint
from bedside.errors import BedsideError, BundleError, ConfigurationError
from bedside.interfaces import BundleSource

UNKNOWN_VERSION = "unknown"
_UNADDRESSABLE = re.compile(r"[^A-Za-z0-9._-]")


@dataclass(frozen=True, slots=True)
class Found:
    """One version of one model that a source offers.

    Attributes:
        fingerprint: changes when a file of it is touched.
        folder: the bundle, without a digest; None where it cannot be served.
        reason: why it cannot.
    """

    name: str
    version: str
    fingerprint: str
    folder: BundleFolder | None
    reason: str = ""


@dataclass(slots=True)
class Finder:
    """Asks the sources; one that does not answer offers what it offered last.

    Args:
        sources: in the order in which the operator named them.
        on_failure: told of a source that does not answer, with its error.
        model_name: the name of the one model that there is, whatever its folder is called.

    Attributes:
        failures: by the source's number, what it said at the last look.
    """

    sources: Sequence[BundleSource]
    on_failure: Callable[[BundleSource, BedsideError], None] = lambda _source, _error: None
    model_name: str | None = None
    failures: dict[int, BedsideError] = field(default_factory=dict)
    _last: dict[int, list[Path]] = field(default_factory=dict)

    def find(self) -> list[Found]:
        """Return what there is, in the sources' order; blocks, for some sources are far away.

        Raises:
            ConfigurationError: one name is given, and there are several models.
        """
        roots: dict[Path, None] = {}
        for number, source in enumerate(self.sources):
            try:
                self._last[number] = list(source.fetch())
                self.failures.pop(number, None)
            except BedsideError as error:
                self.failures[number] = error
                # A share that is away for a moment must not take its models with it.
                self.on_failure(source, error)
            roots |= dict.fromkeys(self._last.get(number, ()))
        return _unambiguous(self._named([examine(root) for root in roots]))

    def _named(self, found: list[Found]) -> list[Found]:
        name = self.model_name
        if name is None:
            return found
        if len({one.name for one in found}) > 1:
            raise ConfigurationError("one name for several models", field="model-name")
        return [replace(one, name=name, folder=one.folder.named(name) if one.folder else None) for one in found]


def examine(root: Path) -> Found:
    """Recognise one folder; what cannot be served is found with its reason."""
    try:
        folder = recognise(root)
        return Found(folder.name, folder.metadata.version, tree_fingerprint(folder.root), folder)
    except (BundleError, OSError) as error:
        reason = error.detail if isinstance(error, BundleError) else f"cannot be read ({type(error).__name__})"
        return Found(_name(root), _version(root), fingerprint_if_readable(root), None, reason)


def _unambiguous(found: Sequence[Found]) -> list[Found]:
    """Refuse both of two bundles with the same name and version: neither has the better claim to the address."""
    counts = Counter((one.name, one.version) for one in found)
    reason = "two bundles have this name and this version: which one is meant?"
    refused = [
        one if counts[one.name, one.version] == 1 else replace(one, folder=None, reason=one.reason or reason)
        for one in found
    ]
    return list({(one.name, one.version): one for one in refused}.values())


def _name(root: Path) -> str:
    try:
        return model_name(root)
    except BundleError:
        return _UNADDRESSABLE.sub("_", root.name) or "_"


def _version(root: Path) -> str:
    return root.name if root.name != _name(root) and not _UNADDRESSABLE.search(root.name) else UNKNOWN_VERSION
