"""Calls of the C library."""

import errno

import pytest

from bedside.runtime import libc


def test_a_call_that_fails_is_an_oserror() -> None:
    """C functions tell by their return value, and why by ``errno``."""
    with pytest.raises(OSError, match="close") as caught:
        libc.call("close", -1)
    assert caught.value.errno == errno.EBADF


def test_a_function_that_is_not_there_is_told() -> None:
    """Other platforms lack some: the layer that needs one is not there either."""
    with pytest.raises(AttributeError):
        libc.call("no_such_function")
