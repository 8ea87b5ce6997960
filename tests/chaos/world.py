"""The processes of a hospital that can be killed one by one: a server, its model's process, an archive, a database."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.forkserver import ForkServer
from pathlib import Path
from typing import Any, Self

import httpx
import psycopg
import sqlalchemy
from tests.chaos import bundle
from tests.chaos.relay import Relay
from tests.conformance.postgres import program
from tests.integration.orthanc import free_port

from bedside.bootstrap import mint_token
from bedside.runtime import environment
from bedside.settings import load_settings

REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 300.0
_SETTINGS = """
[runtime]
state_dir = "{state}"
forecast_seconds = 0
restart_backoff_seconds = 0.05
restart_backoff_max_seconds = 0.2
stop_grace_seconds = 0.05
[jobs]
database = "{database}"
attempts = 2
retry_seconds = 0.05
retry_most_seconds = 0.2
lease_seconds = 1.5
poll_seconds = 0.05
delivery_seconds = 1
[dicom]
results_to = ["archive"]
[dicom.destinations.archive]
ae_title = "ARCHIVE"
host = "127.0.0.1"
port = {archive}
timeout_seconds = 2
"""


def wait_until(condition: Callable[[], Any], what: str, seconds: float = PATIENCE_SECONDS) -> Any:
    """Return what the condition gives once it is true; fail when that takes too long."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(httpx.HTTPError):
            if found := condition():
                return found
        time.sleep(0.02)  # other people's processes have nothing to wait on but what they show
    raise AssertionError(f"it did not happen in time: {what}")


class Program:
    """A process that can be started again.

    Args:
        command: what to run.
        log: file for what it says.
        options: of ``subprocess.Popen``.
    """

    def __init__(self, command: list[str], log: Path, **options: Any) -> None:
        self._command, self._log, self._options = command, log, options
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Tell whether it runs."""
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start it."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(self._command, stdout=log, stderr=subprocess.STDOUT, **self._options)

    def end(self, how: signal.Signals = signal.SIGKILL) -> None:
        """End it and wait for that."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(60)


class Postgres(Program):
    """A PostgreSQL server with a folder of its own."""

    def __init__(self, log: Path) -> None:
        initdb, server = program("initdb"), program("postgres")
        assert initdb is not None
        assert server is not None
        user = "postgres" if os.geteuid() == 0 else None  # the server refuses to run as root
        folder = tempfile.mkdtemp()  # pytest's own folders are closed to other users
        if user:
            shutil.chown(folder, user)
        self.port = free_port()
        quiet: dict[str, Any] = {"user": user, "cwd": "/"}
        command = [initdb, "-D", f"{folder}/data", "-U", "bedside", "--auth=trust", "--no-sync"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **quiet)
        options = ["-D", f"{folder}/data", "-h", "127.0.0.1", "-p", str(self.port), "-k", "", "-F"]
        super().__init__([server, *options], log, **quiet)

    def start(self) -> None:
        """Start it and wait until it answers; it does not start while a killed one's children are there."""

        def answers() -> bool:
            if not self.running:
                super(Postgres, self).start()
            with suppress(psycopg.OperationalError):
                psycopg.connect(self._address).close()
                return True
            return False

        wait_until(answers, "PostgreSQL answers")

    @property
    def _address(self) -> str:
        return f"host=127.0.0.1 port={self.port} user=bedside dbname=postgres connect_timeout=1"


class Archive(Program):
    """``archive.py``, behind a relay."""

    def __init__(self, folder: Path) -> None:
        self.kept = folder / "archive"
        self.kept.mkdir()
        port = free_port()
        self.relay = Relay(port)
        command = [sys.executable, "-m", "tests.chaos.archive", str(port), str(self.kept)]
        super().__init__(command, folder / "archive.log", cwd=REPOSITORY)


