"""Processes of this machine, and which of them are still who they were."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from bedside.delivery import processes
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


def test_a_free_port_can_be_listened_on_and_those_beside_it() -> None:
    """No client gets it before its server does: the system hands out others."""
    port = free_port(1, 100)
    with (
        socket.create_server(("127.0.0.1", port)),
        socket.create_server(("127.0.0.1", port + 1)),
        socket.create_server(("127.0.0.1", port + 100)),
    ):
        assert not handed_out(port)
        assert not handed_out(port + 100)


def test_a_port_that_is_taken_is_no_free_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor one whose neighbour is taken."""
    port = free_port(1, 2, 3)
    drawn = iter([0, 1, 2])
    monkeypatch.setattr("secrets.randbelow", lambda _width: port - 10_000 + next(drawn))
    with socket.create_server(("127.0.0.1", port + 1)):
        assert free_port(1) == port + 2


def test_where_the_system_does_not_say_which_ports_it_hands_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """They begin at 32768, as on Linux."""
    monkeypatch.setattr(processes, "_EPHEMERAL", Path("/nowhere"))
    assert 10_000 <= free_port() < 32_768


def handed_out(port: int) -> bool:
    """Tell whether the system may give a port to whoever asks for any."""
    first, last = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    return int(first) <= port <= int(last)
