"""Semaphores of ``multiprocessing`` without a file in ``/dev/shm``, for a process that may not make one there.

``multiprocessing.pool.ThreadPool`` and ``multiprocessing.Lock`` open a named semaphore, which glibc keeps as a file in
``/dev/shm``, beside the inputs of other models. A confined process starts no other, so nobody needs the name: an
unnamed semaphore (sem_init(3)) in its own memory does the same for its threads (docs/decisions/0107).
"""

import _multiprocessing  # type: ignore[import-not-found]
import ctypes
from typing import Any, Self

from bedside.runtime import libc

_BYTES = 64  # sizeof(sem_t) is 32 in glibc on every 64-bit platform


class _UnnamedSemaphore(_multiprocessing.SemLock):  # type: ignore[misc]
    """``_multiprocessing.SemLock`` over ``sem_init`` in place of ``sem_open``."""

    memory: ctypes.Array[ctypes.c_char]

    def __new__(cls, kind: int, value: int, maxvalue: int, name: str, unlink: bool) -> Self:  # noqa: ARG004, FBT001 - its form
        """Make one; ``name`` and ``unlink`` have no meaning without a name."""
        memory = ctypes.create_string_buffer(_BYTES)
        libc.call("sem_init", memory, 0, ctypes.c_uint(value))
        made: Any = cls._rebuild(ctypes.addressof(memory), kind, maxvalue, None)
        made.memory = memory  # as long as the semaphore is there
        return made  # type: ignore[no-any-return]


def keep_in_memory() -> None:
    """Have every semaphore that ``multiprocessing`` makes from now on lie in this process's memory."""
    _multiprocessing.SemLock = _UnnamedSemaphore
