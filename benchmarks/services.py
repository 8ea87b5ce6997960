"""The servers that are measured: how each is started, told ready, and given its callers."""

import json
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from bedside.bootstrap import mint_token
from bedside.delivery.processes import free_port
from bedside.settings import load_settings
from benchmarks.contestants.heart_pipeline import MODELS
from benchmarks.processes import Server, pause_until

REPOSITORY = Path(__file__).resolve().parent.parent
CONTESTANTS = Path(__file__).resolve().parent / "contestants"
HEART_DISEASE = REPOSITORY / "apps" / "heart_disease"

ISSUER = "https://issuer.example"
AUDIENCE = "bedside"

CALLERS = 16
"""Different tokens in use at one time."""

TOKEN_SECONDS = 3600
START_SECONDS = 180.0


@dataclass(frozen=True)
class Workspace:
    """Folders of one run of the benchmarks, removed after it.

    Attributes:
        root: empty folder.
        peers: folder of the peers' virtual environments (``benchmarks/peers.sh``).
    """

    root: Path
    peers: Path

    @cached_property
    def ten_bundles(self) -> Path:
        """Return a folder with ten copies of apps/heart_disease."""
        folder = self.root / "bundles"
        for name in MODELS:
            shutil.copytree(HEART_DISEASE, folder / name)
        return folder

    @cached_property
    def issuer_key(self) -> tuple[bytes, Path]:
        """Return the private key of the naive server's issuer, and the file with the public one (RSA, 2048 bits)."""
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: PLC0415

        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        public = self.root / "issuer.pem"
        public.write_bytes(
            key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        )
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return private, public

    @property
    def bedside_environment(self) -> dict[str, str]:
        """Return the environment in which Bedside's own issuer keeps its key here."""
        return {"BEDSIDE_RUNTIME__STATE_DIR": str(self.root / "state"), "PYTHONUNBUFFERED": "1"}

    def interpreter(self, peer: str) -> Path:
        """Return the Python of a peer's virtual environment."""
        return self.peers / peer / "bin" / "python"


Command = Callable[[Workspace, int], tuple[list[str], dict[str, str]]]
Tokens = Callable[[Workspace], list[str]]


@dataclass(frozen=True, slots=True)
class Service:
    """One kind of server.

    Attributes:
        name: as in tables.
        command: command line and environment for a port.
        ready: path that answers 200 once every model would.
        tokens: makes the callers' tokens; None where nobody is authenticated.
        peer: virtual environment that it needs, "" for this one.
    """

    name: str
    command: Command
    ready: str
    tokens: Tokens | None = None
    peer: str = ""

    def available(self, workspace: Workspace) -> bool:
        """Tell whether it can run here."""
        return not self.peer or workspace.interpreter(self.peer).is_file()


@dataclass(slots=True)
class Running:
    """A started server."""

    service: Service
    server: Server
    port: int
    tokens: list[str] = field(default_factory=list)


def start(service: Service, workspace: Workspace) -> Running:
    """Start a server; it is not ready yet."""
    tokens = service.tokens(workspace) if service.tokens else []
    port = free_port(1)  # MLServer takes the next one too
    arguments, environment = service.command(workspace, port)
    log = workspace.root / f"{service.name.replace(' ', '_')}-{port}.log"
    server = Server(arguments, {"OMP_NUM_THREADS": "1", **environment}, log, REPOSITORY)
    return Running(service, server, port, tokens)


def wait_ready(running: Running, seconds: float = START_SECONDS) -> None:
    """Wait until a server says that it is ready.

    Raises:
        RuntimeError: it ended, or took too long; with the end of what it said.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not running.server.ended:
        if status(running.port, running.service.ready) == 200:
            return
        pause_until(deadline)
    said = running.server.errors.read_text(errors="replace")[-2000:]
    raise RuntimeError(f"{running.service.name} did not become ready: {said}")


def status(port: int, path: str) -> int:
    """Return the status of a GET, 0 where nobody listens."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def bedside(name: str, bundles: Callable[[Workspace], Sequence[Path]], **environment: str) -> Service:
    """Return Bedside serving these bundles."""

    def command(workspace: Workspace, port: int) -> tuple[list[str], dict[str, str]]:
        arguments = [sys.executable, "-m", "bedside", "serve", *map(str, bundles(workspace)), "--port", str(port)]
        return arguments, {**workspace.bedside_environment, **environment}

    return Service(name, command, "/readyz", bedside_tokens)


