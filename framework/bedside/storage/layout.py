"""An OCI image layout on disk as a source, and as a target (OCI image specification 1.1, image-layout.md)."""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bedside.errors import ConfigurationError, NotAdmitted, SourceUnavailable
from bedside.settings import AdmissionSettings
from bedside.storage.archives import only_bundle
from bedside.storage.artifact import (
    ARTIFACT_TYPE,
    MANIFEST_BYTES,
    MANIFEST_TYPE,
    Artifact,
    Layer,
    check_blob,
    digest_of,
    is_digest,
    read_manifest,
    unpack_layer,
)
from bedside.storage.cache import BundleCache

TAG = "org.opencontainers.image.ref.name"


def is_layout(path: Path) -> bool:
    """Tell whether a folder is an image layout."""
    return (path / "oci-layout").is_file()


@dataclass(frozen=True, slots=True)
class LayoutSource:
    """Implements ``interfaces.BundleSource``: every bundle of a layout, or the one with a digest."""

    path: Path
    cache: BundleCache
    limits: AdmissionSettings
    digest: str = ""

    @property
    def location(self) -> str:
        """Return the path, with the digest where it is one bundle's."""
        return f"{self.path}@{self.digest}" if self.digest else str(self.path)

    def fetch(self) -> Sequence[Path]:
        """Return the bundles' roots, in the cache.

        Raises:
            SourceUnavailable: the layout cannot be read.
            NotAdmitted: a blob is not what its digest says, or no bundle.
            ConfigurationError: it holds no manifest.
        """
        try:
            # A tag may have moved on from a digest: that one is looked for among the blobs, not in the index.
            digests = [self.digest] if self.digest else list(dict.fromkeys(self._digests()))
            if not digests:
                raise ConfigurationError("the image layout holds no such bundle", field="bundle")
            return [self._bundle(digest) for digest in digests]
        except OSError as error:
            raise SourceUnavailable(f"the image layout cannot be read ({type(error).__name__})") from None

    def _digests(self) -> Iterator[str]:
        for described in _index(self.path)["manifests"]:
            yield str(described["digest"])

    def _bundle(self, digest: str) -> Path:
        raw = self._blob(digest).read_bytes()
        if digest_of(raw) != digest:
            raise NotAdmitted("not admitted: a manifest is not what its digest says")
        layer = read_manifest(raw, self.limits)
        content = self.cache.get(f"oci-{digest.partition(':')[2]}", lambda into: self._fill(into, layer))
        return only_bundle(content)

    def _fill(self, content: Path, layer: Layer) -> None:
        check_blob(self._blob(layer.digest), layer)
        unpack_layer(self._blob(layer.digest), content, layer, self.limits)

    def _blob(self, digest: str) -> Path:
        if not is_digest(digest):
            raise NotAdmitted("not admitted: a digest in the layout is not a SHA-256")
        return self.path / "blobs" / "sha256" / digest.partition(":")[2]


def push_to_layout(artifact: Artifact, path: Path, tag: str) -> None:
    """Add an artifact to a layout, which is made where it is missing; a tag moves to the new one.

    Raises:
        ConfigurationError: the folder is something else, or cannot be written.
    """
    try:
        if path.exists() and any(path.iterdir()) and not is_layout(path):
            raise ConfigurationError("the folder is neither empty nor an OCI image layout", field="target")
        blobs = path / "blobs" / "sha256"
        blobs.mkdir(parents=True, exist_ok=True)
        for data in (artifact.config, artifact.manifest):
            _write(blobs / digest_of(data).partition(":")[2], data)
        layer = json.loads(artifact.manifest)["layers"][0]["digest"].partition(":")[2]
        shutil.copyfile(artifact.layer, blobs / f".{layer}")
        (blobs / f".{layer}").replace(blobs / layer)
        _write(path / "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        _write(path / "index.json", json.dumps(_with(artifact, path, tag), indent=2).encode())
    except OSError as error:
        raise ConfigurationError(
            f"the image layout cannot be written ({type(error).__name__})", field="target"
        ) from None


def _with(artifact: Artifact, path: Path, tag: str) -> dict[str, Any]:
    index: dict[str, Any] = {"schemaVersion": 2, "manifests": []}
    if (path / "index.json").exists():
        index = _index(path)
    described = {
        "mediaType": MANIFEST_TYPE,
        "artifactType": ARTIFACT_TYPE,
        "digest": artifact.digest,
        "size": len(artifact.manifest),
        "annotations": {TAG: tag},
    }
    others = [one for one in index["manifests"] if (one.get("annotations") or {}).get(TAG) != tag]
    return {**index, "manifests": [*others, described]}


def _index(path: Path) -> dict[str, Any]:
    with (path / "index.json").open("rb") as stream:
        raw = stream.read(MANIFEST_BYTES + 1)
    try:
        index = json.loads(raw[:MANIFEST_BYTES])
        if all(isinstance(one, dict) and "digest" in one for one in index["manifests"]):
            return dict(index)
    except (ValueError, LookupError, TypeError, RecursionError):
        pass
    raise NotAdmitted("not admitted: index.json is not that of an OCI image layout")


def _write(path: Path, data: bytes) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_bytes(data)
    part.replace(path)
