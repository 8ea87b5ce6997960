"""``bedside dashboards``: dashboards and alerts, as Kibana takes them."""

from pathlib import Path
from typing import Annotated

import typer

from bedside.dashboards.export import export as write
from bedside.errors import ConfigurationError

dashboards_app = typer.Typer(help="Dashboards and alerts as code (docs/observability.md).", no_args_is_help=True)


@dashboards_app.command()
def export(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the files.")] = Path("deploy/elastic"),
) -> None:
    """Write `dashboards.ndjson` (saved objects, Kibana 8.9 on), `api/` (Dashboards API, 9.5 on), `rules/` (alerts)."""
    try:
        for path in write(output):
            typer.echo(path)
    except OSError as error:
        raise ConfigurationError(f"{output} cannot be written: {error.strerror}", field="output") from None
