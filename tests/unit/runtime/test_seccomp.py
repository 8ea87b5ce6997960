"""The filter of system calls, run by a small BPF machine instead of the kernel."""

import errno
import struct
from socket import (
    AF_INET,
    AF_INET6,
    AF_NETLINK,
    AF_PACKET,
    AF_UNIX,
    SOCK_CLOEXEC,
    SOCK_DGRAM,
    SOCK_SEQPACKET,
    SOCK_STREAM,
)

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedside.runtime import seccomp

PID = 4711
X86_64, AARCH64 = 0xC000003E, 0xC00000B7
ALLOWED = 0


def decide(number: int, *arguments: int, machine: str = "x86_64", architecture: int | None = None) -> int:
    """Return the errno that the filter gives a call; 0 where it lets it pass."""
    native = {"x86_64": X86_64, "aarch64": AARCH64}[machine]
    padded = [value & (2**64 - 1) for value in (*arguments, *[0] * 6)][:6]
    data = struct.pack("IIQ6Q", number, native if architecture is None else architecture, 0, *padded)
    steps, counter, accumulator = seccomp.program(machine, PID), 0, 0
    while True:
        code, true, false, k = steps[counter]
        counter += 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("I", data, k)
        elif code == 0x54:
            accumulator &= k
        elif code == 0x06:
            return 0 if k == 0x7FFF0000 else k & 0xFFFF
        else:
            holds = {0x15: accumulator == k, 0x35: accumulator >= k, 0x45: bool(accumulator & k)}[code]
            counter += true if holds else false


@pytest.mark.parametrize(("machine", "number"), [("x86_64", 41), ("aarch64", 198)])
@pytest.mark.parametrize("family", [AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, 40])
def test_no_socket_reaches_a_network(machine: str, number: int, family: int) -> None:
    """Neither of the internet, nor raw, nor of the hypervisor (40, vsock)."""
    assert decide(number, family, SOCK_STREAM, machine=machine) == errno.EACCES


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (SOCK_STREAM | SOCK_CLOEXEC, ALLOWED),
        (SOCK_SEQPACKET, ALLOWED),
        (SOCK_DGRAM, errno.EACCES),
        (SOCK_DGRAM | SOCK_CLOEXEC, errno.EACCES),
    ],
)
def test_local_sockets_are_streams_that_cannot_connect(kind: int, expected: int) -> None:
    """CUDA binds one; a datagram could be sent to anybody's."""
    assert decide(41, AF_UNIX, kind) == expected
    assert decide(53, AF_UNIX, kind) == expected
    assert decide(42, 3) == errno.EPERM


@pytest.mark.parametrize(("machine", "clone"), [("x86_64", 56), ("aarch64", 220)])
def test_threads_start_and_processes_do_not(machine: str, clone: int) -> None:
    """The flags of clone tell them apart; clone3 hides them, so that glibc must use clone."""
    assert decide(clone, 0x3D0F00, machine=machine) == ALLOWED
    assert decide(clone, 0x1200011, machine=machine) == errno.EPERM
    assert decide(435, machine=machine) == errno.ENOSYS


@pytest.mark.parametrize("number", [57, 58, 59, 322, 101, 200, 272, 308, 310, 321, 425, 165])
def test_what_no_model_needs_is_refused(number: int) -> None:
    """New processes, tracing, name spaces, io_uring (whose sockets no filter sees), BPF, mounts."""
    assert decide(number) == errno.EPERM


@pytest.mark.parametrize("number", [62, 234, 302])
def test_only_itself_can_be_signalled_or_limited(number: int) -> None:
    """Another process of the same user, the server first of all, is out of reach, and so is the group."""
    assert decide(number, PID, 9) == ALLOWED
    assert decide(number, PID - 1, 9) == errno.EPERM
    assert decide(number, -1, 9) == errno.EPERM
    assert decide(number, 0, 9) == (ALLOWED if number == 302 else errno.EPERM)


@given(number=st.integers(0, 500), architecture=st.integers(0, 2**32 - 1).filter(lambda value: value != X86_64))
def test_calls_of_another_architecture_are_refused(number: int, architecture: int) -> None:
    """A 64-bit process may make 32-bit calls, whose numbers mean other things."""
    assert decide(number, architecture=architecture) == errno.EPERM


@given(st.integers(0x40000000, 2**32 - 1))
def test_calls_by_their_x32_numbers_are_refused(number: int) -> None:
    """The same calls have a second set of numbers."""
    assert decide(number) == errno.EPERM


@pytest.mark.parametrize("number", [0, 1, 9, 16, 202, 257, 228])
def test_what_models_do_is_let_pass(number: int) -> None:
    """Reading, writing, mapping memory, device control, waiting, opening, the clock."""
    assert decide(number, 1, 2, 3) == ALLOWED
