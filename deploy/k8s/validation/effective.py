"""The settings that a container would start with, and how much lies on each of its volumes."""

import json
import re
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from bedside.errors import ConfigurationError
from bedside.settings import Settings, load_settings
from validation.manifests import Manifest, of_kind, pods

SERVERS = {"bedside", "kserve-container"}
_UNITS = {"": 1, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def servers(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest, Manifest]]:
    """Yield the name, the pod specification and the container of everything that serves."""
    for where, pod in pods(manifests):
        for container in pod["containers"]:
            if container.get("name") in SERVERS:
                yield where, pod, container


def started(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest, Manifest, Settings]]:
    """Yield those of them that start, with their settings."""
    for where, pod, container in servers(manifests):
        with suppress(ConfigurationError):
            yield where, pod, container, settings_of(manifests, container)


def variables(container: Manifest) -> dict[str, Manifest]:
    """Return the variables of a container by name."""
    return {variable["name"]: variable for variable in container.get("env", [])}


def settings_of(manifests: list[Manifest], container: Manifest) -> Settings:
    """Return what the server reads: its variables, over settings.toml where it is mounted. Secrets are not known here.

    Raises:
        ConfigurationError: a setting is unknown or out of range; the server would not start.
    """
    overrides: dict[str, Any] = {}
    for name, variable in variables(container).items():
        value = _value(manifests, variable)
        if value is None or not name.startswith("BEDSIDE_") or name == "BEDSIDE_CONFIG":
            continue
        group, _, field = name.removeprefix("BEDSIDE_").lower().partition("__")
        parsed = json.loads(value) if value.startswith(("[", "{")) else value
        if field:
            overrides.setdefault(group, {})[field] = parsed
        else:
            overrides[group] = parsed
    mounted = "BEDSIDE_CONFIG" in variables(container)
    files = [m["data"]["settings.toml"] for m in of_kind(manifests, "ConfigMap") if "settings.toml" in m["data"]]
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(files[0] if mounted else "")
        file.flush()
        return load_settings(Path(file.name), **overrides)


def _value(manifests: list[Manifest], variable: Manifest) -> str | None:
    source = variable.get("valueFrom", {}).get("configMapKeyRef")
    if source is None:
        return str(variable["value"]) if "value" in variable else None
    configs = {config["metadata"]["name"]: config["data"] for config in of_kind(manifests, "ConfigMap")}
    return str(configs[source["name"]][source["key"]])


def most_replicas(manifests: list[Manifest], deployment: Manifest) -> int:
    """Return how many pods may run at one time; Flagger makes a second Deployment for the primary."""
    counts = [scaler["spec"]["maxReplicaCount"] for scaler in of_kind(manifests, "ScaledObject")]
    counts.append(deployment["spec"].get("replicas", 1))
    return int(max(counts)) * (2 if of_kind(manifests, "Canary") else 1)


def volume_under(pod: Manifest, container: Manifest, folder: Path) -> Manifest | None:
    """Return the volume that a folder lies on."""
    mounts = [m for m in container.get("volumeMounts", []) if folder.is_relative_to(m["mountPath"])]
    if not mounts:
        return None
    name = max(mounts, key=lambda mount: len(mount["mountPath"]))["name"]
    return next((volume for volume in pod.get("volumes", []) if volume["name"] == name), None)


def claim_of(manifests: list[Manifest], volume: Manifest | None) -> Manifest | None:
    """Return the claim behind a volume, where it has one."""
    name = ((volume or {}).get("persistentVolumeClaim") or {}).get("claimName")
    return next((m for m in of_kind(manifests, "PersistentVolumeClaim") if m["metadata"]["name"] == name), None)


def size_of(manifests: list[Manifest], volume: Manifest) -> int:
    """Return a volume's size in bytes; 0 where it has none."""
    claim = claim_of(manifests, volume)
    said = (
        claim["spec"]["resources"]["requests"]["storage"] if claim else (volume.get("emptyDir") or {}).get("sizeLimit")
    )
    found = re.fullmatch(r"(\d+)([KMGT]i|)", str(said))
    return int(found[1]) * _UNITS[found[2]] if found else 0


def bounds(settings: Settings) -> Iterator[tuple[str, Path, int]]:
    """Yield what is bounded by bytes on a disk: the setting, the folder, the bytes."""
    state, jobs = settings.runtime.state_dir, settings.jobs
    yield "jobs.spool_bytes", jobs.spool_dir or state / "spool", jobs.spool_bytes
    yield "jobs.spool_bytes of the inbox", settings.dicom.inbox_dir or state / "inbox", jobs.spool_bytes
    yield "audit.chain_bytes", settings.audit.folder_in(state), settings.audit.chain_bytes
    yield "limits.body_bytes", settings.runtime.staging_dir, settings.limits.body_bytes
    if settings.log.sink != "stdout":
        elastic = settings.elastic
        yield "elastic.spool_bytes", elastic.spool_dir or state / "log-spool", elastic.spool_bytes
