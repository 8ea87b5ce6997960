"""A site on one machine: what an environment pins runs as a process of ours, behind one gateway.

``production`` is what answers. Another environment beside it is its canary: it runs without traffic until the gate
gives it some, and takes production's place when it is promoted. For a laptop, a laboratory and the rehearsal; what runs
is not started again by anybody, so that a hospital takes k3s, which runs on one machine as well.
"""

import fcntl
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import BinaryIO

import httpx

from bedside.delivery.gate import Live
from bedside.delivery.gateway import PRIVATE, Gateway, nginx
from bedside.delivery.pins import Pins
from bedside.delivery.processes import free_port, runs, started
from bedside.environment import of_a_server
from bedside.errors import BedsideError, ConfigurationError
from bedside.settings import load_settings

PRODUCTION = "production"
_PYTHON = (sys.executable, "-P", "-m")  # nothing from the current folder, which may be anybody's
_RETIRE_SECONDS = 120.0


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
    gate: tuple[int, int] = (0, 0)
    """Process that gave the canary its weight, and its start; while it runs, that is its own to take back."""

    def weigh(self, percent: int) -> None:
        """Give the canary a weight, in the name of this process."""
        self.canary_percent = percent
        self.gate = (os.getpid(), started(os.getpid())) if percent else (0, 0)

    def is_abandoned(self) -> bool:
        """Tell whether a gate has ended and left its canary with a weight."""
        return self.canary_percent > 0 and not runs(*self.gate)

    def environment(self, name: str) -> Running:
        """Return what runs. Raises ConfigurationError where nothing does."""
        found = self.running.get(name)
        if found is None:
            raise ConfigurationError(f"{name} does not run here", field="environment")
        return found

    def refuse_another_canary(self, name: str) -> None:
        """Raise ConfigurationError where a canary of another name runs."""
        others = set(self.running) - {name, PRODUCTION}
        if name != PRODUCTION and others:
            raise ConfigurationError(f"{others.pop()} is production's canary already", field="environment")


