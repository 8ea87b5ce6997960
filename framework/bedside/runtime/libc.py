"""Calls of the C library that Python has no function for."""

import ctypes
import os

_LIBC = ctypes.CDLL(None, use_errno=True)


def call(function: str, *arguments: object) -> int:
    """Return what a function returns.

    Raises:
        OSError: it returned -1.
        AttributeError: this platform's library has no such function.
    """
    result = int(getattr(_LIBC, function)(*arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{function}: {os.strerror(code)}")
    return result
