"""The inbox: instances on disk from the moment their sender was told "success" until their study is a job.

It is a spool: files encrypted each with its own key, under an id per sender and study. Nothing else is written down, so
there is nothing that could disagree with the files after a crash, and several processes can share one inbox.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bedside.codecs.dicom import received
from bedside.errors import DecompressedTooLarge, SpoolFailed, SpoolFull
from bedside.jobs.desk import ORPHAN_SECONDS
from bedside.jobs.spool import Spool
from bedside.settings import LimitSettings

if TYPE_CHECKING:
    from bedside.codecs.dicom.incoming import ReceivedInstance

_TITLE_BYTES = 16  # PS3.5 §6.2, VR AE

_TAKEN = "taken"
"""Name under which is written down what is being shredded. Without it, what an interruption has left of a study would
look like a study: of the slices that are left, a model would make a result that nobody could tell from a right one."""


@dataclass(frozen=True, slots=True, repr=False)
class ReceivedStudy:
    """What one sender has sent of one study.

    Attributes:
        id: names it here; a hash, which tells nobody whose it is.
        calling_ae_title: who sent it.
        names: of the files in the inbox.
        instances: what they hold.
    """

    id: str
    calling_ae_title: str
    names: Sequence[str]
    instances: "Sequence[ReceivedInstance]"


class Inbox:
    """Received studies.

    Args:
        spool: a spool of its own.
        limits: ``body_bytes`` bounds a study that is read back.
        most_bytes: size from which on no further instance is taken.
    """

    def __init__(self, spool: Spool, limits: LimitSettings, most_bytes: int) -> None:
        self._spool = spool
        self._limits = limits
        self._most_bytes = most_bytes

    def keep(self, calling_ae_title: str, instance: "ReceivedInstance") -> None:
        """Store an instance; on disk before this returns. One that is there already is not written again.

        Raises:
            SpoolFull: there is too much here already.
            SpoolFailed: the file system refused.
        """
        study, name = _hash(calling_ae_title, instance.study), f"i{_hash(instance.uid)}"
        if not self._spool.has(study, name):
            if self._spool.size() + len(instance.data) > self._most_bytes:
                raise SpoolFull
            title = calling_ae_title.encode("ascii", "replace")[:_TITLE_BYTES].ljust(_TITLE_BYTES)
            data = b"".join((title, instance.data))
            self._spool.put(study, name, data, only_if=lambda: not self._spool.has(study, name))

    def complete(self, stable_seconds: float) -> list[str]:
        """Return the ids of studies to which nothing has come for so long."""
        return sorted(self._spool.ids() & self._spool.older_than(stable_seconds))

    def count(self, study: str) -> int:
        """Return the number of its instances."""
        return len(self._spool.names(study))

    def read(self, study: str) -> ReceivedStudy:
        """Return a study.

        Raises:
            SpoolFailed: somebody else has just taken it.
            DecompressedTooLarge: it is larger than a request may be.
        """
        self._finish(study)
        names, title, instances, size = self._spool.names(study), "", [], 0
        for name in names if _TAKEN not in names else ():
            stored = self._spool.get(study, name)
            size += len(stored)
            if size > self._limits.body_bytes:
                raise DecompressedTooLarge("the study is larger than limits.body_bytes")
            title = stored[:_TITLE_BYTES].decode("ascii").strip()
            instances.append(received(stored[_TITLE_BYTES:]))
        if not names or self._spool.has(study, _TAKEN):
            # Asked after reading: another server may have begun to shred while the names were listed.
            raise SpoolFailed("another server has taken the study")
        return ReceivedStudy(study, title, names, instances)

    def forget(self, study: str, names: Sequence[str]) -> None:
        """Shred what was read; what has come meanwhile stays and is a study of its own."""
        self._spool.put(study, _TAKEN, "\n".join(names).encode())
        self._finish(study)

    def drop(self, study: str) -> None:
        """Shred a study."""
        self.forget(study, self._spool.names(study))

    def tidy(self) -> None:
        """Shred what a crash has left of instances that were never confirmed, or of shredded ones."""
        for study in self._spool.older_than(ORPHAN_SECONDS) - self._spool.ids():
            self._spool.shred_all(study)

    def _finish(self, study: str) -> None:
        """Shred what is written down as taken, by this process or by one that has ended before it was done."""
        if not self._spool.has(study, _TAKEN):
            return
        self._spool.shred(study, *self._spool.get(study, _TAKEN).decode().split("\n"))
        self._spool.shred(study, _TAKEN)


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
