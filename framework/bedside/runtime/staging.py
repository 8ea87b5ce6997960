"""Inputs on their way into a bundle's own reader.

A bundle reads files by path, whatever reader it chose, so an input is handed over as a file: in shared memory
where there is any, in a folder that only this user can read, for as long as one run takes.
"""

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bedside.errors import StagingFull
from bedside.types import DecodedImage, ValidatedInputs

_PREFIX = "bedside-"


@dataclass(frozen=True, slots=True)
class StagedFiles:
    """The images of one run: their paths by input name."""

    folder: Path
    paths: dict[str, str]

    def remove(self) -> None:
        """Remove them."""
        shutil.rmtree(self.folder, ignore_errors=True)


class Staging:
    """A private folder with one sub-folder per run."""

    def __init__(self, parent: Path) -> None:
        parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned(parent)
        self._root = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=parent))  # mkdtemp: mode 0700

    def put(self, inputs: ValidatedInputs) -> StagedFiles:
        """Write the images of ``inputs`` into a folder of their own.

        Raises:
            StagingFull: the folder's file system has no room.
        """
        paths = {}
        folder = self.folder()
        try:
            for number, item in enumerate(inputs.items):
                if isinstance(item, DecodedImage):
                    path = folder / f"input{number}{item.suffix}"
                    path.write_bytes(item.payload)
                    paths[item.name] = str(path)
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise StagingFull from error
        return StagedFiles(folder, paths)

    def folder(self) -> Path:
        """Make an empty folder that lasts until it is removed, or until :meth:`close`.

        Raises:
            StagingFull: the folder's file system has no room.
        """
        try:
            return Path(tempfile.mkdtemp(dir=self._root))
        except OSError as error:
            raise StagingFull from error

    def close(self) -> None:
        """Remove the folder and whatever is left in it."""
        shutil.rmtree(self._root, ignore_errors=True)


def remove_abandoned(parent: Path) -> None:
    """Remove the folders of servers that were killed before they could."""
    for folder in parent.glob(f"{_PREFIX}*-*"):
        pid = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if pid.isdigit() and not _alive(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's process: not ours to clean
        return True
    return True
