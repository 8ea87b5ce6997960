"""Inputs and results of jobs as files, each encrypted with a key of its own: what is deleted cannot be read again.

Overwriting a file promises nothing on flash or on a copy-on-write file system, and a backup may hold it for years. A
key that is gone is gone everywhere (crypto-shredding, NIST SP 800-88r1 §2.6). So the keys lie apart from the data, in
one small folder each of which is never backed up with the other.
"""

import fcntl
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bedside.errors import SpoolFailed

COUNT_SECONDS = 10.0
_CHUNK = 1 << 20
_NONCE_BYTES = 12  # NIST SP 800-38D §8.2.1: a counter is unique by itself, and each key is used for one file only
_TAG_BYTES = 16


class Spool:
    """Files of jobs.

    Args:
        folder: where data and keys lie; made with mode 0700 where it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self._data, self._keys = folder / "data", folder / "keys"
        for part in (folder, self._data, self._keys):
            part.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._size, self._counted = 0, -COUNT_SECONDS

    def put(self, job: str, name: str, data: bytes | memoryview, *, only_if: Callable[[], bool] = lambda: True) -> bool:
        """Store bytes under a job's id and a name; on disk before this returns, whole or not at all.

        Of two that store the same at one time, in whatever processes, the second one waits for the first.

        Args:
            job: the id.
            name: which of its files.
            data: the bytes.
            only_if: asked once nobody else writes it; False leaves what is there.

        Returns:
            Whether it was stored.

        Raises:
            SpoolFailed: the file system refused.
        """
        target, key = self._keys / _file(job, name), secrets.token_bytes(32)
        try:
            with _alone(target) as file:
                if not only_if():
                    return False
                # Data first: a key without data is nothing, and data without a key cannot be read. The folder of the
                # data last, but before the key has its name: journals have then written it with the key's own bytes.
                _write(self._data / _file(job, name), _sealed(AESGCM(key), memoryview(data)))
                file.write(key)
                _sync(file)
                _sync_folder(self._data)
                Path(file.name).replace(target)
                _sync_folder(self._keys)
            self._size += len(data)
        except OSError as error:
            raise SpoolFailed(f"the spool cannot be written: {error.strerror}") from error
        return True

    def get(self, job: str, name: str) -> bytes:
        """Return what was stored.

        Raises:
            SpoolFailed: it is not there (any more), or it has been changed.
        """
        return b"".join(self.read(job, name)[1])

    def read(self, job: str, name: str) -> tuple[int, Iterator[bytes]]:
        """Return the size of what was stored, and its bytes a megabyte at a time, the first of which has been read.

        Raises:
            SpoolFailed: as :meth:`get`; also by the iterator, where a later part has been changed.
        """
        try:
            key = (self._keys / _file(job, name)).read_bytes()
            file = (self._data / _file(job, name)).open("rb")
        except OSError as error:
            raise SpoolFailed(f"the spool has no such file: {error.strerror}") from error
        sealed = os.fstat(file.fileno()).st_size
        count = max(1, -(-sealed // (_CHUNK + _TAG_BYTES)))
        chunks = _opened(file, key, count)
        return sealed - count * _TAG_BYTES, chain([next(chunks)], chunks)

    def size(self) -> int:
        """Return the bytes of data, counted at most every ten seconds; what was put here since then is added."""
        now = time.monotonic()
        if now - self._counted >= COUNT_SECONDS:
            self._size, self._counted = sum(_sizes(self._data)), now
        return self._size

    def has(self, job: str, name: str) -> bool:
        """Tell whether something is stored."""
        return (self._keys / _file(job, name)).exists()

    def names(self, job: str) -> list[str]:
        """Return the names of what is stored under an id."""
        return sorted(path.name.partition(".")[2] for path in self._keys.glob(f"{job}.*") if path.suffix != ".partial")

    def ids(self) -> frozenset[str]:
        """Return the ids under which something can be read."""
        return frozenset(path.name.partition(".")[0] for path in self._keys.iterdir() if path.suffix != ".partial")

    def shred(self, job: str, *names: str) -> None:
        """Make what was stored unreadable, then remove it."""
        files = [_file(job, name) for name in names]
        for file in files:
            _destroy(self._keys / file)
        _sync_folder(self._keys)
        for file in files:
            (self._data / file).unlink(missing_ok=True)

    def older_than(self, seconds: float) -> frozenset[str]:
        """Return the ids of jobs that have files, all of them older than this."""
        newest: dict[str, float] = {}
        for path in (path for folder in (self._data, self._keys) for path in folder.iterdir()):
            with suppress(FileNotFoundError):  # shredded meanwhile
                job = path.name.partition(".")[0]
                newest[job] = max(newest.get(job, 0.0), path.stat().st_mtime)
        return frozenset(job for job, written in newest.items() if written < time.time() - seconds)

    def shred_all(self, job: str) -> None:
        """Shred every file of a job."""
        paths = [*self._keys.glob(f"{job}.*"), *self._data.glob(f"{job}.*")]
        self.shred(job, *{path.name.partition(".")[2].removesuffix(".partial") for path in paths})
        for path in paths:
            path.unlink(missing_ok=True)


def _destroy(key: Path) -> None:
    with suppress(FileNotFoundError):
        size = key.stat().st_size
        with key.open("r+b") as file:  # one block: worth the try where the file system overwrites in place
            file.write(secrets.token_bytes(size))
            os.fsync(file.fileno())
        key.unlink()


def _sizes(folder: Path) -> Iterator[int]:
    with os.scandir(folder) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):  # shredded meanwhile
                yield entry.stat().st_size


def _file(job: str, name: str) -> str:
    if not (job.isalnum() and name.isidentifier()):  # ours, never a caller's; a separator in it would leave the folder
        raise ValueError("not an id and a name of the spool")
    return f"{job}.{name}"


def _sealed(cipher: AESGCM, data: memoryview) -> Iterator[bytes]:
    """Yield the data in chunks, each bound to its place and to being the last: none can be cut off or swapped."""
    count = max(1, -(-len(data) // _CHUNK))
    for number in range(count):
        chunk = data[number * _CHUNK : (number + 1) * _CHUNK]
        yield cipher.encrypt(number.to_bytes(_NONCE_BYTES, "big"), chunk, _place(number, count))


def _opened(file: BinaryIO, key: bytes, count: int) -> Iterator[bytes]:
    with file:
        try:
            cipher = AESGCM(key)
            for number in range(count):
                chunk = file.read(_CHUNK + _TAG_BYTES)
                yield cipher.decrypt(number.to_bytes(_NONCE_BYTES, "big"), chunk, _place(number, count))
        except OSError as error:
            raise SpoolFailed(f"a file of the spool cannot be read: {error.strerror}") from error
        except (InvalidTag, ValueError) as error:
            raise SpoolFailed("a file of the spool has been changed") from error


def _place(number: int, count: int) -> bytes:
    return b"last" if number == count - 1 else b"more"


@contextmanager
def _alone(path: Path) -> Iterator[BinaryIO]:
    """Yield an empty file beside ``path`` that nobody else writes; it is removed unless it gets that name."""
    partial = _partial(path)
    while True:
        with _created(partial, os.O_RDWR | os.O_CREAT) as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # goes with its process, however that ends
            if not _is(file, partial):
                continue  # who had it meanwhile has given it its name, or removed it
            try:
                file.truncate()
                yield file
            finally:
                if _is(file, partial):
                    partial.unlink()
            return


def _is(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _write(path: Path, chunks: Iterator[bytes]) -> None:
    with _created(_partial(path), os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as file:
        file.writelines(chunks)
        _sync(file)
    _partial(path).replace(path)


def _partial(path: Path) -> Path:
    return path.with_name(path.name + ".partial")


def _created(path: Path, flags: int) -> BinaryIO:
    return open(path, "r+b" if flags & os.O_RDWR else "wb", opener=lambda name, _: os.open(name, flags, 0o600))


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    # Without it, a new name may be gone after a power cut although the file's bytes are on disk (fsync(2)).
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
