"""The real thing: ``bedside serve`` in a process of its own, on the bundles of ``apps/``, called over the wire."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import httpx
import pytest
from tests.loopback import PLAIN
from tests.waiting import wait_until

from bedside.bundle.golden import GoldenCase, PackageMissing, read_golden
from bedside.delivery.processes import free_port
from bedside.security.embedded import EmbeddedIssuer
from bedside.settings import load_settings

APPS = Path(__file__).resolve().parents[2] / "apps"


@dataclass(frozen=True)
class Served:
    """A server that is ready.

    Attributes:
        url: its address.
        log: file with its standard output and error.
        state: the folder with the embedded issuer's key.
        process: the server.
        grpc: host and port of its gRPC service, empty where it has none.
    """

    url: str
    log: Path
    state: Path
    process: subprocess.Popen[bytes]
    grpc: str = ""

    def token(self, *scopes: str, subject: str = "tester", seconds: int = 3600) -> str:
        """Return a token of the server's embedded issuer."""
        return _issuer(self.state).mint(subject, scopes or ("bedside.infer",), seconds)

    def client(self, *scopes: str) -> httpx.Client:
        """Return a client that sends a token with these scopes."""
        headers = {"Authorization": f"Bearer {self.token(*scopes)}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60, verify=PLAIN)


@cache
def _issuer(state: Path) -> EmbeddedIssuer:
    """Return who signs for the servers of a state folder; to read and check its key takes a tenth of a second."""
    return EmbeddedIssuer(load_settings(runtime={"state_dir": state}))


def start(bundles: list[Path], folder: Path, **environment: str) -> Served:
    """Start a server and wait until every model has made a forward pass."""
    return start_program(["-m", "bedside"], bundles, folder, environment)


def start_program(program: list[str], bundles: list[Path], folder: Path, environment: dict[str, str]) -> Served:
    """Start a server by what Python is to run, and wait until every model has made a forward pass."""
    served = launch(program, bundles, folder, environment)

    def ready() -> bool:
        assert served.process.poll() is None
        return httpx.get(f"{served.url}/readyz", verify=PLAIN).status_code == httpx.codes.OK

    try:
        wait_until(ready)
    except AssertionError as error:
        stop(served)
        raise AssertionError(f"the server did not become ready:\n{served.log.read_text()[-4000:]}") from error
    return served


def launch(program: list[str], bundles: list[Path], folder: Path, environment: dict[str, str]) -> Served:
    """Start a server, which may never be ready as a whole."""
    port = free_port(1)
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "server.log"
    command = [sys.executable, *program, "serve", *map(str, bundles)]
    command += ["--port", str(port), "--grpc-port", str(port + 1)]
    variables = {
        "BEDSIDE_RUNTIME__STATE_DIR": str(folder / "state"),
        "BEDSIDE_LIMITS__BODY_BYTES": str(8 << 20),
        "BEDSIDE_LIMITS__DECOMPRESSED_BYTES": str(64 << 20),
        "BEDSIDE_RUNTIME__FORECAST_SECONDS": "0.5",
        **environment,
    }
    with log.open("wb") as stream:
        process = subprocess.Popen(command, env={**os.environ, **variables}, stdout=stream, stderr=subprocess.STDOUT)
    return Served(f"http://127.0.0.1:{port}", log, folder / "state", process, f"127.0.0.1:{port + 1}")


def stop(served: Served) -> int:
    """End a server in its orderly way; return its exit status."""
    with suppress(ProcessLookupError):
        served.process.send_signal(signal.SIGTERM)
    try:
        return served.process.wait(timeout=60)
    except subprocess.TimeoutExpired:
        served.process.kill()
        return served.process.wait()


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Serve the bundles of ``apps/`` for the whole session, and log all there is to say."""
    running = start([APPS], tmp_path_factory.mktemp("served"), BEDSIDE_LOG__LEVEL="debug")
    yield running
    assert stop(running) == 0


@pytest.fixture
def client(served: Served) -> Iterator[httpx.Client]:
    """Return a client that may call every model."""
    with served.client() as authenticated:
        yield authenticated


def golden_cases() -> list[tuple[str, GoldenCase]]:
    """Return every golden case of every bundle in ``apps/`` with its model."""
    return [(root.name, case) for root in sorted(APPS.iterdir()) for case in read_golden(root)]


def golden_file(model: str, case: GoldenCase) -> bytes:
    """Return the bytes of a case's only input, or skip where they come in a package that is not installed."""
    try:
        (item,) = case.raw_inputs()
    except PackageMissing as missing:
        pytest.skip(f"{model}/{case.name}: {missing}")
    return json.dumps(dict(item.values)).encode() if hasattr(item, "values") else item.data
