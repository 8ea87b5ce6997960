"""The processes of a hospital that can be killed one by one: servers, a listener, models, an archive, a database."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
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
from tests.waiting import wait_until

from bedside import environment
from bedside.bootstrap import mint_token
from bedside.delivery.processes import free_port
from bedside.settings import load_settings

REPOSITORY = Path(__file__).resolve().parents[2]
_SETTINGS = """
[runtime]
state_dir = "{state}"
forecast_seconds = 0
restart_backoff_seconds = 0.05
restart_backoff_max_seconds = 0.2
stop_grace_seconds = 0.05
[jobs]
database = "{database}"
spool_dir = "{spool}"
attempts = 2
retry_seconds = 0.05
retry_most_seconds = 0.2
lease_seconds = 1.5
poll_seconds = 0.05
delivery_seconds = 1
[dicom]
results_to = ["archive"]
{inbox}
[dicom.destinations.archive]
ae_title = "ARCHIVE"
host = "127.0.0.1"
port = {archive}
timeout_seconds = 2
{routes}
"""
_INBOX = """
ae_title = "BEDSIDE"
calling_ae_titles = ["SCANNER"]
port = {port}
inbox_dir = "{inbox}"
stable_seconds = {stable}
idle_seconds = 5
"""
_ROUTES = """
[[dicom.routes]]
model = "threshold"
"""
STABLE_SECONDS = 4.0
"""Longer than a sender needs to come back, on a machine with other work: what comes later is a study of its own."""


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


class Server(Program):
    """``bedside serve`` with failpoints.

    Args:
        folder: of its own.
        settings: given ``state`` and ``database``, the rest is filled in.
        points: where failpoints are armed.
        forks: address of the fork server.
        postgres: port of the database server, if any, which it reaches by a relay of its own.
    """

    def __init__(self, folder: Path, settings: str, points: Path, forks: str, postgres: int | None) -> None:
        self.state, self.log, self.bundle = folder / "state", folder / "server.log", folder / bundle.NAME
        shutil.copytree(folder.parent / bundle.NAME, self.bundle)
        self.port = free_port()
        self.database_relay = Relay(postgres) if postgres else None
        address = f"sqlite:///{folder.parent / 'jobs.db'}"
        if self.database_relay:
            address = f"postgresql+psycopg://bedside@127.0.0.1:{self.database_relay.port}/postgres"
        self.config = folder / "bedside.toml"
        self.config.write_text(settings.replace("{state}", str(self.state)).replace("{database}", address))
        self.environment = {**os.environ, "CHAOS_POINTS": str(points), "CHAOS_FORKS": forks}
        command = [sys.executable, "-m", "tests.chaos.victim", "serve", str(self.bundle), "--port", str(self.port)]
        super().__init__([*command, "--config", str(self.config)], self.log, cwd=REPOSITORY, env=self.environment)
        self.paused = False
        url = f"http://127.0.0.1:{self.port}"
        self.anybody = httpx.Client(base_url=url, timeout=20)
        token = mint_token(
            load_settings(runtime={"state_dir": self.state}),
            subject="modality",
            scopes=("bedside.infer", "bedside.admin"),
            seconds=86400,
        )
        self.client = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=20)

    @property
    def answers(self) -> bool:
        """Tell whether its model answers."""
        with suppress(httpx.HTTPError):
            return self.running and self.anybody.get("/readyz").status_code == httpx.codes.OK
        return False

    def pause(self) -> None:
        """Let it stand still, as a virtual machine does that is moved."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        self.paused = True

    def resume(self) -> None:
        """Let it go on as if no time had passed."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)
        self.paused = False

    def close(self) -> None:
        """End it and what belongs to it."""
        self.end()
        self.client.close()
        self.anybody.close()
        if self.database_relay is not None:
            self.database_relay.close()


class Listener(Program):
    """``bedside dicom listen`` with failpoints, over a server's settings and inbox."""

    def __init__(self, server: Server) -> None:
        self.port, self.log = free_port(), server.log.with_name("listener.log")
        command = [sys.executable, "-m", "tests.chaos.victim", "dicom", "listen", "--port", str(self.port)]
        super().__init__([*command, "--config", str(server.config)], self.log, cwd=REPOSITORY, env=server.environment)

    @property
    def answers(self) -> bool:
        """Tell whether it listens."""
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return self.running
        return False


