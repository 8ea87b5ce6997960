"""MONAI's switch between ``MetaTensor`` and plain tensors, for one thread at a time.

MONAI keeps it for the whole process (``set_track_meta``; Project-MONAI/MONAI#8409). A model that is being loaded in a
thread of the server must not take the metadata from another that is answering on its event loop.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from monai.data import get_track_meta, set_track_meta


class _OfThread(threading.local):
    """What MONAI asks whether metadata is tracked: true or false by the thread that asks."""

    tracked = True

    def __bool__(self) -> bool:
        return self.tracked


_SWITCH = _OfThread()


@contextmanager
def untracked() -> Iterator[None]:
    """Have this thread's transforms give plain tensors: a record has no geometry, and ``MetaTensor`` costs time."""
    if (found := get_track_meta()) is not cast("bool", _SWITCH):
        _OfThread.tracked = bool(found)
        set_track_meta(cast("bool", _SWITCH))
    nested = "tracked" in vars(_SWITCH)
    _SWITCH.tracked = False
    try:
        yield
    finally:
        if not nested:
            del _SWITCH.tracked
