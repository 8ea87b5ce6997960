"""The command line: one module per command or group of commands."""

import sys
from typing import NoReturn

import typer
from rich.console import Console
from rich.text import Text

from bedside.cli.admission import sign, verify, vet
from bedside.cli.audit import audit_app
from bedside.cli.bundle import bundle_app
from bedside.cli.dashboards import dashboards_app
from bedside.cli.delivery import pack, pull, push
from bedside.cli.dicom import dicom_app
from bedside.cli.drift import drift_app
from bedside.cli.gate import gate
from bedside.cli.health import health
from bedside.cli.jobs import jobs_app
from bedside.cli.map import map_app
from bedside.cli.observability import observability_app
from bedside.cli.predict import predict
from bedside.cli.serve import serve
from bedside.cli.ship import ship_app
from bedside.cli.terminal import plain
from bedside.cli.token import token
from bedside.cli.top import top
from bedside.cli.truth import truth_app
from bedside.errors import BedsideError
from bedside.version import __version__

app = typer.Typer(
    name="bedside",
    help="Serve MONAI bundles as authenticated, contract-checked endpoints. Not a medical device.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
app.command()(serve)
app.command()(predict)
app.command()(token)
app.command()(health)
app.command()(top)
for command in (vet, sign, verify, pack, push, pull):
    bundle_app.command()(command)
ship_app.command()(gate)
app.add_typer(bundle_app, name="bundle")
app.add_typer(ship_app, name="ship")
app.add_typer(dicom_app, name="dicom")
app.add_typer(jobs_app, name="jobs")
app.add_typer(dashboards_app, name="dashboards")
app.add_typer(map_app, name="map")
app.add_typer(audit_app, name="audit")
app.add_typer(observability_app, name="observability")
app.add_typer(truth_app, name="truth")
app.add_typer(drift_app, name="drift")


def _print_version(value: bool) -> None:  # noqa: FBT001 - typer's callback signature
    if value:
        typer.echo(f"bedside {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(  # noqa: FBT001 - handled by the callback
        False,
        "--version",
        callback=_print_version,
        is_eager=True,
        help="Print the version and exit.",
    ),
) -> None:
    """Serve MONAI bundles as authenticated, contract-checked endpoints. Not a medical device."""


def main() -> None:
    """Run the command line; an error is one sentence that says what to do, never a stack trace."""
    try:
        app()
    except BedsideError as error:
        _fail(f"{error.detail}{f' ({error.field})' if error.field else ''}")
    except OSError as error:
        if error.filename is None:
            raise  # no file that was named on the command line
        _fail(f"{error.filename}: {error.strerror}")


def _fail(why: str) -> NoReturn:
    message = Text.assemble(("Error:", "bold red"), " ", plain(why))
    Console(stderr=True).print(message, highlight=False, soft_wrap=True)
    sys.exit(1)
