"""What a site does to its processes and tells its gateway, with a gateway that only takes notes."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bedside.delivery import local, watch
from bedside.delivery.gateway import Gateway, GatewayFailed
from bedside.delivery.local import PRODUCTION, DeployFailed, Running, Site, _retire, _runs
from bedside.delivery.pins import Pins
from bedside.delivery.processes import started
from bedside.errors import ConfigurationError

PINS = Pins("ghcr.io/bedside/bedside@sha256:" + "1" * 64)


@dataclass
class World:
    """What the gateway was told, and what was started.

    Attributes:
        routes: weights by port, one after the other; empty for the end of the gateway.
        refuses: raised at the next change.
        ready: whether what is started gets ready.
    """

    folder: Path
    routes: list[Mapping[int, int]] = field(default_factory=list)
    refuses: BaseException | None = None
    ready: bool = True
    processes: "list[subprocess.Popen[bytes]]" = field(default_factory=list)

    def start(self, *_: object) -> Running:
        """Start a process that serves nothing."""
        process = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
        self.processes.append(process)
        return Running(process.pid, started(process.pid), 9000 + len(self.processes), {})

    def route(self, weights: Mapping[int, int]) -> None:
        """Take a note, or refuse once."""
        self.routes.append(weights)
        error, self.refuses = self.refuses, None
        if error is not None:
            raise error

    def gets_ready(self, *_: object) -> bool:
        """Stand in for asking it over HTTP."""
        return self.ready

    @property
    def running(self) -> list[int]:
        """Return the ports of what has not ended."""
        return [9001 + number for number, process in enumerate(self.processes) if process.poll() is None]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Return a site's folder, and take the place of nginx and of `bedside serve`."""
    for name in ("certificate.pem", "key.pem"):
        (tmp_path / name).touch()
    (tmp_path / "settings.toml").write_text('env = "test"\n')
    world = World(tmp_path)
    monkeypatch.setattr(local, "nginx", lambda: "nginx")
    monkeypatch.setattr(Gateway, "route", lambda _self, weights, _most: world.route(weights))
    monkeypatch.setattr(Gateway, "stop", lambda _self: world.route({}))
    monkeypatch.setattr(Site, "_start", world.start)
    monkeypatch.setattr(local, "_gets_ready", world.gets_ready)
    yield world
    for process in world.processes:
        process.kill()
        process.wait()


def test_without_nginx_nothing_starts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody would know of the process."""

    def missing() -> str:
        raise ConfigurationError("nginx is needed", field="site")

    monkeypatch.setattr(local, "nginx", missing)
    with pytest.raises(ConfigurationError, match="nginx"):
        Site(world.folder).deploy(PRODUCTION, PINS, None)
    assert world.processes == []


@pytest.mark.parametrize("error", [GatewayFailed, KeyboardInterrupt])
def test_what_the_gateway_refuses_ends_and_all_is_as_before(world: World, error: type[BaseException]) -> None:
    """The gateway is told the old weights again: it may have heard the new ones before an interrupt."""
    site = Site(world.folder)
    site.deploy(PRODUCTION, PINS, None)
    world.refuses = error()
    with pytest.raises(error):
        site.deploy(PRODUCTION, PINS, None)
    assert world.running == [9001]
    assert world.routes == [{9001: 100}, {9002: 100}, {9001: 100}]
    assert Site(world.folder).environment(PRODUCTION).port == 9001


@pytest.mark.parametrize("mode", [0o770, 0o702])
def test_a_folder_that_others_may_write_to_is_no_site(world: World, mode: int) -> None:
    """Whoever may exchange what lies there has the site's key, and says what runs."""
    world.folder.chmod(mode)
    with pytest.raises(ConfigurationError, match="chmod"):
        Site(world.folder)


def test_what_a_site_writes_is_its_users_and_no_link_is_followed(world: World) -> None:
    """A link that somebody has put there would have another file of this user's written over; nothing starts."""
    (world.folder / ".site.json").touch(0o666)
    site = Site(world.folder)
    site.deploy(PRODUCTION, PINS, None)
    for name in ("site.json", "site.lock"):
        assert (world.folder / name).stat().st_mode & 0o777 == 0o600
    (world.folder / "site.lock").unlink()
    (world.folder / "site.lock").symlink_to(world.folder / "elsewhere")
    with pytest.raises(ConfigurationError, match=r"site\.lock"):
        site.deploy(PRODUCTION, PINS, None)
    assert not (world.folder / "elsewhere").exists()
    assert world.running == [9001]


def test_a_first_deployment_that_fails_leaves_nothing(world: World) -> None:
    """Neither a process nor a gateway without a server."""
    world.refuses = GatewayFailed()
    with pytest.raises(GatewayFailed):
        Site(world.folder).deploy(PRODUCTION, PINS, None)
    assert world.running == []
    assert world.routes[-1] == {}


