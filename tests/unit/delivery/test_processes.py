"""Processes of this machine, and which of them are still who they were."""

import os
import socket
import subprocess
import sys

from bedside.delivery.processes import free_port, runs, started


def test_a_process_runs_until_it_ends_also_where_nobody_waits_for_it() -> None:
    """One that has ended and was not waited for still has its number."""
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as process:
        start = started(process.pid)
        assert runs(process.pid, start)
        assert not runs(process.pid, start - 1)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert not runs(process.pid, start)


def test_one_that_never_was_does_not_run() -> None:
    """Its start is 0, and so is that of a number that nobody has."""
    assert not runs(4194305, 0)
    assert started(4194305) == 0


def test_a_free_port_can_be_listened_on() -> None:
    """By whoever comes first."""
    with socket.create_server(("127.0.0.1", free_port())) as server:
        assert server.getsockname()[1] > 0
