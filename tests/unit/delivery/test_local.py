"""What a site knows of its processes, without a gateway."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from bedside.delivery.local import Running, _retire, _runs, _start_of


@pytest.fixture
def process() -> Iterator["subprocess.Popen[bytes]"]:
    """Return a process that runs until it is asked to end."""
    with subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"]) as started:
        yield started
        started.kill()


def test_a_process_is_known_until_it_ends(process: "subprocess.Popen[bytes]") -> None:
    """Also one that nobody has waited for yet; to end it twice is no error."""
    running = Running(process.pid, _start_of(process.pid), 1, {})
    assert _runs(running)
    _retire(running)
    assert not _runs(running)
    _retire(running)


def test_another_process_with_its_number_is_left_alone(process: "subprocess.Popen[bytes]") -> None:
    """Numbers are given out again, after a reboot above all."""
    _retire(Running(process.pid, _start_of(process.pid) - 1, 1, {}))
    assert process.poll() is None


def test_one_that_never_was_does_not_run() -> None:
    """Its start is 0, and so is that of a number that nobody has."""
    assert not _runs(Running(4194305, 0, 1, {}))
    assert _start_of(os.getpid()) > 0
