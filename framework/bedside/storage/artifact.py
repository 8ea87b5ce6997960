"""A bundle as an OCI artifact: one manifest, one config, one layer (OCI image specification 1.1).

The layer is the tar archive of ``bundle.packing``, uncompressed, and the config that of an image: whatever mounts
images as volumes can mount it, and its digest is the same wherever it is packed. docs/decisions/0088.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

from bedside.bundle.folder import open_bundle
from bedside.bundle.packing import write_tar
from bedside.bundle.vetting.zips import plain_path
from bedside.errors import NotAdmitted
from bedside.settings import AdmissionSettings
from bedside.storage.archives import only_bundle, unpack_archive

ARTIFACT_TYPE = "application/vnd.bedside.bundle.v1"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
LAYER_TYPES = (LAYER_TYPE, f"{LAYER_TYPE}+gzip", "application/x-tar", "application/gzip", "application/zip")
"""Layers that are unpacked; other tools push archives under the last three."""

TITLE = "org.opencontainers.image.title"
VERSION = "org.opencontainers.image.version"
BUNDLE_DIGEST = "io.bedside.bundle.digest"
MANIFEST_BYTES = 1 << 20
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Layer:
    """What a manifest says of the one layer, and of the bundle in it."""

    digest: str
    size: int
    name: str
    bundle_digest: str


@dataclass(frozen=True, slots=True)
class Artifact:
    """A bundle made ready to be pushed: bytes of manifest and config, and the layer as a file."""

    manifest: bytes
    config: bytes
    layer: Path

    @property
    def digest(self) -> str:
        """Return the digest of the manifest, by which the artifact is pulled."""
        return digest_of(self.manifest)


def digest_of(data: bytes) -> str:
    """Return ``sha256:`` and the hex digest."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def file_digest(stream: BufferedReader) -> str:
    """Return the digest of what is left of a stream."""
    return f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"


def make_artifact(root: Path, folder: Path) -> Artifact:
    """Make the artifact of a bundle; its layer is written into ``folder``. Raises InvalidBundle."""
    bundle = open_bundle(root)
    path = folder / "layer.tar"
    with path.open("wb") as stream:
        write_tar(bundle.root, bundle.name, stream)
    with path.open("rb") as stream:
        digest = file_digest(stream)
    platform = {"architecture": "amd64", "os": "linux"}  # an image must name one; the files are any machine's
    config = _json({**platform, "config": {}, "rootfs": {"type": "layers", "diff_ids": [digest]}})
    about = {TITLE: bundle.name, VERSION: bundle.metadata.version, BUNDLE_DIGEST: bundle.digest}
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "artifactType": ARTIFACT_TYPE,
        "config": {"mediaType": CONFIG_TYPE, "digest": digest_of(config), "size": len(config)},
        "layers": [{"mediaType": LAYER_TYPE, "digest": digest, "size": path.stat().st_size}],
        "annotations": about,
    }
    return Artifact(_json(manifest), config, path)


def read_manifest(data: bytes, limits: AdmissionSettings) -> Layer:
    """Read a manifest of one bundle. Raises NotAdmitted."""
    try:
        manifest = json.loads(data)
        (layer,) = manifest["layers"]
        digest, size = str(layer["digest"]), int(layer["size"])
        about: Mapping[str, Any] = {**(layer.get("annotations") or {}), **(manifest.get("annotations") or {})}
        known = layer["mediaType"] in LAYER_TYPES
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise NotAdmitted("not admitted: the manifest is not that of one bundle in one layer") from None
    if not known:
        raise NotAdmitted("not admitted: the layer is no tar or zip archive")
    if not is_digest(digest):
        raise NotAdmitted("not admitted: the layer's digest is not a SHA-256")
    if not 0 <= size <= limits.total_bytes:
        raise NotAdmitted(f"not admitted: the layer has more than {limits.total_bytes} bytes (admission.total_bytes)")
    title = str(about.get(TITLE, ""))
    name = title if plain_path(title) and "/" not in title else ""
    return Layer(digest, size, name, str(about.get(BUNDLE_DIGEST, "")))


def is_digest(text: str) -> bool:
    """Tell whether a text is ``sha256:`` and 64 hexadecimal digits; it will be part of a path."""
    algorithm, _, value = text.partition(":")
    return algorithm == "sha256" and len(value) == 64 and not set(value) - set("0123456789abcdef")


def check_blob(path: Path, layer: Layer) -> None:
    """Check size and digest of a fetched layer, before anything of it is used. Raises NotAdmitted."""
    with path.open("rb") as stream:
        if path.stat().st_size != layer.size or file_digest(stream) != layer.digest:
            raise NotAdmitted("not admitted: the layer is not the one that its manifest names")


def unpack_layer(path: Path, content: Path, layer: Layer, limits: AdmissionSettings) -> None:
    """Unpack a layer that has been checked; the bundle in it must be the one that the manifest names."""
    unpack_archive(path, content, limits, layer.name or "bundle")
    if layer.bundle_digest and open_bundle(only_bundle(content)).digest != layer.bundle_digest:
        raise NotAdmitted("not admitted: the bundle in the layer is not the one that the manifest names")


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":"), sort_keys=True).encode()
