"""``bedside ship``: the steps between a commit and what an environment runs."""

import subprocess
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bedside.cli.delivery_log import Events, delivery_log
from bedside.delivery.detect import as_json
from bedside.delivery.detect import detect as changed
from bedside.delivery.local import PRODUCTION, Site
from bedside.delivery.pins import Pins, previous_pins, read_pins, write_pins
from bedside.delivery.record import deliveries, recorded
from bedside.errors import BedsideError, ConfigurationError

ENVIRONMENTS = Path("deploy/k8s/environments")
OVERLAYS = Path("deploy/k8s/overlays")

ship_app = typer.Typer(help="From a commit to what an environment runs (docs/deployment.md).", no_args_is_help=True)

ENVIRONMENT = typer.Argument(help="Name of the environment: dev, production …", show_default=False)
FOLDER = typer.Option(help="Folder of the environments.")
SITE = typer.Option(help="Folder of a site on this machine (docs/rehearsal.md).", show_default=False)


class Target(StrEnum):
    """Where an environment runs."""

    LOCAL = "local"
    K3S = "k3s"
    EKS = "eks"
    KSERVE = "kserve"


_OVERLAYS = {Target.K3S: "onprem", Target.EKS: "aws", Target.KSERVE: "kserve"}


class RolloutFailed(BedsideError):
    """Read what kubectl said above; what ran before goes on."""


@ship_app.command()
def detect(
    base: Annotated[str, typer.Argument(help="Commit before; zeros for none.", show_default=False)],
    head: Annotated[str, typer.Argument(help="Commit after.")] = "HEAD",
    repository: Annotated[Path, typer.Option(help="Git repository.")] = Path(),
    apps: Annotated[str, typer.Option(help="Folder of the bundles in it.")] = "apps",
) -> None:
    """Print as JSON which bundles changed between two commits: added, modified, renamed, deleted."""
    typer.echo(as_json(changed(repository, base, head, apps)))


@ship_app.command()
def pin(
    environment: Annotated[str, ENVIRONMENT],
    bundle: Annotated[list[str] | None, typer.Option(help="NAME=REGISTRY/…@sha256:…; may be repeated.")] = None,
    image: Annotated[str | None, typer.Option(help="Runtime image, REGISTRY/…@sha256:….")] = None,
    withdraw: Annotated[list[str] | None, typer.Option(help="Bundle to serve no longer; may be repeated.")] = None,
    folder: Annotated[Path, FOLDER] = ENVIRONMENTS,
) -> None:
    """Write what an environment runs; prints the files that changed. Committing them deploys, reverting rolls back."""
    pins = read_pins(folder / environment)
    for name in withdraw or ():
        pins = pins.without_bundle(name)
    for given in bundle or ():
        name, separator, reference = given.partition("=")
        if not separator:
            raise ConfigurationError("--bundle is NAME=REFERENCE", field="bundle")
        pins = pins.with_bundle(name, reference)
    _write(folder / environment, pins.with_image(image) if image else pins)


@ship_app.command()
def deploy(  # noqa: PLR0913, PLR0917 - each is an option of the command
    environment: Annotated[str, ENVIRONMENT],
    target: Annotated[Target, typer.Option(help="Where it runs.")] = Target.LOCAL,
    site: Annotated[Path | None, SITE] = None,
    registry: Annotated[
        Path | None, typer.Option(help="local: folder of OCI layouts in place of the registry.", show_default=False)
    ] = None,
    port: Annotated[int, typer.Option(help="local: HTTPS port of a gateway that does not run yet.")] = 8443,
    overlay: Annotated[
        str | None, typer.Option(help="Kustomize overlay. [default: onprem, aws or kserve by target]")
    ] = None,
    minutes: Annotated[int, typer.Option(help="Time to get ready.", min=1)] = 20,
    events: Events = None,
    folder: Annotated[Path, FOLDER] = ENVIRONMENTS,
) -> None:
    """Make what an environment pins run; calls go on meanwhile.

    On this machine, `production` answers behind the gateway, and any other environment waits beside it for
    `bedside ship gate`. On a cluster the overlay is applied; where it has a canary, that is waited for.
    """
    pins = read_pins(folder / environment)
    if target is not Target.LOCAL:
        changes = deliveries(folder / environment, target, _pinned_before(folder / environment), pins.bundles)
        with delivery_log(events, None), recorded(changes):
            _apply(overlay or _OVERLAYS[target], minutes)
    elif site is None:
        raise ConfigurationError("--site names the folder of a site on this machine", field="site")
    else:
        opened = Site(site, port)
        changes = deliveries(folder / environment, target, opened.bundles(environment), pins.bundles)
        with delivery_log(events, site), recorded(changes):
            running = opened.deploy(environment, pins, registry, minutes * 60.0)
        typer.echo(opened.url if environment == PRODUCTION else running.url)