class Site:
    """Processes and their gateway, in one folder. Several commands may change it at one time.

    Args:
        folder: holds ``certificate.pem`` and ``key.pem`` and, where there are any, the settings of the servers
            (``settings.toml``); all else in it is ours.
        port: HTTPS port of a gateway that does not run yet.

    Raises:
        ConfigurationError: the folder has no certificate, or others may write to it.
    """

    def __init__(self, folder: Path, port: int = 8443) -> None:
        if not ((folder / "certificate.pem").is_file() and (folder / "key.pem").is_file()):
            raise ConfigurationError(f"{folder} needs certificate.pem and key.pem", field="site")
        if folder.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise ConfigurationError(f"others may write to {folder}: chmod go-w", field="site")
        self._folder = folder
        self._state = self._read() or _State(port, free_port())
        self._offset = self._gateway.logged_bytes()
        self._watcher: subprocess.Popen[bytes] | None = None

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
        return self._state.environment(name)

    def bundles(self, name: str) -> Mapping[str, str]:
        """Return what an environment runs: references by model, none where it does not run."""
        running = self._state.running.get(name)
        return {} if running is None else running.bundles

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
            ConfigurationError: there is a canary of another name already, or no nginx.
            DeployFailed: it does not get ready; what ran goes on.
            GatewayFailed: nginx refuses; what ran goes on.
        """
        nginx()
        self._state.refuse_another_canary(name)
        begin = len(self._errors(name))
        new = self._start(name, pins, registry)
        try:
            self._wait_for(name, new, begin, seconds)
            with self._change() as state:
                state.refuse_another_canary(name)
                old = state.running.get(name)
                state.running[name] = new
                if name != PRODUCTION:
                    state.weigh(0)
        except BaseException:  # an interrupt, too: nobody else knows of the process
            _retire(new)
            raise
        if old is not None:
            _retire(old)
        return new

    def promote(self, name: str) -> None:
        """Give all calls to the canary, which is production from then on; the old one answers what it has, and ends."""
        with self._change() as state:
            old = state.running.get(PRODUCTION)
            state.running = {PRODUCTION: state.environment(name)}
            state.weigh(0)
            self._gateway.rotate()
        if old is not None:
            _retire(old)

    def withdraw(self, name: str) -> None:
        """Take the canary's calls away, then end it; nothing happens where it does not run."""
        with self._change() as state:
            old = state.running.pop(name, None)
            if old is not None:
                state.weigh(0)
        if old is not None:
            _retire(old)

    def stop(self) -> None:
        """End the gateway, then all the rest."""
        with self._change() as state:
            ended = state.running
            state.running = {}
        for running in ended.values():
            _retire(running)

    def weigh(self, percent: int) -> None:
        """Implements ``gate.Traffic``, for the canary that this site was opened with.

        Raises:
            ConfigurationError: another one took its place, or none; it has what weight it was given since.
        """
        name = self.canary
        known = self._state.running[name]
        self._watched(percent)
        with self._change() as state:
            if state.running.get(name) == known:
                state.weigh(percent)
            elif percent:
                raise ConfigurationError(f"{name} was replaced, promoted or withdrawn meanwhile", field="environment")
        if not percent:
            self._unwatched()

    def mend(self) -> bool:
        """Take the weight back that a gate has left; tell whether one that runs has given one."""
        with self._change() as state:
            return state.canary_percent > 0

    def _watched(self, percent: int) -> None:
        """Have a process look after this one while the canary has weight (``watch``), for ``kill -9`` is not caught."""
        if percent and self._watcher is None:
            command = [*_PYTHON, "bedside.delivery.watch", str(self._folder.absolute())]
            self._watcher = subprocess.Popen(  # noqa: S603 - our own
                command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=of_a_server(), start_new_session=True
            )

    def _unwatched(self) -> None:
        if self._watcher is not None:
            self._watcher.communicate(b"done")
            self._watcher = None

    def live(self) -> Sequence[Live]:
        """Implements ``gate.Traffic``."""
        found, self._offset = self._gateway.calls(self.environment(self.canary).port, self._offset)
        return found

    @property
    def _gateway(self) -> Gateway:
        return Gateway(self._folder / "gateway", f"127.0.0.1:{self._state.port}", self._state.mirror)

    @contextmanager
    def _change(self) -> Iterator[_State]:
        """Change what runs and its weights, as one command at a time: the gateway does it, or all is as before."""
        with self._opened("site.lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            before, state = self._read(), self._read() or self._state
            if state.is_abandoned():
                state.weigh(0)
            yield state
            if state == before:
                return
            try:
                self._route(state)
                self._write(state)
            except BaseException:
                with suppress(BedsideError):
                    self._route(before or _State(state.port, state.mirror))
                raise
            self._state = state

    def _route(self, state: _State) -> None:
        """Make the gateway do what a state says."""
        if PRODUCTION not in state.running:
            self._gateway.stop()
            return
        percent = state.canary_percent
        weights = {
            running.port: 100 - percent if name == PRODUCTION else percent for name, running in state.running.items()
        }
        self._gateway.route(weights, load_settings(self._settings).limits.body_bytes)

    @property
    def _settings(self) -> Path | None:
        path = self._folder / "settings.toml"
        return path if path.is_file() else None

    def _errors(self, name: str) -> bytes:
        path = self._folder / f"{name}.err"
        return path.read_bytes() if path.is_file() else b""

    def _wait_for(self, name: str, new: Running, begin: int, seconds: float) -> None:
        """Wait until it is ready. Raises DeployFailed, with what it has said since a place in its errors."""
        if not _gets_ready(new, seconds):
            told = self._errors(name)[begin:].decode(errors="replace")
            raise DeployFailed(f"{name} did not get ready: {' '.join(told.split()).rpartition('Error: ')[2]}")

    def _start(self, name: str, pins: Pins, registry: Path | None) -> Running:
        sources = [_source(bundle, reference, registry) for bundle, reference in pins.bundles.items()]
        if not sources:
            raise ConfigurationError(f"{name} pins no bundle", field="environment")
        port = free_port()
        options = ["--config", str(self._settings)] if self._settings else []
        command = [*_PYTHON, "bedside", "serve", *sources, "--port", str(port), *options]
        # A bundle that cannot be served ends the server, and with it the wait for it.
        environment = of_a_server() | {"BEDSIDE_REGISTRY__STRICT": "true"}
        # To append: the process whose place it takes is still writing.
        with self._opened(f"{name}.log") as log, self._opened(f"{name}.err") as err:
            process = subprocess.Popen(  # noqa: S603 - names and digests that Pins has checked
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=err,
                env=environment,
                umask=PRIVATE,
                start_new_session=True,
            )
        return Running(process.pid, started(process.pid), port, dict(pins.bundles))

    def _read(self) -> _State | None:
        path = self._folder / "site.json"
        if not path.is_file():
            return None
        content = json.loads(path.read_bytes())
        running = {name: Running(**one) for name, one in content["running"].items()}
        gate, start = content.get("gate", (0, 0))  # a site of an earlier version has none
        return _State(content["port"], content["mirror"], running, content["canary_percent"], (gate, start))

    def _write(self, state: _State) -> None:
        with self._opened(".site.json", os.O_TRUNC) as part:
            part.write(json.dumps(asdict(state), indent=2).encode())
        (self._folder / ".site.json").replace(self._folder / "site.json")

    def _opened(self, name: str, how: int = os.O_APPEND) -> BinaryIO:
        """Open a file for this user alone, whoever made it, and no link: others may write beside it."""
        try:
            file = os.open(self._folder / name, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | how, 0o600)
            os.fchmod(file, 0o600)
        except OSError as error:
            raise ConfigurationError(f"{name} cannot be written: {error.strerror}", field="site") from None
        return os.fdopen(file, "wb")


def _source(bundle: str, reference: str, registry: Path | None) -> str:
    """Return where a pinned bundle is fetched from: the registry, or the folder with layouts that stands in for it."""
    if registry is None:
        return f"oci://{reference}"
    return f"{registry / bundle}@{reference.partition('@')[2]}"


def _gets_ready(new: Running, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    # One client: each reads the machine's certificates, which would take a part of the core that the server starts on.
    with httpx.Client(base_url=new.url, trust_env=False) as client:
        while _runs(new) and time.monotonic() < deadline:
            if _ready(client):
                return True
            time.sleep(0.1)
    return False


def _ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").is_success
    except httpx.HTTPError:
        return False


def _runs(running: Running) -> bool:
    return runs(running.process, running.started)


def _retire(running: Running) -> None:
    """End a process that gets no more calls, and wait until it has answered those that it has."""
    deadline = time.monotonic() + _RETIRE_SECONDS
    number = signal.SIGTERM
    while _runs(running):
        with suppress(ProcessLookupError):  # it ended just now
            os.kill(running.process, number)
        number = signal.SIGKILL
        while _runs(running) and time.monotonic() < deadline:
            time.sleep(0.05)
