"""A site on this machine: real processes behind a real nginx, with TLS and weights."""

import json
import shutil
import ssl
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from caller import Caller
from demo.certificate import make_certificate
from faults import wrong_weights
from tests.waiting import wait_until
from typer.testing import CliRunner

from bedside import bootstrap
from bedside.bundle.folder import open_bundle
from bedside.cli import app
from bedside.delivery.gateway import Gateway, GatewayFailed
from bedside.delivery.local import PRODUCTION, DeployFailed, Site
from bedside.delivery.pins import Pins
from bedside.delivery.processes import free_port
from bedside.errors import ConfigurationError
from bedside.settings import load_settings
from bedside.storage.artifact import make_artifact
from bedside.storage.layout import push_to_layout

APP = Path(__file__).resolve().parents[2] / "apps" / "heart_disease"
IMAGE = f"ghcr.io/bedside/bedside@sha256:{'0' * 64}"
RECORD: dict[str, Any] = next(iter(json.loads((APP / "golden" / "cases.json").read_text())[0]["inputs"].values()))


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pins]:
    """Return pins of two versions of a bundle, of one that has learnt nothing, and of one that cannot be loaded."""
    folder = tmp_path_factory.mktemp("registry")
    found = {}
    for version in ("1.0.0", "2.0.0", "wrong", "broken"):
        root = Path(shutil.copytree(APP, folder / version / "heart_disease"))
        metadata = root / "configs" / "metadata.json"
        metadata.write_text(metadata.read_text().replace('"version": "0.1.0"', f'"version": "{version}"'))
        if version == "wrong":
            wrong_weights(root)
        if version == "broken":
            (root / "models" / "model.pt").write_bytes(b"no weights")
        artifact = make_artifact(root, folder / version)
        push_to_layout(artifact, folder / "layouts" / "heart_disease", version)
        pinned = {"heart_disease": f"localhost/bundles/heart_disease@{artifact.digest}"}
        found[version] = Pins(IMAGE, pinned)
    return found


@pytest.fixture(scope="module")
def layouts(tmp_path_factory: pytest.TempPathFactory, registry: dict[str, Pins]) -> Path:
    """Return the folder that stands in for a registry."""
    return next(tmp_path_factory.getbasetemp().glob("registry*/layouts"))


def _folder(place: Path) -> Path:
    if shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin") is None:
        pytest.skip("needs nginx: scripts/install_test_servers.sh")
    site = place / "site"
    make_certificate(site)
    (site / "settings.toml").write_text(
        f'env = "test"\n[runtime]\nstate_dir = "{place}/state"\n[registry]\ncache_dir = "{place}/cache"\n'
    )
    return site


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a site's folder with certificate and settings."""
    return _folder(tmp_path)


@pytest.fixture
def site(folder: Path, registry: dict[str, Pins], layouts: Path) -> Iterator[Site]:
    """Return a site whose production runs 1.0.0."""
    opened = Site(folder, free_port())
    try:
        opened.deploy(PRODUCTION, registry["1.0.0"], layouts)
        yield opened
    finally:
        opened.stop()


@pytest.fixture(scope="module")
def pair(
    tmp_path_factory: pytest.TempPathFactory, registry: dict[str, Pins], layouts: Path
) -> Iterator[tuple[Site, Path]]:
    """Return a site, and its folder, whose canary gets no calls; it was opened from a bad place, with a token."""
    here = tmp_path_factory.mktemp("here")
    for name in ("bedside", "torch", "monai", "signal"):
        (here / f"{name}.py").write_text("raise SystemExit('hostile')")
    opened = Site(folder := _folder(tmp_path_factory.mktemp("pair")), free_port())
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(here)
            patch.setenv("BEDSIDE_TOKEN", "of-the-command")
            opened.deploy(PRODUCTION, registry["1.0.0"], layouts)
            opened.deploy("dev", registry["2.0.0"], layouts)
        yield opened, folder
    finally:
        opened.stop()


@pytest.fixture
def token(folder: Path) -> str:
    """Return a token that every process of the site takes."""
    return _token(folder)


def _token(folder: Path) -> str:
    settings = load_settings(folder / "settings.toml")
    return bootstrap.mint_token(settings, subject="a", scopes=("bedside.infer",), seconds=3600)


def versions(site: Site, folder: Path, token: str, calls: int = 20) -> Counter[str]:
    """Return which versions answered."""
    verify = ssl.create_default_context(cafile=str(folder / "certificate.pem"))
    with httpx.Client(base_url=site.url, verify=verify, trust_env=False) as client:
        headers = {"authorization": f"Bearer {token}"}
        answers = [client.post("/v1/models/heart_disease/predict", json=RECORD, headers=headers) for _ in range(calls)]
        assert client.post("/v1/models/heart_disease/predict", json=RECORD).status_code == 401
    assert {answer.status_code for answer in answers} == {200}
    return Counter(answer.json()["version"] for answer in answers)


