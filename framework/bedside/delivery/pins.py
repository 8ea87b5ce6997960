"""What an environment runs: one file of digests, and the Kustomize components that are written from it.

``deploy/k8s/environments/<environment>/pins.json`` is the state that people review, approve and revert; nothing is
deployed that does not stand in it, and nothing in it is a tag, because a tag can be moved.
"""

import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from bedside.errors import ConfigurationError

REFERENCE = re.compile(
    r"(?P<repository>[a-z0-9][a-z0-9._-]*(:\d+)?(/[a-z0-9][a-z0-9._-]*)+)@(?P<digest>sha256:[0-9a-f]{64})"
)
BUNDLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
IMAGE = "ghcr.io/bedside/bedside"
"""Name of the runtime image in ``deploy/k8s``; pins say what stands in its place."""

PINS = "pins.json"
_NOWHERE = "@sha256:" + "0" * 64
_WRITTEN = "# Written by `bedside ship pin` from pins.json; do not edit."


@dataclass(frozen=True, slots=True)
class Pins:
    """What one environment runs.

    Attributes:
        image: reference of the runtime image, by digest.
        bundles: references of the bundles' artefacts by model name, by digest.
    """

    image: str
    bundles: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what is not pinned. Raises ConfigurationError."""
        for name, reference in {"image": self.image, **self.bundles}.items():
            if not BUNDLE.fullmatch(name):
                raise ConfigurationError("a bundle's name is letters, digits, '.', '_' and '-'", field="bundle")
            if not REFERENCE.fullmatch(reference):
                raise ConfigurationError(f"{name} needs a reference by digest: registry/name@sha256:…", field=name)

    def with_image(self, reference: str) -> "Pins":
        """Return these with another runtime image. Raises ConfigurationError."""
        return replace(self, image=reference)

    def with_bundle(self, name: str, reference: str) -> "Pins":
        """Return these with a bundle added or changed, without what only held its place. Raises ConfigurationError."""
        kept = {known: ref for known, ref in self.bundles.items() if not ref.endswith(_NOWHERE)}
        return replace(self, bundles={**kept, name: reference})

    def without_bundle(self, name: str) -> "Pins":
        """Return these without a bundle; a name that is not there is no error, so that a retry goes through."""
        return replace(self, bundles={known: ref for known, ref in self.bundles.items() if known != name})


def read_pins(environment: Path) -> Pins:
    """Read an environment's pins.

    Raises:
        ConfigurationError: there is no such environment, or something in it is not pinned.
    """
    try:
        return _parsed((environment / PINS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigurationError(f"{environment} has no {PINS}: no such environment", field="environment") from None


def _parsed(text: str) -> Pins:
    try:
        content = json.loads(text)
        return Pins(str(content["image"]), {str(name): str(ref) for name, ref in content["bundles"].items()})
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ConfigurationError(f"{PINS} is not an object with 'image' and 'bundles'", field=PINS) from None


def previous_pins(environment: Path) -> Pins:
    """Return what an environment pinned before the last commit that changed it.

    Raises:
        ConfigurationError: git knows no earlier pins of it.
    """
    last = git(environment, "log", "-1", "--format=%H", "--", PINS).strip()
    before = git(environment, "show", f"{last}^:./{PINS}") if last else ""
    if not before:
        raise ConfigurationError(f"git knows no earlier {PINS} of {environment.name}", field="environment")
    return _parsed(before)


def git(folder: Path, *arguments: str) -> str:
    """Return what git says in a folder, nothing where it says no or is not installed."""
    command = ["git", "-C", str(folder), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout  # noqa: S603 - ours alone
    except FileNotFoundError:
        return ""


def write_pins(environment: Path, pins: Pins) -> list[Path]:
    """Write an environment's pins and its Kustomize components; returns the files whose content changed."""
    written = []
    for name, text in rendered(pins).items():
        path = environment / name
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        written.append(path)
    return written


