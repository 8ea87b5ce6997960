"""A bundle as a folder: finding it, its configuration files, its digest."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bedside.bundle.metadata import Metadata, read_metadata
from bedside.bundle.policy import Policy, read_policy
from bedside.errors import ConfigurationError, InvalidBundle

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}")
_LOOKS_LIKE_A_VERSION = re.compile(r"v?\d+(\.\d+)*([-+][A-Za-z0-9.+-]+)?")
_CONFIG_SUFFIXES = (".json", ".yaml", ".yml")
NOT_CONTENT = ("__pycache__", ".git", ".ipynb_checkpoints")
"""Folders that a run or a tool leaves behind: no part of the bundle, nor of its digest."""


@dataclass(frozen=True, slots=True)
class BundleFolder:
    """A folder that has been recognised as a bundle; nothing of it has been executed.

    Attributes:
        root: absolute path.
        name: the model's name in every address: the folder's name, or in ``NAME/VERSION`` that of the folder above.
        metadata: ``configs/metadata.json``.
        policy: ``bedside.toml``, or its defaults.
        digest: ``sha256:`` and the hex digest over every file's path and content; empty until somebody has read them.
    """

    root: Path
    name: str
    metadata: Metadata
    policy: Policy
    digest: str

    @property
    def config_files(self) -> tuple[Path, ...]:
        """Return the inference configuration files, in the order in which MONAI merges them."""
        return tuple(self.root / "configs" / name for name in self.policy.config_files) or (
            inference_config(self.root),
        )

    def named(self, name: str) -> "BundleFolder":
        """Return the same bundle under another name; KServe mounts every bundle as ``/mnt/models``.

        Raises:
            ConfigurationError: the name cannot be an address.
        """
        if not _NAME.fullmatch(name):
            raise ConfigurationError("a model's name is letters, digits, '.', '_' and '-'", field="model-name")
        return replace(self, name=name)


def open_bundle(root: Path) -> BundleFolder:
    """Recognise a bundle folder, and read all of it for its digest.

    Raises:
        InvalidBundle: see :func:`recognise`.
    """
    folder = recognise(root)
    return replace(folder, digest=tree_digest(folder.root))


def recognise(root: Path) -> BundleFolder:
    """Recognise a bundle folder by its metadata and configuration, without a digest: weights are not read.

    Raises:
        InvalidBundle: no metadata, no inference configuration, a name or version that cannot be an address, or
            something in it that is no plain file of its own.
    """
    root = root.resolve()
    model_name(root)
    if _is_bundle(root):  # else read_metadata says so, and a folder that is no bundle is not walked
        _require_plain(root)
    metadata = read_metadata(root)
    _check_version(root, metadata.version)
    folder = BundleFolder(root, model_name(root), metadata, read_policy(root), "")
    if not all(path.resolve().is_relative_to(root) for path in folder.config_files):
        raise InvalidBundle("config_files must lie in the bundle's configs/", field="config_files")
    missing = [path.name for path in folder.config_files if not path.is_file()]
    if missing:
        raise InvalidBundle(f"configs/{missing[0]} is missing", field=missing[0])
    return folder


def model_name(root: Path) -> str:
    """Return the name of the model in a folder: the folder's, or in ``NAME/VERSION`` that of the folder above.

    Raises:
        InvalidBundle: it cannot be part of an address.
    """
    name = root.parent.name if _LOOKS_LIKE_A_VERSION.fullmatch(root.name) else root.name
    if not _NAME.fullmatch(name):
        raise InvalidBundle("the folder's name must be letters, digits, '.', '_' and '-': it is the model's address")
    return name


def _check_version(root: Path, version: str) -> None:
    if not _VERSION.fullmatch(version):
        raise InvalidBundle(
            "metadata.json: version must be letters, digits, '.', '_', '+' and '-': it is part of the address",
            field="metadata.json#version",
        )
    # Whoever copies a folder and forgets its metadata would serve the old version under the new one's name.
    if _LOOKS_LIKE_A_VERSION.fullmatch(root.name) and root.name.removeprefix("v") != version.removeprefix("v"):
        raise InvalidBundle(
            f"the folder is called {root.name}, but metadata.json says version {version}", field="metadata.json#version"
        )


def find_bundles(paths: Sequence[Path]) -> list[Path]:
    """Return the bundle roots among ``paths``, each once.

    A path is a bundle, a folder of bundles, or a folder of models with their versions side by side (``NAME/VERSION``).

    Raises:
        ConfigurationError: a path does not exist, or holds no bundle.
    """
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            raise ConfigurationError(f"{path} is not a folder", field="bundle")
        here = list(_bundles_in(path, depth=2))
        if not here:
            raise ConfigurationError(f"no MONAI bundle (configs/metadata.json) in {path} or below it", field="bundle")
        found += here
    return list({path.resolve(): path for path in found}.values())


def _bundles_in(path: Path, depth: int) -> Iterator[Path]:
    if _is_bundle(path):
        yield path
    elif depth:
        for child in sorted(path.iterdir()):
            if child.is_dir() and child.name not in NOT_CONTENT:
                yield from _bundles_in(child, depth - 1)


def tree_fingerprint(root: Path) -> str:
    """Return what changes when a file of the tree is touched, from names, sizes and times alone: nothing is read.

    The time of the inode's change (``st_ctime``) cannot be set back by whoever writes the file.
    """
    total = hashlib.sha256(str(root).encode(errors="surrogateescape"))
    for path in _entries(root):
        status = path.lstat()
        facts = (
            path.relative_to(root).as_posix(),
            status.st_ino,
            status.st_size,
            status.st_mtime_ns,
            status.st_ctime_ns,
        )
        total.update(repr(facts).encode(errors="surrogateescape"))
    return total.hexdigest()


def fingerprint_if_readable(root: Path) -> str:
    """Return ``tree_fingerprint``, or an empty string where the tree is not there or cannot be read."""
    try:
        return tree_fingerprint(root)
    except OSError:
        return ""


def inference_config(root: Path) -> Path:
    """Return ``configs/inference.{json,yaml,yml}``.

    Raises:
        InvalidBundle: there is none.
    """
    for suffix in _CONFIG_SUFFIXES:
        path = root / "configs" / f"inference{suffix}"
        if path.is_file():
            return path
    raise InvalidBundle("configs/inference.json (or .yaml) is missing", field="configs/inference")


def tree_digest(root: Path) -> str:
    """Return ``sha256:`` and the hex digest over the sorted (path, content) pairs of the tree."""
    total = hashlib.sha256()
    for path in content_files(root):
        with path.open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").hexdigest()
        total.update(f"{path.relative_to(root).as_posix()}\0{content}\n".encode(errors="surrogateescape"))
    return f"sha256:{total.hexdigest()}"


def _require_plain(root: Path) -> None:
    # Before anything is read: a pipe or /dev/zero would never end, and what lies outside could change unseen.
    for path in _entries(root):
        name = path.relative_to(root).as_posix()
        if path.is_symlink() and not _leads_into(path, root):
            raise InvalidBundle(f"{name} is a link that leaves the bundle: put the file itself there", field=name)
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise InvalidBundle(f"{name} is neither a file nor a folder", field=name)


def _leads_into(link: Path, root: Path) -> bool:
    try:
        return link.resolve().is_relative_to(root)
    except (OSError, RuntimeError):  # a link to itself; which of the two depends on Python's version
        return False


def content_files(root: Path) -> Iterator[Path]:
    """Yield the files of a bundle in the order of their paths."""
    return (path for path in _entries(root) if path.is_file())


def _entries(root: Path) -> Iterator[Path]:
    for path in sorted(root.rglob("*")):
        if not any(part in NOT_CONTENT for part in path.relative_to(root).parts):
            yield path


def _is_bundle(path: Path) -> bool:
    return (path / "configs" / "metadata.json").is_file()
