"""SeaweedFS, a store that speaks S3 and checks signatures, started for tests."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

KEYS = ("test-key", "a-secret-for-tests-only")


@contextmanager
def running(command: list[str], log: Path, answers: Callable[[], bool]) -> Iterator[None]:
    """Run a server until the block ends."""
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 60
        while not answers():
            assert process.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < deadline, log.read_text()[-2000:]
            time.sleep(0.1)  # a server that starts has nothing to wait on but its port
        yield
    finally:
        process.terminate()
        process.wait(30)


def answering(url: str) -> Callable[[], bool]:
    """Return whether something answers at an address."""

    def ask() -> bool:
        try:
            return httpx.get(url, trust_env=False).status_code < 500
        except httpx.TransportError:
            return False

    return ask


def weed() -> str | None:
    """Return SeaweedFS' program, beside Python or on the path."""
    beside = Path(sys.executable).with_name("weed")
    return str(beside) if beside.is_file() else shutil.which("weed")
