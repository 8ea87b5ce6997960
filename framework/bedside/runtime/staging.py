"""Inputs on their way into a bundle's own reader.

A bundle reads files by path, whatever reader it chose, so an input is handed over as a file: in shared memory
where there is any, in a folder that only this user can read, for as long as one run takes.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bedside.errors import StagingFull
from bedside.types import DecodedImage, ValidatedInputs

_PREFIX = "bedside-staging-"


@dataclass(frozen=True, slots=True)
class StagedFiles:
    """The images of one run: by input name the path, or the list of paths where several files came."""

    folder: Path
    paths: dict[str, str | list[str]]

    def remove(self) -> None:
        """Remove them."""
        shutil.rmtree(self.folder, ignore_errors=True)


class Staging:
    """A private folder with one sub-folder per run.

    While this lives, it holds a lock on the folder. The lock goes with the process, whatever its id or its container,
    so that whoever comes next can tell a folder that is in use from one that was left behind.
    """

    def __init__(self, parent: Path) -> None:
        parent.mkdir(parents=True, exist_ok=True)
        # One server at a time: a folder that has just been made and not yet locked looks abandoned to the next one.
        with _held(parent.resolve()):
            remove_abandoned(parent)
            self._root = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))  # mkdtemp: mode 0700
            self._lock = _open_folder(self._root)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def put(self, inputs: ValidatedInputs, place: Path | None = None) -> StagedFiles:
        """Write the images of ``inputs`` into a folder of their own.

        Args:
            inputs: what to write.
            place: a folder that :meth:`folder` made, for the process that alone may read them.

        Raises:
            StagingFull: the folder's file system has no room.
        """
        paths: dict[str, str | list[str]] = {}
        folder = self.folder(place)
        try:
            for number, item in enumerate(inputs.items):
                if isinstance(item, DecodedImage):
                    path = folder / f"input{number}{item.suffix}"
                    path.write_bytes(item.payload)
                    _add(paths, item.name, str(path))
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise StagingFull from error
        return StagedFiles(folder, paths)

    def folder(self, place: Path | None = None) -> Path:
        """Make an empty folder, in ``place`` or directly in ours; it lasts until removed, or until :meth:`close`.

        Raises:
            StagingFull: the folder's file system has no room.
        """
        try:
            return Path(tempfile.mkdtemp(dir=place or self._root))
        except OSError as error:
            raise StagingFull from error

    def close(self) -> None:
        """Remove the folder and whatever is left in it."""
        shutil.rmtree(self._root, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _add(paths: dict[str, str | list[str]], name: str, path: str) -> None:
    before = paths.get(name)
    if before is None:
        paths[name] = path
    else:
        paths[name] = [*([before] if isinstance(before, str) else before), path]


def remove_abandoned(parent: Path) -> None:
    """Remove the folders of servers that were killed before they could."""
    for folder in parent.glob(f"{_PREFIX}*"):
        try:
            with _held(folder, blocking=False):
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:  # locked: its server lives; or somebody else's
            continue


@contextmanager
def _held(folder: Path, *, blocking: bool = True) -> Iterator[None]:
    """Hold the lock of a folder. Raises OSError where it is held and this does not wait."""
    descriptor = _open_folder(folder)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if blocking else fcntl.LOCK_NB))
        yield
    finally:
        os.close(descriptor)


def _open_folder(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
