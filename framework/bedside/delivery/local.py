"""A site on one machine: what an environment pins runs as a process of ours, behind one gateway.

``production`` is what answers. Another environment beside it is its canary: it runs without traffic until the gate
gives it some, and takes production's place when it is promoted. For a laptop, a laboratory and the rehearsal; what runs
is not started again by anybody, so that a hospital takes k3s, which runs on one machine as well.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import httpx

from bedside.delivery.gate import Live
from bedside.delivery.gateway import Gateway
from bedside.delivery.pins import Pins
from bedside.errors import BedsideError, ConfigurationError

PRODUCTION = "production"


class DeployFailed(BedsideError):
    """Read the log of the environment, beside the site's folder of the same name."""


@dataclass(slots=True)
class Running:
    """One process of ``bedside serve``; ``started`` tells it from another one with its number."""

    process: int
    started: int
    port: int
    bundles: Mapping[str, str]

    @property
    def url(self) -> str:
        """Return its address, behind the gateway."""
        return f"http://127.0.0.1:{self.port}"


@dataclass(slots=True)
class _State:
    port: int
    mirror: int
    running: dict[str, Running] = field(default_factory=dict)
    canary_percent: int = 0


class Site:
    """Processes and their gateway, in one folder.

    Args:
        folder: holds ``certificate.pem`` and ``key.pem`` and, where there are any, the settings of the servers
            (``settings.toml``); all else in it is ours.
        port: HTTPS port of a gateway that does not run yet.

    Raises:
        ConfigurationError: the folder has no certificate.
    """

    def __init__(self, folder: Path, port: int = 8443) -> None:
        if not ((folder / "certificate.pem").is_file() and (folder / "key.pem").is_file()):
            raise ConfigurationError(f"{folder} needs certificate.pem and key.pem", field="site")
        self._folder = folder
        self._state = self._read() or _State(port, _free_port())
        self._offset = self._gateway.calls(0, 0)[1]

    @property
    def url(self) -> str:
        """Return the address for callers."""
        return f"https://localhost:{self._state.port}"

    @property
    def mirror(self) -> str:
        """Return where the gateway sends copies."""
        return f"127.0.0.1:{self._state.mirror}"

    def environment(self, name: str) -> Running:
        """Return what runs. Raises ConfigurationError where nothing does."""
        found = self._state.running.get(name)
        if found is None:
            raise ConfigurationError(f"{name} does not run here", field="environment")
        return found

    @property
    def canary(self) -> str:
        """Return the environment beside production. Raises ConfigurationError where there is none."""
        for name in self._state.running:
            if name != PRODUCTION:
                return name
        raise ConfigurationError("nothing runs beside production", field="environment")

    def deploy(self, name: str, pins: Pins, registry: Path | None, seconds: float = 300.0) -> Running:
        """Run what an environment pins, in place of what it ran; calls go on meanwhile.

        Raises:
            ConfigurationError: there is a canary of another name already.
            DeployFailed: it does not get ready; what ran goes on.
        """
        others = set(self._state.running) - {name, PRODUCTION}
        if name != PRODUCTION and others:
            raise ConfigurationError(f"{others.pop()} is production's canary already", field="environment")
        errors = self._folder / f"{name}.err"
        begin = errors.stat().st_size if errors.is_file() else 0
        started = self._start(name, pins, registry)
        if not _gets_ready(started, seconds):
            _retire(started)
            told = errors.read_bytes()[begin:].decode(errors="replace")
            raise DeployFailed(f"{name} did not get ready: {' '.join(told.split()).rpartition('Error: ')[2]}")
        old = self._state.running.get(name)
        self._state.running[name] = started
        if name != PRODUCTION:
            self._state.canary_percent = 0
        self._route()
        if old is not None:
            _retire(old)
        return started

    def promote(self, name: str) -> None:
        """Give all calls to the canary, which is production from then on; the old one answers what it has, and ends."""
        old = self._state.running.pop(PRODUCTION, None)
        self._state.running = {PRODUCTION: self.environment(name)}
        self._state.canary_percent = 0
        self._route()
        if old is not None:
            _retire(old)

    def withdraw(self, name: str) -> None:
        """Take the canary's calls away, then end it; nothing happens where it does not run."""
        old = self._state.running.pop(name, None)
        if old is not None:
            self._state.canary_percent = 0
            self._route()
            _retire(old)

    def stop(self) -> None:
        """End the gateway, then all the rest."""
        self._gateway.stop()
        for running in self._state.running.values():
            _retire(running)
        self._state.running = {}
        self._write()

    def weigh(self, percent: int) -> None:
        """Implements ``gate.Traffic``."""
        self._state.canary_percent = percent
        self._route()

    def live(self) -> Sequence[Live]:
        """Implements ``gate.Traffic``."""
        found, self._offset = self._gateway.calls(self.environment(self.canary).port, self._offset)
        return found

    @property
    def _gateway(self) -> Gateway:
        return Gateway(self._folder / "gateway", f"127.0.0.1:{self._state.port}", self._state.mirror)

    def _route(self) -> None:
        """Make the gateway do what the state says, and note it."""
        percent = self._state.canary_percent
        weights = {
            running.port: 100 - percent if name == PRODUCTION else percent
            for name, running in self._state.running.items()
        }
        if PRODUCTION in self._state.running:
            self._gateway.route(weights)
        self._write()

    def _start(self, name: str, pins: Pins, registry: Path | None) -> Running:
        sources = [_source(bundle, reference, registry) for bundle, reference in pins.bundles.items()]
        if not sources:
            raise ConfigurationError(f"{name} pins no bundle", field="environment")
        port = _free_port()
        settings = self._folder / "settings.toml"
        options = ["--config", str(settings)] if settings.is_file() else []
        # A bundle that cannot be served ends the server, and with it the wait for it.
        command = ["env", "BEDSIDE_REGISTRY__STRICT=true", sys.executable, "-m", "bedside", "serve"]
        command += [*sources, "--port", str(port), *options]
        # To append: the process whose place it takes is still writing.
        with (self._folder / f"{name}.log").open("ab") as log, (self._folder / f"{name}.err").open("ab") as err:
            process = subprocess.Popen(  # noqa: S603 - names and digests that Pins has checked
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=err, start_new_session=True
            )
        return Running(process.pid, _start_of(process.pid), port, dict(pins.bundles))

    def _read(self) -> _State | None:
        path = self._folder / "site.json"
        if not path.is_file():
            return None
        content = json.loads(path.read_bytes())
        running = {name: Running(**one) for name, one in content["running"].items()}
        return _State(content["port"], content["mirror"], running, content["canary_percent"])

    def _write(self) -> None:
        part = self._folder / ".site.json"
        part.write_text(json.dumps(asdict(self._state), indent=2), encoding="utf-8")
        part.replace(self._folder / "site.json")