def rendered(pins: Pins) -> dict[str, str]:
    """Return every file of an environment by its path."""
    content = {"image": pins.image, "bundles": dict(sorted(pins.bundles.items()))}
    return {
        PINS: json.dumps(content, indent=2) + "\n",
        "image/kustomization.yaml": _component(images=[_image(pins.image)]),
        "image-volume/kustomization.yaml": _component(patches=[_patch(_image_volumes(pins))]),
        "init-pull/kustomization.yaml": _component(
            components=["../../../components/registry-egress"], patches=[_patch(_init_pull(pins))]
        ),
    }


def _component(**content: Any) -> str:
    head = {"apiVersion": "kustomize.config.k8s.io/v1alpha1", "kind": "Component"}
    return f"{_WRITTEN}\n{yaml.safe_dump({**head, **content}, sort_keys=False, width=160)}"


def _image(reference: str) -> dict[str, str]:
    parts = _split(reference)
    return {"name": IMAGE, "newName": parts["repository"], "digest": parts["digest"]}


def _split(reference: str) -> dict[str, str]:
    found = REFERENCE.fullmatch(reference)
    assert found is not None, "Pins has checked it"  # noqa: S101
    return found.groupdict()


def _patch(pod: dict[str, Any]) -> dict[str, Any]:
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "bedside"},
        "spec": {"template": {"spec": pod}},
    }
    target = {"kind": "Deployment", "name": "bedside"}
    return {"target": target, "patch": yaml.safe_dump(deployment, sort_keys=False, width=160)}


def _image_volumes(pins: Pins) -> dict[str, Any]:
    """Mount each bundle's artefact: no copy, no start-up time, read only (Kubernetes 1.35 and newer)."""
    names = _volume_names(pins)
    # An artefact holds one folder with the bundle's name; of it, and not of the mount, the bundle is made.
    mounts = [{"name": names[n], "mountPath": f"/bundles/{n}", "subPath": n, "readOnly": True} for n in names]
    volumes = [{"name": names[n], "image": {"reference": pins.bundles[n], "pullPolicy": "IfNotPresent"}} for n in names]
    return {"containers": [{"name": "bedside", "volumeMounts": mounts}], "volumes": volumes}


def _init_pull(pins: Pins) -> dict[str, Any]:
    """Fetch each bundle before the server starts, for clusters without image volumes."""
    mount = {"name": "bundles", "mountPath": "/bundles"}
    pulls = [
        {
            "name": f"pull-{volume}",
            "image": pins.image,
            "imagePullPolicy": "IfNotPresent",
            "args": ["bundle", "pull", f"oci://{pins.bundles[name]}", "--output", "/bundles"],
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "privileged": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            },
            "resources": {
                "requests": {"cpu": "100m", "memory": "512Mi", "ephemeral-storage": "512Mi"},
                "limits": {"memory": "512Mi", "ephemeral-storage": "16Gi"},
            },
            "volumeMounts": [mount, {"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - the pod's own
        }
        for name, volume in _volume_names(pins).items()
    ]
    server = {
        "name": "bedside",
        "resources": {"limits": {"ephemeral-storage": "18Gi"}},
        "volumeMounts": [{**mount, "readOnly": True}],
    }
    volumes = [{"name": "bundles", "emptyDir": {"sizeLimit": "16Gi"}}]
    return {"initContainers": pulls, "containers": [server], "volumes": volumes}


def _volume_names(pins: Pins) -> dict[str, str]:
    """Return a DNS label (RFC 1123) for each bundle; two names that differ in punctuation only stay apart."""
    names: dict[str, str] = {}
    for name in sorted(pins.bundles):
        label = "bundle-" + re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:48].strip("-")
        taken = sum(1 for known in names.values() if known == label or known.startswith(f"{label}--"))
        names[name] = f"{label}--{taken}" if taken else label
    return names
