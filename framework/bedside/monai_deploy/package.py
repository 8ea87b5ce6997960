"""Writes the build context of a MONAI Application Package (MAP specification 1.0). Nothing of the bundle is run.

A package is Bedside's own image plus one small layer, so the context holds the layer: ``rootfs/`` as it will lie in the
image, and a Dockerfile that puts it there. The same bundle gives the same files, byte for byte.
"""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from bedside.bundle.contract import InputFact, derive_inputs
from bedside.bundle.folder import BundleFolder, content_files, open_bundle
from bedside.bundle.metadata import Metadata
from bedside.errors import ConfigurationError, InvalidBundle
from bedside.monai_deploy import tools
from bedside.version import __version__

Kind = Literal["application", "service"]

BASE_IMAGE = "localhost/bedside:map"
SDK_VERSION = "4.0.0"
API_VERSION = "1.0.0"
APP = "/opt/holoscan/app/"
MODELS = "/opt/holoscan/models/"
ENVIRONMENT = {
    "HOLOSCAN_APPLICATION": APP,
    "HOLOSCAN_INPUT_PATH": "/var/holoscan/input/",
    "HOLOSCAN_OUTPUT_PATH": "/var/holoscan/output/",
    "HOLOSCAN_WORKDIR": "/var/holoscan/",
    "HOLOSCAN_MODEL_PATH": MODELS,
    "HOLOSCAN_CONFIG_PATH": "/var/holoscan/app.yaml",
    "HOLOSCAN_APP_MANIFEST_PATH": "/etc/holoscan/app.json",
    "HOLOSCAN_PKG_MANIFEST_PATH": "/etc/holoscan/pkg.json",
    # The specification says DOCS and LOGS, the SDK's hosts say DOCS_PATH and LOGS_PATH.
    "HOLOSCAN_DOCS": "/opt/holoscan/docs/",
    "HOLOSCAN_DOCS_PATH": "/opt/holoscan/docs/",
    "HOLOSCAN_LOGS": "/var/holoscan/logs/",
    "HOLOSCAN_LOGS_PATH": "/var/holoscan/logs/",
}
_COMMANDS: dict[Kind, str] = {"application": f"python3 {APP}app.py", "service": f"bedside serve {MODELS}"}
_PORT = 8000  # of Bedside's image, where it listens on every address
_SEMANTIC = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)([-+][0-9A-Za-z.+-]+)?", re.ASCII)
_DEFAULT_APP = '''"""{name} as a MONAI Deploy application: folder in, bundle, folder out."""

from bedside.monai_deploy.operators import main

if __name__ == "__main__":
    main()
'''


def export(root: Path, target: Path, *, kind: Kind = "application", memory: str = "4Gi") -> Path:
    """Write the build context of a bundle's package; returns its folder.

    Args:
        root: the bundle. Its ``app.py`` becomes the application; without one, it is a graph of Bedside's operators.
        target: folder to write; must be empty, or not there.
        kind: ``application`` runs once, from input folder to output folder; ``service`` is `bedside serve`.
        memory: what a host should set aside, as ``4Gi`` or ``2048Mi``.

    Raises:
        InvalidBundle: it is no bundle, or its version is not semantic.
        ConfigurationError: the target holds something, or lies in the bundle.
    """
    folder = open_bundle(root)
    if not _SEMANTIC.fullmatch(folder.metadata.version):
        raise InvalidBundle("a package's version is semantic (semver.org): x.y.z", field="metadata.json#version")
    if not re.fullmatch(r"[1-9]\d*(Mi|Gi)", memory, re.ASCII):
        raise ConfigurationError("memory is a whole number of Mi or Gi: 4Gi", field="memory")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigurationError(f"{target} holds something already", field="output")
    if target.resolve().is_relative_to(folder.root):
        raise ConfigurationError("the output would be part of the bundle", field="output")
    for name, content, mode in _files(folder, kind, memory):
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Path):
            shutil.copyfile(content, path)
        else:
            path.write_text(content, encoding="utf-8")
        path.chmod(mode)
    for path in target.rglob("*/"):
        path.chmod(0o755)  # whatever the umask: another user will read them
    return target


