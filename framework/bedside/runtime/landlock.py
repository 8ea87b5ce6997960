"""Landlock: the kernel lets this thread, and those it starts, open only the files that are named here.

Any process may confine itself so, without a capability, in a container too (Linux 5.13 or newer,
docs.kernel.org/userspace-api/landlock.html). The three calls have no wrapper in any C library, hence the numbers.
"""

import ctypes
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from bedside.runtime import libc

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture
_VERSION = 1
_RULE_PATH_BENEATH = 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_OF_A_FILE = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_HANDLED = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
_TCP = 0b11  # bind, connect; from version 4 on
_SCOPED = 0b11  # abstract Unix sockets, signals; from version 6 on

READ = _READ_FILE | _READ_DIR
USE = READ | _WRITE_FILE | _TRUNCATE | _IOCTL_DEV
WRITE = (1 << 15) - 1 & ~_EXECUTE & ~(1 << 6) & ~(1 << 11)  # all that changes files, but no device nodes


class _Ruleset(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("access", ctypes.c_uint64), ("parent", ctypes.c_int32))


def version() -> int:
    """Return the version of Landlock that the kernel has; 0 where it has none, or where it is switched off."""
    if sys.platform != "linux":
        return 0
    try:
        return _call(_CREATE_RULESET, None, 0, _VERSION)
    except OSError:
        return 0


def restrict(rights: Mapping[int, Iterable[Path]]) -> None:
    """Allow what is named, for good: ``READ``, ``USE`` (devices) or ``WRITE``, for files and all below folders.

    From version 4 on TCP is denied too, and from version 6 on signals to processes that are not confined alike. Reading
    another process's memory or environment under ``/proc`` is denied by any version.

    Raises:
        OSError: the kernel refused.
    """
    found = version()
    handled = _HANDLED.get(found, _HANDLED[5])
    ruleset = _Ruleset(handled, _TCP if found >= 4 else 0, _SCOPED if found >= 6 else 0)
    descriptor = _call(_CREATE_RULESET, ctypes.byref(ruleset), 8 if found < 4 else 16 if found < 6 else 24, 0)
    try:
        for access, paths in rights.items():
            for path in paths:
                _allow(descriptor, path, access & handled)
        _call(_RESTRICT_SELF, descriptor, 0)
    finally:
        os.close(descriptor)


def _allow(ruleset: int, path: Path, access: int) -> None:
    try:
        parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # nothing there to be allowed
    try:
        rule = _PathBeneath(access if path.is_dir() else access & _OF_A_FILE, parent)
        _call(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, ctypes.byref(rule), 0)
    finally:
        if not path.is_relative_to("/proc"):  # whose entries last only while somebody holds them
            os.close(parent)


def _call(number: int, *arguments: object) -> int:
    return libc.call("syscall", ctypes.c_long(number), *arguments)
