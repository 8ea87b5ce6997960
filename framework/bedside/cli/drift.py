"""``bedside drift``: what an administrator does about the reference of drift (docs/observability.md)."""

from typing import Annotated

import typer

from bedside.cli.server import URL, Ca, Token, Url, asked, connected

drift_app = typer.Typer(name="drift", help="What the drift of answers is measured against.", no_args_is_help=True)
reference_app = typer.Typer(
    name="reference", help="The reference: read it, or begin it anew; needs bedside.admin.", no_args_is_help=True
)
drift_app.add_typer(reference_app)


Model = Annotated[str, typer.Argument(help="Name of the model.", metavar="MODEL")]
Version = Annotated[str | None, typer.Option(help="Of this version, not of the one that answers.", show_default=False)]


@reference_app.command()
def show(model: Model, version: Version = None, url: Url = URL, token: Token = None, ca: Ca = None) -> None:
    """Print the reference as JSON, in the form of a bundle's golden/reference.json."""
    with connected(url, token, ca) as client:
        typer.echo(asked(client, "GET", f"/v1/models/{model}/reference", params=_of(version)).text)


@reference_app.command()
def renew(model: Model, version: Version = None, url: Url = URL, token: Token = None, ca: Ca = None) -> None:
    """Take the next answers as the reference: a shift was looked at, and is accepted."""
    with connected(url, token, ca) as client:
        done = asked(client, "POST", f"/v1/models/{model}/reference/renew", params=_of(version)).json()
    typer.echo(f"the next {done['answers']} answers of {model} {done['version']} are its reference")


def _of(version: str | None) -> dict[str, str]:
    return {"version": version} if version else {}
