"""``bedside dicom``: what a PACS administrator runs (docs/pacs.md)."""

from typing import Annotated, Any

import typer
from rich.console import Console

from bedside.cli.options import Config
from bedside.cli.terminal import plain
from bedside.settings import load_settings

dicom_app = typer.Typer(
    name="dicom", help="Receive studies by C-STORE, and look at what was received.", no_args_is_help=True
)


@dicom_app.command()
def listen(
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one. [default: dicom.port]")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on. [default: 127.0.0.1]")] = None,
    config: Config = None,
) -> None:
    """Receive studies in a process of its own, until SIGTERM or Ctrl-C.

    What it has received lies in the inbox, which `bedside serve` with the same settings makes jobs of: senders are
    served while models load or servers restart.
    """
    given: dict[str, Any] = {name: value for name, value in {"port": port, "host": host}.items() if value is not None}
    console = Console(stderr=True)
    settings = load_settings(config, dicom=given)
    from bedside import bootstrap  # noqa: PLC0415 - two seconds that other commands need not

    bootstrap.listen(settings, lambda line: console.print(plain(line), highlight=False))


@dicom_app.command()
def inbox(
    drop: Annotated[str, typer.Option(help="Shred the study with this id instead.")] = "",
    config: Config = None,
) -> None:
    """List studies that have been received and are no jobs yet: incomplete ones, and those that no route matches.

    The list names no patient: an id of our own, and how many instances there are.
    """
    from bedside import bootstrap  # noqa: PLC0415 - two seconds that other commands need not

    received = bootstrap.make_inbox(load_settings(config))
    if drop:
        if drop not in received.complete(0):
            raise typer.BadParameter("no such study", param_hint="--drop")
        received.drop(drop)
        return
    for study in received.complete(0):
        typer.echo(f"{study}  {received.count(study)}")