def bedside_tokens(workspace: Workspace) -> list[str]:
    """Return tokens of the embedded issuer, each of another caller."""
    settings = load_settings(None, runtime={"state_dir": workspace.root / "state"})
    return [
        mint_token(settings, subject=f"caller-{number}", scopes=("bedside.infer",), seconds=TOKEN_SECONDS)
        for number in range(CALLERS)
    ]


def naive(name: str, kind: str) -> Service:
    """Return the obvious FastAPI server, with a model of this kind."""

    def command(workspace: Workspace, port: int) -> tuple[list[str], dict[str, str]]:
        module = "benchmarks.contestants.naive_fastapi"
        arguments = [sys.executable, "-m", module, str(port), kind, str(workspace.issuer_key[1]), ISSUER, AUDIENCE]
        return [*arguments, *([str(HEART_DISEASE)] if kind == "bundle" else [])], {}

    return Service(name, command, "/readyz", _naive_tokens)


def _naive_tokens(workspace: Workspace) -> list[str]:
    import jwt  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415 - of the extra "bench"

    now = int(time.time())
    claims = {"iss": ISSUER, "aud": AUDIENCE, "iat": now, "nbf": now, "exp": now + TOKEN_SECONDS}
    return [
        jwt.encode(
            {**claims, "sub": f"caller-{number}", "scope": "bedside.infer"},
            workspace.issuer_key[0],
            algorithm="RS256",
            headers={"kid": "1"},
        )
        for number in range(CALLERS)
    ]


def _kserve(workspace: Workspace, port: int) -> tuple[list[str], dict[str, str]]:
    return [str(workspace.interpreter("kserve")), str(CONTESTANTS / "kserve_server.py"), str(port)], {}


def _mlserver(workspace: Workspace, port: int) -> tuple[list[str], dict[str, str]]:
    folder = workspace.root / f"mlserver-{port}"
    folder.mkdir()
    python = str(workspace.interpreter("mlserver"))
    subprocess.run([python, str(CONTESTANTS / "mlserver_models.py"), str(folder), str(port)], check=True)
    # MLServer logs a line a request on this logger, and has no setting for it.
    config = folder / "logging.json"
    config.write_text(json.dumps({"version": 1, "disable_existing_loggers": False, "root": {"level": "WARNING"}}))
    settings = {"MLSERVER_LOGGING_SETTINGS": str(config), "PYTHONPATH": str(CONTESTANTS)}
    return [python, "-c", "from mlserver.cli import main; main()", "start", str(folder)], settings


BEDSIDE = bedside("Bedside", lambda workspace: [workspace.ten_bundles])
BEDSIDE_UNCACHED = bedside(
    "Bedside, tokens never remembered",
    lambda workspace: [workspace.ten_bundles],
    BEDSIDE_AUTH__TOKEN_CACHE_SIZE="0",  # noqa: S106 - a number of tokens
)
NAIVE = naive("naive FastAPI", "sklearn")
NAIVE_BUNDLE = naive("naive FastAPI, same bundle", "bundle")
KSERVE = Service("KServe 0.21", _kserve, "/v2/health/ready", peer="kserve")
MLSERVER = Service("MLServer 1.7.1", _mlserver, "/v2/health/ready", peer="mlserver")


def with_grpc(service: Service) -> Service:
    """Return the service listening for gRPC on the port after that of HTTP, where MLServer always does."""

    def command(workspace: Workspace, port: int) -> tuple[list[str], dict[str, str]]:
        arguments, environment = service.command(workspace, port)
        told = {KSERVE.name: [str(port + 1)], BEDSIDE.name: ["--grpc-port", str(port + 1)]}
        return [*arguments, *told.get(service.name, [])], environment

    return replace(service, command=command)