def _files(folder: BundleFolder, kind: Kind, memory: str) -> Iterator[tuple[str, str | Path, int]]:
    """Yield every file of the context: its path, what is in it, its mode."""
    own = folder.root / "app.py"
    yield "Dockerfile", _dockerfile(folder, kind), 0o644
    yield "rootfs/etc/holoscan/app.json", _json(app_manifest(folder, kind)), 0o644
    yield "rootfs/etc/holoscan/pkg.json", _json(package_manifest(folder, memory)), 0o644
    yield "rootfs/var/holoscan/app.yaml", _json({"name": folder.name, "version": folder.metadata.version}), 0o644
    yield "rootfs/var/holoscan/tools", Path(tools.__file__), 0o755
    yield f"rootfs{APP}app.py", own if own.is_file() else _DEFAULT_APP.format(name=folder.name), 0o644
    for path in content_files(folder.root):
        name = path.relative_to(folder.root).as_posix()
        yield f"rootfs{MODELS}{folder.name}/{name}", path, 0o644
        if name == "LICENSE" or name.startswith("docs/"):
            yield f"rootfs/opt/holoscan/docs/{name.removeprefix('docs/')}", path, 0o644


def app_manifest(folder: BundleFolder, kind: Kind) -> dict[str, Any]:
    """Return ``/etc/holoscan/app.json`` (specification, "Table of Application Manifest Fields")."""
    through = "file" if kind == "application" else "network"
    manifest: dict[str, Any] = {
        "apiVersion": API_VERSION,
        "type": kind,
        "command": _COMMANDS[kind],
        "environment": ENVIRONMENT,
        "input": {"path": "input/", "formats": [through, *_media_types(folder.metadata)]},
        # "format" is the specification's, "formats" the SDK's.
        "output": {"path": "output/", "format": through, "formats": [through]},
        "sdk": "monai-deploy",
        "sdkVersion": SDK_VERSION,
        "timeout": 0,
        "version": folder.metadata.version,
        "workingDirectory": ENVIRONMENT["HOLOSCAN_WORKDIR"],
    }
    if kind == "service":
        probe = {
            "type": "http-get",
            "port": _PORT,
            "initialDelaySeconds": 1,
            "timeoutSeconds": 3,
            "failureThreshold": 3,
        }
        manifest["readiness"] = {**probe, "path": "/readyz", "periodSeconds": 5}
        manifest["liveness"] = {**probe, "path": "/livez", "periodSeconds": 10}
    return manifest


def package_manifest(folder: BundleFolder, memory: str) -> dict[str, Any]:
    """Return ``/etc/holoscan/pkg.json`` (specification, "Table of Package Manifest Fields")."""
    return {
        "apiVersion": API_VERSION,
        "applicationRoot": APP,
        "modelRoot": MODELS,
        "models": [{"name": folder.name, "path": folder.name}],
        "resources": {"cpu": 1, "gpu": 0, "memory": memory, "sharedMemory": "512Mi"},
        "version": folder.metadata.version,
    }


def _media_types(metadata: Metadata) -> tuple[str, ...]:
    """Return what an image input takes, as far as metadata tell; the running package knows better."""
    facts = [InputFact(name, "image") for name, tensor in metadata.inputs.items() if tensor.spatial_shape]
    return tuple(dict.fromkeys(media for spec in derive_inputs(metadata, facts) for media in spec.media_types))


def _dockerfile(folder: BundleFolder, kind: Kind) -> str:
    labels = {
        "org.opencontainers.image.title": folder.name,
        "org.opencontainers.image.version": folder.metadata.version,
        "org.opencontainers.image.description": folder.metadata.description or folder.name,
        "org.opencontainers.image.authors": folder.metadata.authors,
        "org.monai.deploy.app-sdk": SDK_VERSION,
        "bedside.bundle.digest": folder.digest,
    }
    lines = [f"LABEL {name}={_quoted(value)}" for name, value in labels.items() if value]
    lines += [f"ENV {name}={value}" for name, value in ENVIRONMENT.items()]
    if kind == "application":
        lines.append("HEALTHCHECK NONE")  # the base's asks a server
    return _DOCKERFILE.format(version=__version__, base=BASE_IMAGE, lines="\n".join(lines))


def _quoted(value: str) -> str:
    # Dockerfiles know no escapes but these; control characters would end the line.
    printable = "".join(letter if letter.isprintable() else " " for letter in value)
    return '"' + re.sub(r'(["\\$])', r"\\\1", printable) + '"'


def _json(document: object) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


_DOCKERFILE = """\
# A MONAI Application Package, written by `bedside map export` {version}: Bedside's image and a small layer.
ARG BASE_IMAGE={base}
FROM ${{BASE_IMAGE}}
{lines}
COPY rootfs/ /
USER 0
RUN mkdir -p /var/holoscan/input /var/holoscan/output /var/holoscan/logs && chown 10001:10001 /var/holoscan/*/
USER 10001:10001
WORKDIR /var/holoscan/
ENTRYPOINT ["/var/holoscan/tools"]
CMD []
"""
