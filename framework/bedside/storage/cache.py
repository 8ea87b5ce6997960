"""Fetched bundles on this machine: each under a key that names its content, whole or not there at all.

Safe for several processes: one fills a key while the others wait for it, and what any of them uses is not cut away. The
locks go with the process that holds them (flock), whatever ends it.
"""

import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bedside.bundle.folder import content_files, tree_digest
from bedside.errors import SourceUnavailable

_FACTS = "facts.json"
_CONTENT = "content"

Fill = Callable[[Path], None]


class BundleCache:
    """A folder of fetched trees, each in ``KEY/content`` with its digest in ``KEY/facts.json``.

    Args:
        folder: made where it is missing; only this user may read it.
        max_bytes: size to which it is cut back after a fetch.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._held: dict[str, int] = {}

    def get(self, key: str, fill: Fill) -> Path:
        """Return the folder with the content of ``key``, which this process may use until it ends.

        Args:
            key: letters, digits, '.', '_', '-'; another content has another key.
            fill: writes the content into a folder. Where an earlier attempt was cut short, the folder holds what that
                one left; how much of it is used is ``fill``'s own business.

        Raises:
            SourceUnavailable: the cache's folder cannot be written.
            BedsideError: whatever ``fill`` raises; nothing is kept under the key then.
        """
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._locked(f"{key}.fill"):
                if key not in self._held:
                    self._hold(key)
                    if not self._is_whole(key):
                        self._refill(key, fill)
        except OSError as error:
            raise SourceUnavailable(
                f"the cache cannot be written ({type(error).__name__}): registry.cache_dir"
            ) from error
        return self._folder / key / _CONTENT

    def _is_whole(self, key: str) -> bool:
        """Check the digest before use: a disk, or somebody, may have changed what was fetched."""
        try:
            facts = json.loads((self._folder / key / _FACTS).read_bytes())
            whole = bool(facts["digest"] == tree_digest(self._folder / key / _CONTENT))
        except (OSError, ValueError, KeyError, TypeError):
            return False
        if whole:
            os.utime(self._folder / key)
        return whole

    def _refill(self, key: str, fill: Fill) -> None:
        incoming = self._folder / f"{key}.incoming"
        content = incoming / _CONTENT
        content.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            fill(content)
            facts = {
                "digest": tree_digest(content),
                "bytes": sum(path.stat().st_size for path in content_files(content)),
            }
            (incoming / _FACTS).write_text(json.dumps(facts))
            self._throw_away(self._folder / key)
            incoming.rename(self._folder / key)
        except BaseException:
            self._release(key)
            raise
        self._cut_back()

    def _cut_back(self) -> None:
        """Remove what was used longest ago, until the rest fits."""
        entries = sorted(self._entries(), key=lambda entry: entry[1])
        total = sum(size for _, _, size in entries)
        for path, _, size in entries:
            if total > self._max_bytes and path.name not in self._held:
                with suppress(BlockingIOError), self._locked(f"{path.name}.use", fcntl.LOCK_EX | fcntl.LOCK_NB):
                    self._throw_away(path)
                    total -= size

    def _entries(self) -> Iterator[tuple[Path, float, int]]:
        for facts in self._folder.glob(f"*/{_FACTS}"):
            if not facts.parent.name.endswith(".incoming"):
                with suppress(OSError, ValueError, KeyError):
                    yield facts.parent, facts.parent.stat().st_mtime, int(json.loads(facts.read_bytes())["bytes"])

    def _throw_away(self, path: Path) -> None:
        # Out of the way in one step: nobody may meet half of it.
        if path.exists():
            away = path.with_name(f"{path.name}.{os.getpid()}.{time.monotonic_ns()}.away")
            path.rename(away)
            shutil.rmtree(away, ignore_errors=True)

    def _hold(self, key: str) -> None:
        descriptor = os.open(self._folder / f"{key}.use", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        self._held[key] = descriptor

    def _release(self, key: str) -> None:
        os.close(self._held.pop(key))

    @contextmanager
    def _locked(self, name: str, how: int = fcntl.LOCK_EX) -> Iterator[None]:
        descriptor = os.open(self._folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, how)
            yield
        finally:
            os.close(descriptor)
