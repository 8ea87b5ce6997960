#!/usr/bin/env python3
"""The entry point of a MONAI Application Package; `bedside map export` copies this file into it.

Commands as in the specification ("Container Behavior and Interaction"): `show`, `extract`, `env`, `help`. Anything else
goes to the application. Only the standard library, so that it says what the package is even where that cannot run.
"""

import json
import os
import shlex
import shutil
import sys
from pathlib import Path

USAGE = """usage: docker run [--volume FOLDER:/var/run/holoscan/export[/app|/config|/models|/docs]] IMAGE [COMMAND]

  (none)           run the application: /var/holoscan/input to /var/holoscan/output
  show [app|pkg]   print the manifests
  extract          copy application, manifests, models and documents into the folder that is mounted
  env              print the environment
  help             print this
Anything else is handed to the application."""

_MANIFESTS = {"app": "etc/holoscan/app.json", "pkg": "etc/holoscan/pkg.json"}
_PARTS = {
    "app": ("opt/holoscan/app",),
    "config": ("var/holoscan/app.yaml", *_MANIFESTS.values()),
    "models": ("opt/holoscan/models",),
    "docs": ("opt/holoscan/docs",),
}


def main(arguments: list[str], root: Path = Path("/")) -> int:
    """Run a command on the package at ``root``; returns the exit status."""
    command = arguments[0] if arguments else ""
    if command == "show":
        return _show(arguments[1:], root)
    if command == "extract":
        return _extract(root)
    if command == "help":
        print(USAGE)
        return 0
    start = ["env"] if command == "env" else [*_command(root), *arguments]
    return os.execvp(start[0], start)  # noqa: S606 - no shell between, so that signals reach the application


def _command(root: Path) -> list[str]:
    return shlex.split(json.loads((root / _MANIFESTS["app"]).read_bytes())["command"])


def _show(which: list[str], root: Path) -> int:
    if not set(which) <= set(_MANIFESTS):
        print(USAGE, file=sys.stderr)
        return 2
    for name in which or _MANIFESTS:
        print((root / _MANIFESTS[name]).read_text(encoding="utf-8"), end="")
    return 0


def _extract(root: Path) -> int:
    export = root / "var/run/holoscan/export"
    if not export.is_dir():
        print(f"no folder is mounted at {export}", file=sys.stderr)
        return 1
    named = [name for name in _PARTS if (export / name).is_dir()]
    for name in named or _PARTS:
        for source in (root / part for part in _PARTS[name]):
            _copy(source, export / name)
    return 0


def _copy(source: Path, target: Path) -> None:
    target.mkdir(exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True, copy_function=shutil.copyfile)
    else:
        shutil.copyfile(source, target / source.name)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
