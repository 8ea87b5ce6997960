"""From what the operator names to where the bundles come from."""

from pathlib import Path

from bedside.bundle.packing import FORMS
from bedside.errors import ConfigurationError
from bedside.interfaces import BundleSource
from bedside.settings import Settings
from bedside.storage.archives import ArchiveSource
from bedside.storage.artifact import is_digest
from bedside.storage.cache import BundleCache
from bedside.storage.folders import FolderSource
from bedside.storage.layout import LayoutSource, is_layout
from bedside.storage.oci import OciSource
from bedside.storage.progress import Announce
from bedside.storage.s3 import S3Source


def open_source(location: str, settings: Settings, announce: Announce = lambda _line: None) -> BundleSource:
    """Return the source of a location. Nothing is fetched yet.

    Args:
        location: a folder with bundles, an image layout (or ``LAYOUT@sha256:…``, one of its bundles), an archive,
            ``s3://…`` or ``oci://…``.
        settings: limits, time-outs and the cache.
        announce: told how far a long fetch is.

    Raises:
        ConfigurationError: there is no such path, or no such kind of source.
    """
    cache = BundleCache(settings.registry.cache_dir, settings.registry.cache_bytes)
    if location.startswith("s3://"):
        return S3Source(location, cache, settings.admission, settings.registry, announce)
    if location.startswith("oci://"):
        return OciSource(location, cache, settings.admission, settings.registry, announce)
    if "://" in location:
        raise ConfigurationError(f"{location}: sources are paths, s3://… and oci://…", field="bundle")
    layout, _, digest = location.rpartition("@")
    if is_digest(digest) and is_layout(Path(layout)):
        return LayoutSource(Path(layout), cache, settings.admission, digest=digest)
    path = Path(location)
    if path.is_dir():
        return LayoutSource(path, cache, settings.admission) if is_layout(path) else FolderSource(path)
    if path.is_file() and location.endswith(FORMS):
        return ArchiveSource(path, cache, settings.admission)
    raise ConfigurationError(f"{location} is not a folder, nor an archive ({', '.join(FORMS)})", field="bundle")
