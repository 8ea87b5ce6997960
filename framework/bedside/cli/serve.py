"""``bedside serve``."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from bedside.cli.options import Config
from bedside.cli.terminal import plain
from bedside.settings import load_settings
from bedside.storage.sources import open_source

SOURCES = typer.Argument(
    help="Bundle folders, folders of bundles, archives, s3://BUCKET/PREFIX, oci://HOST/REPOSITORY:TAG "
    "(docs/repository.md).",
    metavar="SOURCE...",
    show_default=False,
)


def serve(  # noqa: PLR0913, PLR0917 - each is an option of the command
    sources: Annotated[list[str], SOURCES],
    host: Annotated[str | None, typer.Option(help="Address to listen on. [default: 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one. [default: 8000]")] = None,
    model_name: Annotated[str | None, typer.Option(help="The model's name; one model only. [default: folder]")] = None,
    grpc_port: Annotated[int | None, typer.Option(help="Port for gRPC too; 0 takes a free one. [default: off]")] = None,
    dicom_port: Annotated[int | None, typer.Option(help="Port for C-STORE; 0 takes a free one. [default: off]")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes per model. [default: 1]")] = None,
    config: Config = None,
    tls_certificate: Annotated[Path | None, typer.Option(help="PEM certificate chain; turns HTTPS on.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM private key.")] = None,
) -> None:
    """Serve bundles over HTTP, and gRPC where it has a port, until SIGTERM or Ctrl-C.

    Every bundle makes one real forward pass, and answers its golden cases, before `/readyz` answers 200. SIGHUP has the
    sources looked at again. Logs go to standard output, one JSON object
    a line; what people read goes to standard error.
    """
    addresses = {"host": host, "port": port, "grpc_port": grpc_port}
    certificate = {"tls_certificate": tls_certificate, "tls_key": tls_key}
    settings = load_settings(
        config,
        server=_given({**addresses, **certificate}),
        runtime=_given({"workers": workers}),
        dicom=_given({"port": dicom_port}),
    )
    console = Console(stderr=True)

    def announce(line: str) -> None:
        console.print(plain(line), highlight=False)

    opened = [open_source(source, settings, announce) for source in sources]
    if not settings.auth.issuer:
        console.print("Embedded issuer, for this machine only. A token: [bold]bedside token[/bold]", highlight=False)
    console.print("Not a medical device.", style="dim")
    from bedside import bootstrap  # noqa: PLC0415 - two seconds that other commands need not

    bootstrap.serve(settings, opened, announce, model_name)


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}