@ship_app.command()
def promote(
    source: Annotated[str, typer.Argument(help="Environment that runs what is wanted.", show_default=False)],
    target: Annotated[str, typer.Argument(help="Environment that shall run it.", show_default=False)],
    bundle: Annotated[list[str] | None, typer.Option(help="Only this bundle; may be repeated. [default: all]")] = None,
    site: Annotated[Path | None, SITE] = None,
    events: Events = None,
    folder: Annotated[Path, FOLDER] = ENVIRONMENTS,
) -> None:
    """Write into one environment what another runs, digest for digest; prints the files that changed.

    With `--site`, the processes of the first take the place of the other's, and all its calls.
    """
    proven, pins = read_pins(folder / source), read_pins(folder / target)
    if bundle:
        missing = [name for name in bundle if name not in proven.bundles]
        if missing:
            raise ConfigurationError(f"{source} does not run {missing[0]}", field="bundle")
        for name in bundle:
            pins = pins.with_bundle(name, proven.bundles[name])
    else:
        pins = proven
    if site is not None:
        opened = Site(site)
        changes = deliveries(folder / target, Target.LOCAL, opened.bundles(target), pins.bundles, "promote")
        with delivery_log(events, site), recorded(changes):
            _promote_here(opened, source, target, pins)
    _write(folder / target, pins)


@ship_app.command()
def rollback(
    environment: Annotated[str, ENVIRONMENT],
    site: Annotated[Path | None, SITE] = None,
    registry: Annotated[
        Path | None, typer.Option(help="Folder of OCI layouts in place of the registry.", show_default=False)
    ] = None,
    events: Events = None,
    folder: Annotated[Path, FOLDER] = ENVIRONMENTS,
) -> None:
    """Write what an environment ran before its last commit; prints the files that changed.

    With `--site`, a canary is ended first, and production gets its earlier bundles back while calls go on.
    """
    # What must not answer is ended before anything is asked that can be wrong.
    opened = Site(site) if site is not None else None
    ran = opened.bundles(environment) if opened is not None else {}
    if opened is not None and environment != PRODUCTION:
        opened.withdraw(environment)
    pins = previous_pins(folder / environment)
    if opened is not None:
        changes = deliveries(folder / environment, Target.LOCAL, ran, pins.bundles, "rollback")
        with delivery_log(events, site), recorded(changes):
            if environment == PRODUCTION:
                opened.deploy(environment, pins, registry)
    _write(folder / environment, pins)


def _pinned_before(environment: Path) -> Mapping[str, str]:
    """Return what an environment of a cluster ran, by its history; nothing where that begins now."""
    try:
        return previous_pins(environment).bundles
    except ConfigurationError:
        return {}


def _promote_here(site: Site, source: str, target: str, pins: Pins) -> None:
    """Let a canary take production's place, where it runs what production shall run."""
    if target != PRODUCTION:
        raise ConfigurationError(f"on one machine, canaries become {PRODUCTION}", field="target")
    if dict(site.environment(source).bundles) != dict(pins.bundles):
        raise ConfigurationError(f"{source} runs other bundles than {target} would: deploy it first", field="source")
    site.promote(source)


def _apply(overlay: str, minutes: int) -> None:
    """Apply an overlay, wait for its canary or its roll-out, and take a roll-out back that does not get ready."""
    # Server-side: a field that somebody else owns is a conflict, not an overwriting.
    _kubectl("apply", "--server-side", "--field-manager=bedside-pipeline", "-k", str(OVERLAYS / overlay))
    bedside = ["--namespace", "bedside"]
    if _succeeds(*bedside, "get", "canary", "bedside"):
        # Flagger moves the weights and takes them back by itself; this says which of the two it was.
        _kubectl(*bedside, "wait", "canary/bedside", "--for=condition=Promoted", f"--timeout={minutes}m")
    elif not _succeeds(*bedside, "rollout", "status", "deployment/bedside", f"--timeout={minutes}m"):
        _kubectl(*bedside, "rollout", "undo", "deployment/bedside")
        raise RolloutFailed("rolled back: what ran before runs again")


def _kubectl(*arguments: str) -> None:
    if not _succeeds(*arguments):
        raise RolloutFailed


def _succeeds(*arguments: str) -> bool:
    try:
        return subprocess.run(["kubectl", *arguments], check=False).returncode == 0  # noqa: S603, S607 - the site's own
    except FileNotFoundError:
        raise ConfigurationError("kubectl is needed on the PATH", field="target") from None


def _write(environment: Path, pins: Pins) -> None:
    for path in write_pins(environment, pins):
        typer.echo(path)
