"""``bedside serve``."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from bedside import bootstrap
from bedside.bundle.folder import BundleFolder, find_bundles, open_bundle
from bedside.cli.terminal import plain
from bedside.errors import ConfigurationError
from bedside.settings import load_settings

BUNDLES = typer.Argument(help="Bundle folders, or folders of bundles.", metavar="BUNDLE_OR_DIR...", show_default=False)


def serve(  # noqa: PLR0913, PLR0917 - each is an option of the command
    bundles: Annotated[list[Path], BUNDLES],
    host: Annotated[str | None, typer.Option(help="Address to listen on. [default: 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one. [default: 8000]")] = None,
    model_name: Annotated[str | None, typer.Option(help="The model's name; one bundle only. [default: folder]")] = None,
    grpc_port: Annotated[int | None, typer.Option(help="Port for gRPC too; 0 takes a free one. [default: off]")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes per model. [default: 1]")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file with settings (docs/settings.md).")] = None,
    tls_certificate: Annotated[Path | None, typer.Option(help="PEM certificate chain; turns HTTPS on.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM private key.")] = None,
) -> None:
    """Serve bundles over HTTP, and gRPC where it has a port, until SIGTERM or Ctrl-C.

    Every bundle makes one real forward pass before `/readyz` answers 200. Logs go to standard output, one JSON object
    a line; what people read goes to standard error.
    """
    addresses = {"host": host, "port": port, "grpc_port": grpc_port}
    certificate = {"tls_certificate": tls_certificate, "tls_key": tls_key}
    settings = load_settings(config, server=_given({**addresses, **certificate}), runtime=_given({"workers": workers}))
    folders = _named([open_bundle(root) for root in find_bundles(bundles)], model_name)
    console = Console(stderr=True)

    if not settings.auth.issuer:
        console.print("Embedded issuer, for this machine only. A token: [bold]bedside token[/bold]", highlight=False)
    console.print("Not a medical device.", style="dim")
    bootstrap.serve(settings, folders, lambda line: console.print(plain(line), highlight=False))


def _named(folders: list[BundleFolder], name: str | None) -> list[BundleFolder]:
    if name is None:
        return folders
    if len(folders) != 1:
        raise ConfigurationError("one name for several bundles", field="model-name")
    return [folders[0].named(name)]


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}
