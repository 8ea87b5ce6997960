"""Where the figures come from: machine, versions, and the commit."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.services import REPOSITORY, Workspace

_PACKAGES = (
    "bedside",
    "uvicorn",
    "uvloop",
    "httptools",
    "fastapi",
    "starlette",
    "pydantic",
    "orjson",
    "PyJWT",
    "structlog",
    "prometheus_client",
    "scikit-learn",
    "numpy",
    "torch",
    "monai",
)
_PEERS = {"kserve": ("kserve", "fastapi", "uvloop", "scikit-learn"), "mlserver": ("mlserver", "uvloop", "scikit-learn")}


def describe(workspace: Workspace) -> dict[str, Any]:
    """Return facts for the head of the report."""
    return {
        "cpu": _first("/proc/cpuinfo", "model name") or platform.processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(int((_first("/proc/meminfo", "MemTotal") or "0 kB").split()[0]) / 2**20),
        "kernel": platform.release().split("-")[0],
        "python": platform.python_version(),
        "commit": _commit(),
        "versions": {name: _version(name) for name in _PACKAGES},
        "peers": {
            peer: _peer_versions(workspace.interpreter(peer), names)
            for peer, names in _PEERS.items()
            if workspace.interpreter(peer).is_file()
        },
    }


def _first(path: str, key: str) -> str:
    for line in Path(path).read_text().splitlines():
        if line.startswith(key):
            return line.partition(":")[2].strip()
    return ""


def _commit() -> str:
    told = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    return told.stdout.strip() or "unknown"


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _peer_versions(python: Path, names: tuple[str, ...]) -> dict[str, str]:
    code = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"
    told = subprocess.run([str(python), "-c", code, *names], capture_output=True, text=True, check=True)
    return dict(zip(names, told.stdout.split(), strict=True))
