"""Carries a release to a site that has no network.

``courier.py load FOLDER PIN…``, where there is one: pins production (options of ``bedside ship pin``), commits, and
fills FOLDER with the manifests, and with the image and the bundles that they name. ``courier.py unload FOLDER
REPOSITORY``, on the site: image and bundles go into the registry where the overlay ``onprem-airgap`` looks for them,
and the manifests into REPOSITORY, signed where there is a ``COSIGN_KEY``. Digests stay what they are. Needs skopeo,
and on the site kubectl (and cosign 2.6 or newer).
"""

import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PINS = ROOT / "deploy" / "k8s" / "environments" / "production" / "pins.json"
PINNED = re.compile(r"^\s*-? *(?:image|reference): (\S+)@sha256:([0-9a-f]{64})$", re.MULTILINE)
TAG = "org.opencontainers.image.ref.name"


def load(folder: Path, *pins: str) -> None:
    """Fill a folder; what it holds already is not fetched again."""
    _run(ROOT / "deploy" / "pipeline.sh", "manifests", folder / "manifests", "production", *pins)
    content = json.loads(PINS.read_text(encoding="utf-8"))
    for reference in (content["image"], *content["bundles"].values()):
        place = folder / reference.rpartition(":")[2]
        if not (place / "manifest.json").exists():
            _copy(f"docker://{reference}", f"dir:{place}")


def unload(folder: Path, repository: str) -> None:
    """Empty it into the site's registry."""
    described = json.loads((folder / "manifests" / "index.json").read_text(encoding="utf-8"))["manifests"][-1]
    version = described["annotations"][TAG]
    for name, digest in sorted(set(PINNED.findall(_rendered(folder / "manifests", described["digest"])))):
        _copy(f"dir:{folder / digest}", f"docker://{name}:{version}")
    _copy(f"oci:{folder / 'manifests'}:{version}", f"docker://{repository}:{version}")
    if os.environ.get("COSIGN_KEY"):
        # Without the public log of signatures, which a site without a network cannot reach and Flux does not ask.
        offline = ("--use-signing-config=false", "--tlog-upload=false")
        _run("cosign", "sign", "--yes", *offline, "--key", "env://COSIGN_KEY", f"{repository}@{described['digest']}")


def _rendered(layout: Path, digest: str) -> str:
    """Return what the carried manifests make of the overlay: not what this clone would."""
    (layer,) = json.loads(_blob(layout, digest).read_bytes())["layers"]
    with tempfile.TemporaryDirectory(prefix="bedside-") as tree:
        with tarfile.open(_blob(layout, layer["digest"])) as archive:
            archive.extractall(tree, filter="data")
        command = ["kubectl", "kustomize", f"{tree}/deploy/k8s/overlays/onprem-airgap"]
        return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def _blob(layout: Path, digest: str) -> Path:
    return layout / "blobs" / "sha256" / digest.partition(":")[2]


def _copy(source: str, target: str) -> None:
    _run("skopeo", "copy", "--all", "--preserve-digests", source, target)


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, stdout=sys.stderr)


def main(arguments: list[str]) -> None:
    """Do what the arguments say."""
    match arguments:
        case ["load", folder, *pins]:
            load(Path(folder).resolve(), *pins)
        case ["unload", folder, repository]:
            unload(Path(folder).resolve(), repository)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)  # it has said why itself