class World:
    """Everything, on free ports, in a folder.

    Args:
        folder: empty.
        database: ``sqlite`` or ``postgres``.
    """

    def __init__(self, folder: Path, database: str) -> None:
        self.points, self.state = folder / "points", folder / "state"
        self.points.mkdir()
        self.archive = Archive(folder)
        self.postgres = Postgres(folder / "postgres.log") if database == "postgres" else None
        self.database_relay = Relay(self.postgres.port) if self.postgres else None
        port, self._forks = free_port(), _fork_server()
        self.url = f"http://127.0.0.1:{port}"
        self.database_url = f"sqlite:///{folder / 'jobs.db'}"
        direct = self.database_url
        if self.postgres and self.database_relay:
            address = "postgresql+psycopg://bedside@127.0.0.1:{}/postgres"
            self.database_url, direct = (address.format(p) for p in (self.database_relay.port, self.postgres.port))
        self.engine = sqlalchemy.create_engine(direct, pool_pre_ping=True)
        config = folder / "bedside.toml"
        config.write_text(
            _SETTINGS.format(state=self.state, database=self.database_url, archive=self.archive.relay.port)
        )
        command = [sys.executable, "-m", "tests.chaos.victim", "serve", str(bundle.build(folder))]
        self.log = folder / "server.log"
        self.server = Program(
            [*command, "--port", str(port), "--config", str(config)],
            self.log,
            cwd=REPOSITORY,
            env={**os.environ, "CHAOS_POINTS": str(self.points), "CHAOS_FORKS": str(self._forks._forkserver_address)},
        )
        self._armed, self._anybody = 0, httpx.Client(base_url=self.url, timeout=20)

    def __enter__(self) -> Self:
        """Start everything."""
        if self.postgres:
            self.postgres.start()
        self.archive.start()
        self.serve()
        settings = load_settings(runtime={"state_dir": self.state})
        token = mint_token(settings, subject="modality", scopes=("bedside.infer", "bedside.admin"), seconds=86400)
        self.client = httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {token}"}, timeout=20)
        return self

    def __exit__(self, *_: object) -> None:
        """End everything."""
        for one in (self.server, self.archive, self.postgres):
            if one is not None:
                one.end()
        os.kill(self._forks._forkserver_pid, signal.SIGKILL)
        for relay in (self.archive.relay, self.database_relay):
            if relay is not None:
                relay.close()
        self.engine.dispose()
        for client in (self.client, self._anybody):
            client.close()

    def serve(self) -> None:
        """Start the server where it does not run, and wait until its model answers."""

        def answers() -> bool:
            if not self.server.running:
                self.server.start()
            return self._anybody.get("/readyz").status_code == httpx.codes.OK

        wait_until(answers, "the server is ready")

    def arm(self, point: str) -> Path:
        """Let the server stop at a point; return the file that says that it has."""
        self._armed += 1
        armed = self.points / f"{self._armed}.armed"
        draft = armed.with_suffix(".draft")
        draft.write_text(point)
        draft.rename(armed)
        return armed.with_suffix(".reached")

    def reach(self, reached: Path) -> bool:
        """Wait until the server stops there, or has ended on its way; tell which."""
        wait_until(lambda: reached.exists() or not self.server.running, f"{self.points}: a point is reached")
        return reached.exists()

    def release(self, reached: Path | None = None) -> None:
        """Let the server go on, from one point or from all, those that it never came to included."""
        for file in [reached] if reached else [*self.points.glob("*.armed"), *self.points.glob("*.reached")]:
            with suppress(FileNotFoundError):
                file.with_suffix(".release").touch()
                if file.suffix == ".armed":
                    file.unlink()

    def model_process(self) -> int | None:
        """Return the process id of the model, by its working directory."""
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                ours = entry.name.isdigit() and (entry / "cwd").readlink() == self.points.parent / bundle.NAME
                if ours and entry.name != str(self.server.process and self.server.process.pid):
                    return int(entry.name)
        return None

    def jobs(self, **query: str) -> list[dict[str, Any]]:
        """Return jobs as the server tells them."""
        answer = self.client.get("/v1/jobs", params={"limit": "1000", **query})
        answer.raise_for_status()
        return list(answer.json())

    def late(self) -> None:
        """Let the deadline of every job that waits be over."""
        with self.engine.begin() as connection:
            connection.execute(sqlalchemy.text("UPDATE bedside_jobs SET deadline = 1 WHERE state = 'queued'"))

    def said(self) -> list[dict[str, Any]]:
        """Return the events that the servers have logged."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]


def _fork_server() -> Any:
    forks: Any = ForkServer()
    forks.set_forkserver_preload(["bedside.runtime.preload"])
    with environment.reduced():
        forks.ensure_running()
    return forks
