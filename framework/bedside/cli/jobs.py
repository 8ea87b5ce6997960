"""``bedside jobs``: what an administrator does about jobs and results that were given up (docs/jobs.md)."""

from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.table import Table

from bedside.cli.server import URL, Ca, Token, Url, asked, connected
from bedside.cli.terminal import plain

jobs_app = typer.Typer(
    name="jobs", help="Dead letters: jobs, and deliveries of results, that were given up.", no_args_is_help=True
)

_OK_OR_CONFLICT = (httpx.codes.OK, httpx.codes.CONFLICT)


@jobs_app.command()
def dead(url: Url = URL, token: Token = None, ca: Ca = None) -> None:
    """List dead jobs, and results that an archive would not take, with their reasons; needs the scope bedside.admin."""
    table = Table("job", "what", "why", box=None, pad_edge=False)
    with connected(url, token, ca) as client:
        jobs = asked(client, "GET", "/v1/jobs", params={"state": "dead"}).json()
        deliveries = asked(client, "GET", "/v1/deliveries").json()
    for job in jobs:
        _add(table, job["id"], f"job for {job['model']} {job['version']}", job.get("error", {}).get("detail"))
    for delivery in deliveries:
        _add(table, delivery["job"], f"delivery to {delivery['destination']}", delivery["error"])
    Console().print(table)


@jobs_app.command()
def redrive(
    jobs: Annotated[list[str], typer.Argument(help="Ids from `bedside jobs dead`.", metavar="JOB...")],
    url: Url = URL,
    token: Token = None,
    ca: Ca = None,
) -> None:
    """Try dead jobs again, and dead deliveries of the results of others; needs the scope bedside.admin."""
    with connected(url, token, ca) as client:
        for job in jobs:
            answer = asked(client, "POST", f"/v1/jobs/{job}/redrive", expected=_OK_OR_CONFLICT)
            if answer.status_code == httpx.codes.CONFLICT:  # it is not dead; what it found may not have arrived
                asked(client, "POST", f"/v1/deliveries/{job}/redrive")
            typer.echo(f"{job} is driven again")


def _add(table: Table, *cells: Any) -> None:
    table.add_row(*(plain(cell or "") for cell in cells))
