"""An archive as a source: ``.zip``, ``.tar``, ``.tar.gz``, made by ``bedside bundle pack`` or by anybody."""

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bedside.bundle.packing import FORMS
from bedside.bundle.vetting.archives import unpack
from bedside.bundle.vetting.findings import Refused
from bedside.errors import NotAdmitted, SourceUnavailable
from bedside.settings import AdmissionSettings
from bedside.storage.cache import BundleCache


@dataclass(frozen=True, slots=True)
class ArchiveSource:
    """Implements ``interfaces.BundleSource``: unpacked once into the cache, under the digest of the archive."""

    path: Path
    cache: BundleCache
    limits: AdmissionSettings

    @property
    def location(self) -> str:
        """Return the path."""
        return str(self.path)

    def fetch(self) -> Sequence[Path]:
        """Return the bundle's root.

        Raises:
            SourceUnavailable: the archive cannot be read.
            NotAdmitted: it is not plain, too large, or holds no bundle.
        """
        try:
            with self.path.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise SourceUnavailable(f"cannot be read ({type(error).__name__})") from None
        return [self.cached(digest)]

    def cached(self, digest: str) -> Path:
        """Return the bundle's root in the cache, unpacked where it is not there yet. Raises as :meth:`fetch`."""
        content = self.cache.get(f"archive-{digest}", self._fill)
        return only_bundle(content)

    def _fill(self, content: Path) -> None:
        unpack_archive(self.path, content, self.limits)


def unpack_archive(archive: Path, content: Path, limits: AdmissionSettings, name: str = "") -> None:
    """Unpack one bundle's archive; whatever an attempt before this one left in the folder goes first.

    Args:
        archive: the file.
        content: the folder to fill.
        limits: most files and bytes.
        name: the model's name where the archive has no folder of that name at its top; else the archive's own.

    Raises:
        NotAdmitted: the archive is not plain, too large, or holds no bundle.
    """
    shutil.rmtree(content, ignore_errors=True)
    into = content / (name or stem(archive.name))
    into.mkdir(mode=0o700, parents=True)
    try:
        unpack(archive, into, limits)
    except Refused as refused:
        raise NotAdmitted(f"not admitted: {refused.rule}: {refused.explanation}", field="archive") from None


def stem(name: str) -> str:
    """Return the name of an archive without its suffix."""
    suffix = next((suffix for suffix in FORMS if name.endswith(suffix)), "")
    return name.removesuffix(suffix) or "bundle"


def only_bundle(content: Path) -> Path:
    """Return the root of the one bundle in what :func:`unpack_archive` wrote."""
    found = [*content.glob("*/configs/metadata.json"), *content.glob("*/*/configs/metadata.json")]
    return found[0].parent.parent
