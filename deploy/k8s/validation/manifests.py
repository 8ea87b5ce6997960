"""Rendered manifests, and where in them to look."""

import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
OVERLAYS = ("dev", "onprem", "onprem-one", "k3s", "onprem-airgap", "aws", "kserve")

Manifest = dict[str, Any]


class NotRendered(Exception):
    """Kustomize refused; its message says where."""


@cache
def render_text(folder: Path) -> str:
    """Return what `kubectl apply -k` would send. Raises NotRendered."""
    command = ["kubectl", "kustomize", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NotRendered(done.stderr.strip())
    return done.stdout


def render(folder: Path) -> list[Manifest]:
    """Return the rendered objects, fresh copies each time."""
    return [manifest for manifest in yaml.safe_load_all(render_text(folder)) if manifest]


def overlay(name: str) -> list[Manifest]:
    """Return the objects of one of the overlays."""
    return render(ROOT / "overlays" / name)


def pods(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """Yield the name and the pod specification of everything that makes pods."""
    for manifest in manifests:
        where = f"{manifest['kind']}/{manifest['metadata']['name']}"
        if manifest["kind"] in {"Deployment", "StatefulSet", "DaemonSet", "Job"}:
            yield where, manifest["spec"]["template"]["spec"]
        elif manifest["kind"] in {"ClusterServingRuntime", "ServingRuntime", "Pod"}:
            yield where, manifest["spec"]


def containers(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """Yield the name and the specification of every container, initial ones included."""
    for where, pod in pods(manifests):
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            yield f"{where}/{container.get('name')}", container


def of_kind(manifests: list[Manifest], kind: str) -> list[Manifest]:
    """Return the objects of one kind."""
    return [manifest for manifest in manifests if manifest["kind"] == kind]