def _source(bundle: str, reference: str, registry: Path | None) -> str:
    """Return where a pinned bundle is fetched from: the registry, or the folder with layouts that stands in for it."""
    if registry is None:
        return f"oci://{reference}"
    return f"{registry / bundle}@{reference.partition('@')[2]}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _gets_ready(started: Running, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while _runs(started) and time.monotonic() < deadline:
        if _ready(started.url):
            return True
        time.sleep(0.1)
    return False


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", trust_env=False).is_success
    except httpx.HTTPError:
        return False


def _start_of(process: int) -> int:
    """Return when a process started, in ticks since the machine did (proc(5), starttime); 0 where there is none.

    With its number that is an identity: numbers are given out again. One that has ended and was not waited for is none.
    """
    try:
        state, *fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if state in "ZX" else int(fields[18])


def _runs(running: Running) -> bool:
    return running.started > 0 and _start_of(running.process) == running.started


def _retire(running: Running, most_seconds: float = 120.0) -> None:
    """End a process that gets no more calls, and wait until it has answered those that it has."""
    deadline = time.monotonic() + most_seconds
    number = signal.SIGTERM
    while _runs(running):
        os.kill(running.process, number)
        number = signal.SIGKILL
        while _runs(running) and time.monotonic() < deadline:
            time.sleep(0.05)
