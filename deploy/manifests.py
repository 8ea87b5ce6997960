"""Packs the committed `deploy/k8s` as the OCI artifact that Flux pulls: manifests.py TARGET VERSION; prints its digest.

TARGET is a repository without a tag (registry.example/manifests), or a folder for an OCI image layout, which a courier
can carry. The same commit gives the same digest. What pulls it: infra/terraform/modules/platform.
"""

import gzip
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from bedside.settings import load_settings
from bedside.storage.artifact import CONFIG_TYPE, MANIFEST_TYPE, Artifact, digest_of
from bedside.storage.layout import push_to_layout
from bedside.storage.oci import Registry

LAYER_TYPE = "application/vnd.cncf.flux.content.v1.tar+gzip"
CONFIG = b"{}"


def artifact(folder: Path) -> Artifact:
    """Return the artifact of the commit that is checked out; its layer is written into a folder."""
    layer = gzip.compress(_git("archive", "--format=tar", "HEAD", "deploy/k8s"), mtime=0)
    path = folder / "layer.tar.gz"
    path.write_bytes(layer)
    revision = _git("rev-parse", "HEAD").decode().strip()
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": {"mediaType": CONFIG_TYPE, "digest": digest_of(CONFIG), "size": len(CONFIG)},
        "layers": [{"mediaType": LAYER_TYPE, "digest": digest_of(layer), "size": len(layer)}],
        "annotations": {"org.opencontainers.image.revision": f"main@sha1:{revision}"},
    }
    return Artifact(json.dumps(manifest, sort_keys=True).encode(), CONFIG, path)


def _git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], capture_output=True, check=True).stdout  # noqa: S603, S607 - ours


def main(target: str, version: str) -> None:
    """Push it."""
    with tempfile.TemporaryDirectory(prefix="bedside-") as folder:
        made = artifact(Path(folder))
        if target.startswith("/"):
            push_to_layout(made, Path(target), version)
        else:
            Registry(f"oci://{target}:{version}", load_settings().registry).push(made)
    print(made.digest)


if __name__ == "__main__":
    main(*sys.argv[1:])
