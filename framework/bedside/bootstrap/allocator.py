"""How the server's process gives memory back (mallopt(3))."""

import ctypes

MMAP_BYTES = 128 * 1024
"""glibc's own threshold to begin with; slices, volumes and answers are above it."""

_TRIM_BYTES = 16 * 1024 * 1024
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


def return_large_blocks() -> bool:
    """Have blocks from 128 KiB on go back to the system as soon as they are freed; tell whether glibc agreed.

    By itself, glibc learns from the first large block that is freed to keep those up to 32 MiB: each thread that has
    handled a study then holds some of it for good, and the next study comes on top. Model processes keep glibc's way,
    which is faster for the tensors of a network.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none, and another allocator ignores it
    if mallopt is None:
        return False
    # To set one of the two ends the learning of both. The top of the heap may breathe: that costs a call each time.
    return bool(mallopt(_M_MMAP_THRESHOLD, MMAP_BYTES) and mallopt(_M_TRIM_THRESHOLD, _TRIM_BYTES))
