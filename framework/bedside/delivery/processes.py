"""Processes of this machine that are not our children, and ports for them."""

import secrets
import socket
from contextlib import suppress
from pathlib import Path


def started(process: int) -> int:
    """Return when a process started, in ticks since the machine did (proc(5), starttime); 0 where there is none.

    With its number that is an identity: numbers are given out again. One that has ended and was not waited for is none.
    """
    try:
        state, *fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if state in "ZX" else int(fields[18])


def runs(process: int, start: int) -> bool:
    """Tell whether the process that ``started`` then has not ended."""
    return start > 0 and started(process) == start


def free_port(*beside: int) -> int:
    """Return a TCP port of this machine that nobody listens on, nor on those so many further (``beside``).

    None of those that the system hands to whoever asks for any port (ip(7), ip_local_port_range): a client's connection
    could have it before its server does.
    """
    width = _first_ephemeral_port() - _FIRST_PORT - max(beside, default=0)
    while True:
        port = _FIRST_PORT + secrets.randbelow(width)
        with suppress(OSError):
            for further in (0, *beside):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port + further))
            return port


_FIRST_PORT = 10000
"""Below it live the well-known services of a machine."""


def _first_ephemeral_port() -> int:
    with suppress(OSError):
        return max(int(_EPHEMERAL.read_text(encoding="ascii").split()[0]), 3 * _FIRST_PORT)
    return 1 << 15


_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
