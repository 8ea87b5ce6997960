"""seccomp: the kernel refuses system calls that no model needs, whoever makes them in this process, for good.

A filter is a program of classic BPF over the call's number and arguments (seccomp(2)). What matters is the network,
other processes, and the kernel's rarely used corners. Works in every container, without a capability.
"""

import ctypes
import errno
import os
import platform
import struct
import sys
from collections.abc import Iterator, Sequence
from socket import AF_UNIX, SOCK_SEQPACKET, SOCK_STREAM

from bedside.runtime import libc

_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2
_LOAD, _AND = 0x20, 0x54
_EQUAL, _AT_LEAST, _ANY_BIT = 0x15, 0x35, 0x45
_RETURN = 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_NUMBER, _ARCHITECTURE = 0, 4
_X32_BIT = 0x40000000
_CLONE_THREAD = 0x10000
_SOCKET_TYPE = 0xF  # the rest are flags

_ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}

_DENIED = {
    # the network: no socket but a local stream (CUDA binds one), and that reaches nobody
    "connect": (42, 203),
    # other processes: none is started, signalled, looked into, or given other limits
    "fork": (57, None),
    "vfork": (58, None),
    "execve": (59, 221),
    "execveat": (322, 281),
    "tkill": (200, 130),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "pidfd_send_signal": (424, 424),
    "pidfd_getfd": (438, 438),
    "ptrace": (101, 117),
    "kcmp": (312, 272),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    # the kernel's corners: other name spaces, mounts, ways around this filter, and what faults have been found in
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "mount_setattr": (442, 442),
    "open_by_handle_at": (304, 265),
    "io_uring_setup": (425, 425),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
}
_CLONE3 = 435
_CLONE, _SOCKET, _SOCKETPAIR = (56, 220), (41, 198), (53, 199)
_KILL, _TGKILL, _PRLIMIT = (62, 129), (234, 131), (302, 261)

Instruction = tuple[int, int, int, int]


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def supported() -> bool:
    """Tell whether there is a filter for this machine."""
    return sys.platform == "linux" and platform.machine() in _ARCHITECTURES


def install() -> None:
    """Refuse the calls, in this thread and those it starts. ``no_new_privs`` must be set.

    Raises:
        OSError: the kernel refused, or has no seccomp.
    """
    code = b"".join(struct.pack("HBBI", *step) for step in program(platform.machine(), os.getpid()))
    packed = _Program(len(code) // 8, code)
    libc.call("prctl", _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(packed), 0, 0)


def program(machine: str, pid: int) -> list[Instruction]:
    """Return the filter for an architecture and the process ``pid``."""
    architecture, column = _ARCHITECTURES[machine]
    steps = [_load(_ARCHITECTURE), *_unless(_EQUAL, architecture, [_deny()]), _load(_NUMBER)]
    if machine == "x86_64":
        steps += _when(_AT_LEAST, _X32_BIT, [_deny()])  # the same calls by other numbers
    # glibc falls back to clone, whose flags a filter can see; those of clone3 lie behind a pointer
    steps += _when(_EQUAL, _CLONE3, [_deny(errno.ENOSYS)])
    for numbers in _DENIED.values():
        if numbers[column] is not None:
            steps += _when(_EQUAL, numbers[column] or 0, [_deny()])
    for numbers, rule in _argument_rules(pid):
        steps += _when(_EQUAL, numbers[column], rule)
    return [*steps, _allow()]


def _argument_rules(pid: int) -> Iterator[tuple[tuple[int, int], list[Instruction]]]:
    streams = [*_when(_EQUAL, SOCK_STREAM, [_allow()]), *_when(_EQUAL, SOCK_SEQPACKET, [_allow()])]
    local = [_argument(1), (_AND, 0, 0, _SOCKET_TYPE), *streams]
    yield _SOCKET, [_argument(0), *_when(_EQUAL, AF_UNIX, local), _deny(errno.EACCES)]
    yield _SOCKETPAIR, [*local, _deny(errno.EACCES)]  # nor a pair of datagram sockets: those can send to others
    yield _CLONE, [_argument(0), *_when(_ANY_BIT, _CLONE_THREAD, [_allow()]), _deny()]
    itself = [_argument(0), *_when(_EQUAL, pid, [_allow()])]
    yield _KILL, [*itself, _deny()]
    yield _TGKILL, [*itself, _deny()]
    yield _PRLIMIT, [*itself, *_when(_EQUAL, 0, [_allow()]), _deny()]


def _load(offset: int) -> Instruction:
    return _LOAD, 0, 0, offset


def _argument(index: int) -> Instruction:
    return _load(16 + 8 * index)  # the lower half, little-endian; the kernel looks at no more of these


def _when(test: int, value: int, then: Sequence[Instruction]) -> list[Instruction]:
    return [(test, 0, len(then), value), *then]


def _unless(test: int, value: int, then: Sequence[Instruction]) -> list[Instruction]:
    return [(test, len(then), 0, value), *then]


def _deny(code: int = errno.EPERM) -> Instruction:
    return _RETURN, 0, 0, _ERRNO | code


def _allow() -> Instruction:
    return _RETURN, 0, 0, _ALLOW
