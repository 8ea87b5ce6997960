"""``bedside map``: bundles as MONAI Application Packages (docs/monai-deploy.md)."""

from pathlib import Path
from typing import Annotated

import typer

from bedside.cli.options import Bundle
from bedside.monai_deploy import package

map_app = typer.Typer(name="map", help="Pack bundles for MONAI Deploy.", no_args_is_help=True)


@map_app.command()
def export(
    path: Bundle,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder to write; empty, or not there.", show_default=False)
    ],
    kind: Annotated[
        package.Kind,
        typer.Option("--type", help="application: folder in, folder out; service: bedside serve."),
    ] = "application",
    memory: Annotated[str, typer.Option(help="Memory that a host should set aside.")] = "4Gi",
) -> None:
    """Write the build context of a MONAI Application Package: the same files for the same bundle.

    Its application is the bundle's app.py, else Bedside's own. Build it with `docker build` or `buildah build`; the
    base is Bedside's image with the extra `map` (docs/monai-deploy.md).
    """
    typer.echo(package.export(path, output, kind=kind, memory=memory))