class World:
    """Everything, on free ports, in a folder.

    Args:
        folder: empty.
        database: ``sqlite`` or ``postgres``.
        replicas: servers over one database and one spool.
        receives: by C-STORE, too: each server, and a listener beside the first one, into one inbox.
    """

    def __init__(self, folder: Path, database: str, replicas: int = 1, *, receives: bool = False) -> None:
        self.points, self.spool, self.inbox = folder / "points", folder / "spool", folder / "inbox"
        self.points.mkdir()
        bundle.build(folder)
        self.archive = Archive(folder)
        self.postgres = Postgres(folder / "postgres.log") if database == "postgres" else None
        direct = f"sqlite:///{folder / 'jobs.db'}"
        if self.postgres:
            direct = f"postgresql+psycopg://bedside@127.0.0.1:{self.postgres.port}/postgres"
        self.engine = sqlalchemy.create_engine(direct, pool_pre_ping=True)
        self._forks = _fork_server()
        self.doors: dict[str, Relay] = {}
        port = free_port() if receives else 0
        inbox = _INBOX.format(port=port, inbox=self.inbox, stable=STABLE_SECONDS) if receives else ""
        settings = _SETTINGS.format(
            state="{state}",
            database="{database}",
            spool=self.spool,
            archive=self.archive.relay.port,
            inbox=inbox,
            routes=_ROUTES if receives else "",
        )
        forks, database_port = str(self._forks._forkserver_address), self.postgres.port if self.postgres else None
        self.servers = [
            Server(folder / f"server{number}", settings, self.points, forks, database_port)
            for number in range(replicas)
        ]
        self.listener = Listener(self.servers[0]) if receives else None
        self.stopped: Server | Listener = self.servers[0]
        if self.listener is not None:
            self.doors = {"server": Relay(port), "listener": Relay(self.listener.port)}
        self._armed = 0

    def __enter__(self) -> Self:
        """Start everything."""
        if self.postgres:
            self.postgres.start()
        self.archive.start()
        self.serve()
        return self

    def __exit__(self, *_: object) -> None:
        """End everything."""
        for server in self.servers:
            server.close()
        for one in (self.listener, self.archive, self.postgres):
            if one is not None:
                one.end()
        os.kill(self._forks._forkserver_pid, signal.SIGKILL)
        for relay in (self.archive.relay, *self.doors.values()):
            relay.close()
        self.engine.dispose()

    @property
    def server(self) -> Server:
        """Return the server that stopped at a point last, else the first one."""
        return self.stopped if isinstance(self.stopped, Server) else self.servers[0]

    @property
    def client(self) -> httpx.Client:
        """Return a client of a server that runs, the first one where none does."""
        alive = [server for server in self.servers if server.running and not server.paused]
        return (alive or self.servers)[0].client

    def serve(self, least: int | None = None) -> None:
        """Start what does not run, and wait until it answers.

        Args:
            least: servers that must; None: all, and the listener.
        """

        def answers() -> bool:
            alive = [server for server in self.servers if server.answers]
            for server in self.servers:
                if not server.running and (least is None or not alive):
                    server.start()
            if self.listener is not None and not self.listener.running:
                self.listener.start()
            return len(alive) >= (least or len(self.servers)) and (self.listener is None or self.listener.answers)

        wait_until(answers, "the servers are ready")

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
        programs: list[Server | Listener] = [*self.servers, *([self.listener] if self.listener else [])]
        ended = {program for program in programs if not program.running}
        wait_until(
            lambda: reached.exists() or any(not program.running for program in {*programs} - ended),
            f"{self.points}: a point is reached",
        )
        if not reached.exists():
            return False
        pid = int(reached.read_text())
        self.stopped = next(one for one in programs if one.process is not None and one.process.pid == pid)
        return True

    def release(self, reached: Path | None = None) -> None:
        """Let the servers go on, from one point or from all, those that they never came to included."""
        every = [self.points / f"{number}.armed" for number in range(1, self._armed + 1)]
        for file in [reached] if reached else every:
            file.with_suffix(".release").touch()
            file.with_suffix(".armed").unlink(missing_ok=True)

    def model_process(self) -> int | None:
        """Return the process id of the model of :attr:`server`, by its working directory."""
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                if entry.name.isdigit() and (entry / "cwd").readlink() == self.server.bundle:
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


def _fork_server() -> Any:
    forks: Any = ForkServer()
    forks.set_forkserver_preload(["bedside.runtime.preload"])
    with environment.reduced():
        forks.ensure_running()
    return forks
