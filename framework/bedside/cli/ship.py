"""``bedside ship``: the steps between a commit and what an environment runs."""

from pathlib import Path
from typing import Annotated

import typer

from bedside.delivery.detect import as_json
from bedside.delivery.detect import detect as changed
from bedside.delivery.pins import Pins, read_pins, write_pins
from bedside.errors import ConfigurationError

ENVIRONMENTS = Path("deploy/k8s/environments")

ship_app = typer.Typer(help="From a commit to what an environment runs (docs/deployment.md).", no_args_is_help=True)

ENVIRONMENT = typer.Argument(help="Name of the environment: dev, production …", show_default=False)
FOLDER = typer.Option(help="Folder of the environments.")


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
def promote(
    source: Annotated[str, typer.Argument(help="Environment that runs what is wanted.", show_default=False)],
    target: Annotated[str, typer.Argument(help="Environment that shall run it.", show_default=False)],
    bundle: Annotated[list[str] | None, typer.Option(help="Only this bundle; may be repeated. [default: all]")] = None,
    folder: Annotated[Path, FOLDER] = ENVIRONMENTS,
) -> None:
    """Write into one environment what another runs, digest for digest; prints the files that changed."""
    proven, pins = read_pins(folder / source), read_pins(folder / target)
    if bundle:
        missing = [name for name in bundle if name not in proven.bundles]
        if missing:
            raise ConfigurationError(f"{source} does not run {missing[0]}", field="bundle")
        for name in bundle:
            pins = pins.with_bundle(name, proven.bundles[name])
    else:
        pins = proven
    _write(folder / target, pins)


def _write(environment: Path, pins: Pins) -> None:
    for path in write_pins(environment, pins):
        typer.echo(path)
