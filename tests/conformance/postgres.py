"""A PostgreSQL server of the tests' own: initialised in a folder, listening on loopback, ended by pid."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from tests.waiting import PATIENCE_SECONDS, wait_until

from bedside.delivery.processes import free_port

INSTALL = "apt-get install postgresql"


def program(name: str) -> str | None:
    """Return a program of PostgreSQL; Debian keeps those of the server off the path."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(found[-1]) if found else shutil.which(name)


@contextmanager
def postgres() -> Iterator[str]:
    """Run a server and yield an SQLAlchemy URL; skip where PostgreSQL is not installed."""
    initdb, server = program("initdb"), program("postgres")
    if initdb is None or server is None:
        pytest.skip(f"PostgreSQL is not installed: {INSTALL}")
    user = "postgres" if os.geteuid() == 0 else None  # the server refuses to run as root
    with TemporaryDirectory() as folder:  # pytest's own folders are closed to other users
        if user:
            shutil.chown(folder, user)
        yield from _serve(initdb, server, Path(folder) / "data", user)


def _serve(initdb: str, server: str, data: Path, user: str | None) -> Iterator[str]:
    _run([initdb, "-D", str(data), "-U", "bedside", "--auth=trust", "--no-sync"], user)
    port = free_port()
    options = ["-D", str(data), "-h", "127.0.0.1", "-p", str(port), "-k", "", "-F"]
    process = subprocess.Popen(
        [server, *options], user=user, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait(port, process)
        yield f"postgresql+psycopg://bedside@127.0.0.1:{port}/postgres"
    finally:
        process.send_signal(signal.SIGINT)  # "fast": SIGTERM would wait for every client
        process.wait(PATIENCE_SECONDS)


def _run(command: list[str], user: str | None) -> None:
    subprocess.run(command, check=True, user=user, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    import psycopg  # noqa: PLC0415 - an extra

    def answers() -> bool:
        assert process.poll() is None, "PostgreSQL did not start"
        with suppress(psycopg.OperationalError):
            psycopg.connect(f"host=127.0.0.1 port={port} user=bedside dbname=postgres connect_timeout=1").close()
            return True
        return False

    wait_until(answers, "PostgreSQL answers")
