"""Processes of this machine that are not our children, and ports for them."""

import socket
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


def free_port() -> int:
    """Return a TCP port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
