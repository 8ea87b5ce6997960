"""Files of a folder that the site allows. No link is followed, wherever it stands and whoever makes it meanwhile."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePath

from bedside.bundle.contract import InputSpec
from bedside.bundle.media_types import media_type_of_suffix
from bedside.bundle.study import is_litter
from bedside.codecs.encode import join_study
from bedside.errors import ConfigurationError, PayloadTooLarge, ReferenceNotFound, TooManyInstances
from bedside.settings import LimitSettings
from bedside.transports.references import FileReference, steps_of
from bedside.transports.room import Hold
from bedside.types import RawPart

_STEP = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # not blocking: a pipe would wait for its writer


class Folder:
    """Implements ``references.Fetch`` for files below one folder.

    Args:
        root: the folder.
        limits: ``body_bytes`` and ``dicom_instances`` bound what is read.

    Raises:
        ConfigurationError: it is no folder.
    """

    def __init__(self, root: Path, limits: LimitSettings) -> None:
        if not root.is_dir():
            raise ConfigurationError(f"{root} is no folder", field="references.folders")
        self._root = root
        self._limits = limits

    async def __call__(self, reference: FileReference, spec: InputSpec, hold: Hold) -> RawPart:  # noqa: ARG002 - Fetch's
        """Return a file, or all files of a folder as one study.

        Raises:
            BadParameter, ReferenceNotFound, PayloadTooLarge.
        """
        return await hold.in_thread(self._read, reference.path, hold)

    def _read(self, path: str, hold: Hold) -> RawPart:
        steps = steps_of(path)
        place = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # Step by step, each in the folder that is open: what was checked is what is read.
            for step in steps:
                inner = os.open(step, _STEP, dir_fd=place)
                os.close(place)
                place = inner
            if stat.S_ISDIR(os.fstat(place).st_mode):
                return self._study(place, hold)
            return RawPart(None, media_type_of_suffix(Path(steps[-1]).suffix), self._file(place, 0, hold))
        except OSError:  # a link, too: nobody learns what is there and may not be read
            raise ReferenceNotFound(field="source.path") from None
        finally:
            os.close(place)

    def _study(self, place: int, hold: Hold) -> RawPart:
        files: list[bytes] = []
        size = 0
        for name, folder in _files(place):
            if len(files) == self._limits.dicom_instances:
                raise TooManyInstances(field="source.path")
            file = os.open(name, _STEP, dir_fd=folder)
            try:
                files.append(self._file(file, size, hold))
            finally:
                os.close(file)
            size += len(files[-1])
        if not files:
            raise ReferenceNotFound(field="source.path")
        return join_study(files)

    def _file(self, file: int, already: int, hold: Hold) -> bytes:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode):
            raise ReferenceNotFound(field="source.path")
        if found.st_size > self._limits.body_bytes - already:
            raise PayloadTooLarge(field="source.path")
        hold.take(found.st_size)
        with os.fdopen(os.dup(file), "rb") as stream:
            return stream.read(found.st_size)  # as it was found: one that grows is not followed


def _files(place: int) -> Iterator[tuple[str, int]]:
    """Yield name and open folder of every file below a folder, in the order of names. A linked folder is refused."""
    for _, folders, names, folder in os.fwalk(".", dir_fd=place):
        folders.sort()
        for name in folders:
            if stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                raise ReferenceNotFound(field="source.path")
        for name in sorted(names):
            if not is_litter(PurePath(name)):
                yield name, folder
