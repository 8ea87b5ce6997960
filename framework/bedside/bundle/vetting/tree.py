"""Judges a bundle's folder as files: links, devices, names, rights, sizes. Opens none of them."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bedside.bundle.folder import NOT_CONTENT
from bedside.bundle.vetting.findings import Finding, shown
from bedside.settings import AdmissionSettings


@dataclass(slots=True)
class Tree:
    """What is in a folder.

    Attributes:
        files: every regular file, and every link to one, by its path with ``/`` below the root.
    """

    root: Path
    files: dict[str, Path] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def add(self, rule: str, where: str, explanation: str) -> None:
        """Add a finding."""
        self.findings.append(Finding(rule, shown(where, 200), explanation))

    @property
    def refused(self) -> bool:
        """Tell whether the folder should not even be read."""
        return any(finding.severity == "refused" for finding in self.findings)


def judge_tree(root: Path, limits: AdmissionSettings) -> Tree:
    """Walk a folder without following links, and say what does not belong into a bundle."""
    tree = Tree(root)
    size = 0
    for count, (path, status) in enumerate(_walk(tree), 1):
        size += status.st_size if stat.S_ISREG(status.st_mode) else 0
        if count > limits.files:
            tree.add("too_many_files", ".", f"has more than {limits.files} files and folders (admission.files)")
            break
        if size > limits.total_bytes:
            tree.add("too_large", ".", f"has more than {limits.total_bytes} bytes (admission.total_bytes)")
            break
        _judge_entry(tree, path, status)
    return tree


def _walk(tree: Tree) -> Iterator[tuple[Path, os.stat_result]]:
    waiting = [tree.root]
    while waiting:
        folder = waiting.pop()
        try:
            paths = sorted(folder.iterdir())
        except OSError as error:
            tree.add("unreadable_file", _name(tree, folder), f"cannot be listed ({type(error).__name__})")
            continue
        for path in paths:
            try:
                status = path.lstat()
            except OSError as error:
                tree.add("unreadable_file", _name(tree, path), f"has gone ({type(error).__name__})")
                continue
            yield path, status
            if stat.S_ISDIR(status.st_mode):
                waiting.append(path)


def _judge_entry(tree: Tree, path: Path, status: os.stat_result) -> None:
    name = _name(tree, path)
    if not name.isprintable() or "\\" in name:
        tree.add("unprintable_name", name, "a name with control characters, or that would be another path elsewhere")
    if stat.S_ISLNK(status.st_mode):
        _judge_link(tree, path, name)
    elif stat.S_ISDIR(status.st_mode):
        if path.name in NOT_CONTENT and path.name != "__pycache__":
            tree.add("not_covered", name, "is no part of the bundle's digest")
    elif stat.S_ISREG(status.st_mode):
        _judge_file(tree, path, name, status.st_mode)
    else:
        tree.add("special_file", name, "is a device, a pipe or a socket: reading it could hang the server")


def _judge_file(tree: Tree, path: Path, name: str, mode: int) -> None:
    tree.files[name] = path
    if mode & (stat.S_ISUID | stat.S_ISGID):
        tree.add("setuid", name, "runs with another user's rights")
    if mode & stat.S_IWOTH:
        tree.add("writable_by_all", name, "can be changed by everybody on this machine")
    if not os.access(path, os.R_OK):
        tree.add("unreadable_file", name, "cannot be read")


def _judge_link(tree: Tree, path: Path, name: str) -> None:
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError):
        tree.add("link_outside", name, "is a link that leads nowhere, or in a circle")
        return
    if not target.is_relative_to(tree.root.resolve()):
        tree.add("link_outside", name, "is a link that leads out of the bundle")
    elif target.is_dir():
        tree.add("link_to_folder", name, "is a link to a folder")
    elif target.is_file():
        tree.files[name] = path
    else:
        tree.add("special_file", name, "is a link to a device, a pipe or a socket")


def _name(tree: Tree, path: Path) -> str:
    return path.relative_to(tree.root).as_posix()