def test_a_canary_gets_what_it_is_given_and_takes_over(
    site: Site, folder: Path, registry: dict[str, Pins], layouts: Path, token: str
) -> None:
    """Nothing, half, all; another command sees the same site; the old process has ended."""
    old = site.environment(PRODUCTION)
    assert versions(site, folder, token) == {"1.0.0": 20}
    site.deploy("dev", registry["2.0.0"], layouts)
    assert versions(site, folder, token) == {"1.0.0": 20}
    site.weigh(50)
    assert versions(site, folder, token) == {"1.0.0": 10, "2.0.0": 10}
    live = Counter(one.candidate for one in site.live() if one.ok)
    assert live[True] >= 10
    assert Site(folder).canary == "dev"
    site.promote("dev")
    assert Site(folder).environment(PRODUCTION).port != old.port
    assert versions(site, folder, token) == {"2.0.0": 20}
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{old.url}/livez", trust_env=False)


def test_a_gate_that_is_killed_leaves_its_canary_no_call(pair: tuple[Site, Path]) -> None:
    """By `kill -9`, which nothing catches; nobody has to come and look."""
    site, folder = pair
    token = _token(folder)
    code = f"from pathlib import Path; from bedside.delivery.local import Site; Site(Path({str(folder)!r})).weigh(50)"
    command = [sys.executable, "-c", f"import signal; {code}; print(flush=True); signal.pause()"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as gate:
        assert gate.stdout is not None
        gate.stdout.readline()
        assert versions(site, folder, token) == {"1.0.0": 10, "2.0.0": 10}
        gate.kill()
    wait_until(lambda: versions(site, folder, token) == {"1.0.0": 20})
    assert Site(folder).environment("dev").port  # it waits, without calls


def test_a_site_keeps_to_itself(pair: tuple[Site, Path]) -> None:
    """Its processes know no credentials of the command, nobody else reads its files, and it imports none of here."""
    site, folder = pair
    gateway = int((folder / "gateway" / "nginx.pid").read_text())
    for process in (site.environment(PRODUCTION).process, site.environment("dev").process, gateway):
        environment = Path(f"/proc/{process}/environ").read_bytes()
        assert b"of-the-command" not in environment
    made = {*folder.rglob("*")} - {folder / name for name in ("certificate.pem", "key.pem", "settings.toml")}
    assert {folder / "production.log", folder / "gateway" / "access.log", folder / "site.json"} <= made
    # What lies below a folder that nobody else may enter is nobody else's.
    assert [path.name for path in made if path.parent == folder and path.stat().st_mode & 0o077] == []


def test_large_bodies_pass(pair: tuple[Site, Path]) -> None:
    """What does not fit into memory is written down by the gateway, which must be allowed to."""
    site, folder = pair
    token = _token(folder)
    verify = ssl.create_default_context(cafile=str(folder / "certificate.pem"))
    with httpx.Client(base_url=site.url, verify=verify, trust_env=False) as client:
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        answer = client.post("/v1/models/heart_disease/predict", content=b" " * 3_000_000, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["request_id"]


@pytest.mark.slow
def test_the_gate_promotes_a_good_canary_under_traffic(
    site: Site, folder: Path, registry: dict[str, Pins], layouts: Path, token: str, tmp_path: Path
) -> None:
    """By copies of users' requests, then by their own; nobody notices."""
    site.deploy("dev", registry["2.0.0"], layouts)
    bundle = layouts.parent / "2.0.0" / "heart_disease"
    caller = Caller(site.url, folder / "certificate.pem", token, "heart_disease")
    caller.start()
    try:
        # Beside seven other tests, times say nothing.
        options = ["--site", str(folder), "--slower-than", "50", "--report", str(tmp_path / "report")]
        result = CliRunner(env={"BEDSIDE_TOKEN": token}).invoke(app, ["ship", "gate", str(bundle), *options])
    finally:
        caller.stop()
    assert result.exit_code == 0, result.output
    assert not caller.lost
    verdict = json.loads((tmp_path / "report" / "verdict.json").read_text())
    assert [stage["name"] for stage in verdict["stages"]] == [
        *("golden", "shadow", "weight 5 %", "weight 25 %", "weight 50 %")
    ]
    assert verdict["digest"] == open_bundle(bundle).digest
    assert caller.answered[verdict["digest"]] >= 60
    assert "promote" in (tmp_path / "report" / "verdict.md").read_text()


@pytest.mark.slow
def test_a_flood_of_strangers_does_not_hold_the_shadow(
    site: Site, folder: Path, registry: dict[str, Pins], layouts: Path, token: str
) -> None:
    """Without a token or with made-up ones, faster than users call: the gate decides all the same, by the users."""
    site.deploy("dev", registry["wrong"], layouts)
    users = Caller(site.url, folder / "certificate.pem", token, "heart_disease")
    strangers = [
        Caller(site.url, folder / "certificate.pem", made_up, "heart_disease") for made_up in ("x", "x.y.z") * 2
    ]
    for caller in (users, *strangers):
        caller.start()
    try:
        options = ["--site", str(folder), "--slower-than", "50", "--json", "--seconds", "120"]
        bundle = layouts.parent / "wrong" / "heart_disease"
        result = CliRunner().invoke(app, ["ship", "gate", str(bundle), *options], input=token + "\n")
    finally:
        for caller in (users, *strangers):
            caller.stop()
    assert result.exit_code == 1, result.output
    assert not users.lost
    assert sum(caller.lost.total() for caller in strangers) > users.made
    shadow = json.loads(result.stdout)["stages"][-1]
    assert (shadow["name"], shadow["outcome"]) == ("shadow", "failed")


@pytest.mark.slow
def test_the_gate_rolls_back_what_learnt_nothing(
    site: Site, folder: Path, registry: dict[str, Pins], layouts: Path, token: str
) -> None:
    """Other answers to most of the users' requests; it never gets one of them itself."""
    site.deploy("dev", registry["wrong"], layouts)
    caller = Caller(site.url, folder / "certificate.pem", token, "heart_disease")
    caller.start()
    try:
        options = ["--site", str(folder), "--slower-than", "50", "--json"]
        bundle = layouts.parent / "wrong" / "heart_disease"
        result = CliRunner().invoke(app, ["ship", "gate", str(bundle), *options], input=token + "\n")
    finally:
        caller.stop()
    assert result.exit_code == 1, result.output
    assert not caller.lost
    assert len(caller.answered) == 1
    rejected = [finding["rule"] for finding in json.loads(result.stdout)["stages"][-1]["findings"] if finding["hits"]]
    assert rejected == ["disagreements"]


@pytest.mark.slow
def test_a_canary_that_is_withdrawn_leaves_production_alone(
    site: Site, folder: Path, registry: dict[str, Pins], layouts: Path, token: str
) -> None:
    """Also when it died meanwhile, and when it is withdrawn twice: a call that met it was answered by production."""
    running = site.deploy("dev", registry["2.0.0"], layouts)
    site.weigh(50)
    subprocess.run(["kill", "-KILL", str(running.process)], check=True)
    assert versions(site, folder, token) == {"1.0.0": 20}
    site.withdraw("dev")
    site.withdraw("dev")
    assert versions(site, folder, token) == {"1.0.0": 20}
    with pytest.raises(ConfigurationError):
        _ = site.canary


@pytest.mark.slow
def test_what_cannot_be_loaded_takes_nobodys_place(
    site: Site, folder: Path, registry: dict[str, Pins], layouts: Path, token: str
) -> None:
    """The reason is told, and production goes on."""
    with pytest.raises(DeployFailed, match="heart_disease is not served"):
        site.deploy(PRODUCTION, registry["broken"], layouts)
    with pytest.raises(ConfigurationError, match="pins no bundle"):
        site.deploy("dev", Pins(IMAGE), layouts)
    site.deploy("dev", registry["1.0.0"], layouts)
    with pytest.raises(ConfigurationError, match="canary already"):
        site.deploy("other", registry["2.0.0"], layouts)
    assert versions(site, folder, token) == {"1.0.0": 20}


def test_a_site_needs_a_certificate_and_nginx_a_configuration_that_holds(folder: Path) -> None:
    """Told before anything runs."""
    with pytest.raises(GatewayFailed):
        Gateway(folder / "gateway", "nowhere:1", 1).route({1: 1}, 1)
    (folder / "key.pem").unlink()
    with pytest.raises(ConfigurationError, match=r"key\.pem"):
        Site(folder)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_no_call_is_lost_while_versions_roll(
    site: Site, folder: Path, registry: dict[str, Pins], layouts: Path, token: str
) -> None:
    """Five updates of production, one after the other, under two callers; each version has answered."""
    callers = [Caller(site.url, folder / "certificate.pem", token, "heart_disease") for _ in range(2)]
    for caller in callers:
        caller.start()
    try:
        for number in range(5):
            site.deploy(PRODUCTION, registry["1.0.0" if number % 2 else "2.0.0"], layouts)
    finally:
        for caller in callers:
            caller.stop()
    lost = sum((caller.lost for caller in callers), Counter[str]())
    answered = sum((caller.answered for caller in callers), Counter[str]())
    assert not lost
    assert answered.total() >= 1000
    assert len(answered) == 2
    assert open_bundle(APP).digest not in answered


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(1800)
def test_a_delivery_is_rehearsed_and_bad_bundles_are_stopped() -> None:
    """One push to answers by the new digest; nine bad ones, and no user's call lost (`make rehearse FAULTS=1`)."""
    command = [sys.executable, str(APP.parents[1] / "deploy" / "rehearse"), "--faults"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "**nothing**" not in done.stdout
    assert "; 0 of them were lost" in done.stdout
