"""From what the operator names to where the bundles come from."""

from pathlib import Path

from bedside.errors import ConfigurationError
from bedside.interfaces import BundleSource
from bedside.settings import Settings
from bedside.storage.folders import FolderSource


def open_source(location: str, _settings: Settings) -> BundleSource:
    """Return the source of a location. Nothing is fetched yet.

    Raises:
        ConfigurationError: there is no such path, or no such kind of source.
    """
    path = Path(location)
    if path.is_dir():
        return FolderSource(path)
    raise ConfigurationError(f"{location} is not a folder", field="bundle")
