"""SeaweedFS, a store that speaks S3 and checks signatures, started for tests."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from tests.waiting import PATIENCE_SECONDS, wait_until

KEYS = ("test-key", "a-secret-for-tests-only")


@contextmanager
def running(command: list[str], log: Path, answers: Callable[[], bool]) -> Iterator[None]:
    """Run a server until the block ends."""
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: process.poll() is not None or answers(), f"a server answers: {log}")
        assert process.poll() is None, log.read_text()[-2000:]
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


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
