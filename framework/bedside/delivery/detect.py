"""Which bundles changed between two commits.

Git keeps a digest of every folder. Comparing those of ``apps/*`` at two commits says what changed, whatever lay
between: merges, reverts, several commits in one push, a rename. Only the standard library and git, because a pipeline
runs this before it has installed anything: ``python -m bedside.delivery.detect BASE HEAD``.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from bedside.errors import ConfigurationError

COMMIT = re.compile(r"[0-9A-Za-z][0-9A-Za-z._/~^@{}-]{0,249}")
NO_COMMIT = re.compile(r"0{40}(0{24})?")
"""What git and GitHub call the commit before the first push."""


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to one bundle.

    Attributes:
        name: the folder's name, the model's name in every address.
        path: the folder, from the repository's root.
        kind: what happened to it.
        previous: its name before, where it was renamed and nothing else.
    """

    name: str
    path: str
    kind: Literal["added", "modified", "renamed", "deleted"]
    previous: str = ""


def detect(repository: Path, base: str, head: str, folder: str = "apps") -> list[Change]:
    """Return the bundles that differ between two commits, by name.

    A base that is all zeros (the first push) or that this clone does not have (history was rewritten) counts as empty:
    every bundle is new then. Delivering one again is safe, for its digest is the same.

    Raises:
        ConfigurationError: ``head`` is no commit of this repository.
    """
    for commit in (base, head):
        if not COMMIT.fullmatch(commit):
            raise ConfigurationError("this is not the name of a commit", field="commit")
    if not _known(repository, head):
        raise ConfigurationError(f"{head} is no commit here", field="head")
    before = {} if NO_COMMIT.fullmatch(base) or not _known(repository, base) else _bundles(repository, base, folder)
    return _compared(before, _bundles(repository, head, folder), folder)


def _compared(before: dict[str, str], after: dict[str, str], folder: str) -> list[Change]:
    gone = {tree: name for name, tree in before.items() if name not in after}
    changes = []
    for name, tree in after.items():
        path = f"{folder}/{name}"
        if name in before:
            if before[name] != tree:
                changes.append(Change(name, path, "modified"))
        elif tree in gone:
            changes.append(Change(name, path, "renamed", gone.pop(tree)))
        else:
            changes.append(Change(name, path, "added"))
    changes += [Change(name, f"{folder}/{name}", "deleted") for name in gone.values()]
    return sorted(changes, key=lambda change: change.name)


def _known(repository: Path, commit: str) -> bool:
    return _git(repository, "cat-file", "-e", f"{commit}^{{commit}}") is not None


def _bundles(repository: Path, commit: str, folder: str) -> dict[str, str]:
    """Return name and tree digest of each bundle: a folder with ``configs/metadata.json``."""
    listing = _git(repository, "ls-tree", "-z", f"{commit}:{folder}")
    trees = (entry.split("\t", 1) for entry in (listing or "").split("\0") if entry)
    found = {name: meta.split()[2] for meta, name in trees if meta.split()[1] == "tree"}
    return {name: tree for name, tree in found.items() if _is_bundle(repository, tree)}


def _is_bundle(repository: Path, tree: str) -> bool:
    return _git(repository, "cat-file", "-e", f"{tree}:configs/metadata.json") is not None


def _git(repository: Path, *arguments: str) -> str | None:
    """Return what git says, or None where it says no."""
    command = ["git", "-C", str(repository), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - arguments are checked
    return done.stdout if done.returncode == 0 else None


def as_json(changes: Iterable[Change]) -> str:
    """Return the changes as one line: ``deliver`` and ``withdraw`` are what a pipeline loops over."""
    listed = [asdict(change) for change in changes]
    deliver = [change["name"] for change in listed if change["kind"] != "deleted"]
    withdraw = [change["name"] for change in listed if change["kind"] == "deleted"]
    withdraw += [change["previous"] for change in listed if change["previous"]]
    return json.dumps({"changes": listed, "deliver": deliver, "withdraw": sorted(withdraw)})


def main(arguments: list[str]) -> int:
    """Print the changes between two commits of the repository in the current folder."""
    try:
        base, head = arguments
        print(as_json(detect(Path.cwd(), base, head)))  # noqa: T201 - the standard library only
    except ValueError:
        print("usage: python -m bedside.delivery.detect BASE HEAD", file=sys.stderr)  # noqa: T201
        return 2
    except ConfigurationError as error:
        print(f"Error: {error.detail}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
