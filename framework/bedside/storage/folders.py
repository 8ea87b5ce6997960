"""A folder as a source: one bundle, a folder of bundles, or models with their versions side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bedside.bundle.folder import find_bundles


@dataclass(frozen=True, slots=True)
class FolderSource:
    """Implements ``interfaces.BundleSource``; the bundles stay where they are."""

    path: Path

    @property
    def location(self) -> str:
        """Return the path."""
        return str(self.path)

    def fetch(self) -> Sequence[Path]:
        """Return the bundles' roots. Raises ConfigurationError where there are none."""
        return find_bundles([self.path])