@pytest.mark.parametrize("error", [KeyboardInterrupt, DeployFailed])
def test_what_does_not_get_ready_ends(
    world: World, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where somebody loses patience."""
    world.ready = False
    if error is KeyboardInterrupt:

        def interrupt(*_: object) -> bool:
            raise KeyboardInterrupt

        monkeypatch.setattr(local, "_gets_ready", interrupt)
    with pytest.raises(error):
        Site(world.folder).deploy(PRODUCTION, PINS, None)
    assert world.running == []


def test_a_gate_does_not_undo_a_deployment_beside_it(world: World) -> None:
    """Both opened the site at one time; the weight goes to what production is now."""
    Site(world.folder).deploy(PRODUCTION, PINS, None)
    Site(world.folder).deploy("dev", PINS, None)
    gate = Site(world.folder)
    Site(world.folder).deploy(PRODUCTION, PINS, None)
    gate.weigh(25)
    assert world.routes[-1] == {9003: 75, 9002: 25}
    assert Site(world.folder).environment(PRODUCTION).port == 9003


def test_a_gate_gives_no_weight_to_another_canary_than_its_own(world: World) -> None:
    """What took its place has passed nothing; and what was promoted keeps all calls."""
    Site(world.folder).deploy(PRODUCTION, PINS, None)
    Site(world.folder).deploy("dev", PINS, None)
    gate, late = Site(world.folder), Site(world.folder)
    Site(world.folder).deploy("dev", PINS, None)
    with pytest.raises(ConfigurationError, match="replaced"):
        gate.weigh(25)
    assert world.routes[-1] == {9001: 100, 9003: 0}
    Site(world.folder).promote("dev")
    late.weigh(0)
    assert world.routes[-1] == {9003: 100}
    assert world.running == [9003]


def test_two_canaries_at_one_time_are_refused_at_the_last_moment_too(world: World) -> None:
    """Neither command saw the other's when it began."""
    Site(world.folder).deploy(PRODUCTION, PINS, None)
    first, second = Site(world.folder), Site(world.folder)
    first.deploy("dev", PINS, None)
    with pytest.raises(ConfigurationError, match="canary already"):
        second.deploy("other", PINS, None)
    assert world.running == [9001, 9002]


def test_a_stopped_site_runs_nothing_and_to_withdraw_from_it_changes_nothing(world: World) -> None:
    """The gateway first."""
    site = Site(world.folder)
    site.deploy(PRODUCTION, PINS, None)
    site.stop()
    assert world.running == []
    assert world.routes[-1] == {}
    before = len(world.routes)
    site.withdraw("dev")
    assert len(world.routes) == before


def test_promoting_begins_a_new_log(world: World) -> None:
    """It would grow for ever; the one before is kept."""
    Site(world.folder).deploy(PRODUCTION, PINS, None)
    Site(world.folder).deploy("dev", PINS, None)
    log = world.folder / "gateway" / "access.log"
    log.parent.mkdir()
    log.touch()
    Site(world.folder).promote("dev")
    assert [path.name for path in log.parent.iterdir()] == ["access.log.1"]


def test_another_process_with_its_number_is_left_alone(world: World) -> None:
    """Numbers are given out again, after a reboot above all."""
    running = world.start()
    _retire(Running(running.process, running.started - 1, 1, {}))
    assert _runs(running)


def test_one_that_ends_while_it_is_ended_is_ended(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look and the signal."""
    running, kill = world.start(), os.kill

    def late(process: int, number: int) -> None:
        with suppress(ProcessLookupError):
            kill(process, number)
        raise ProcessLookupError

    monkeypatch.setattr(os, "kill", late)
    _retire(running)
    _retire(running)
    assert not _runs(running)


def left_by_a_gate(world: World) -> Site:
    """Return a site whose canary has half of the calls, of a gate that has ended."""
    site = Site(world.folder)
    site.deploy(PRODUCTION, PINS, None)
    site.deploy("dev", PINS, None)
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        gate = [ended.pid, started(ended.pid) or 1]
    path = world.folder / "site.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"canary_percent": 50, "gate": gate}))
    return Site(world.folder)


def test_a_weight_that_a_gate_has_left_goes_with_the_next_change(world: World) -> None:
    """Whatever that is; here an update of production."""
    left_by_a_gate(world).deploy(PRODUCTION, PINS, None)
    assert world.routes[-1] == {9002: 0, 9003: 100}
    assert json.loads((world.folder / "site.json").read_text())["gate"] == [0, 0]


@pytest.mark.parametrize(("said", "weight"), [(b"", 0), (b"done", 50)])
def test_a_watcher_acts_where_the_gate_said_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, said: bytes, weight: int
) -> None:
    """One that ended in its own way has taken its weight back, or has none to take."""
    left_by_a_gate(world)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(said)))
    watch.main(world.folder)
    assert json.loads((world.folder / "site.json").read_text())["canary_percent"] == weight


def test_a_gate_that_runs_keeps_its_weight(world: World) -> None:
    """Until it takes it back itself, or its patience with a process that ends is over."""
    site = Site(world.folder)
    site.deploy(PRODUCTION, PINS, None)
    site.deploy("dev", PINS, None)
    site.weigh(25)
    assert Site(world.folder).mend()
    assert world.routes[-1] == {9001: 75, 9002: 25}
    site.weigh(0)
    assert not Site(world.folder).mend()
    assert world.routes[-1] == {9001: 100, 9002: 0}
