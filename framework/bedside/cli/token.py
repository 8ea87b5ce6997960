"""``bedside token``."""

from typing import Annotated

import typer

from bedside.cli.options import Config
from bedside.settings import load_settings


def token(
    scope: Annotated[
        list[str] | None,
        typer.Option(
            help="Scope, repeatable: bedside.infer, bedside.infer:MODEL, bedside.admin. [default: bedside.infer]"
        ),
    ] = None,
    subject: Annotated[str, typer.Option(help="Who the token is for.")] = "developer",
    lifetime: Annotated[int, typer.Option(help="Seconds until the token expires.", min=1, max=86400)] = 3600,
    config: Config = None,
) -> None:
    """Print a token of the embedded issuer, for calls to a server on this machine.

    Where an OIDC issuer is configured, get tokens from it instead.
    """
    from bedside import bootstrap  # noqa: PLC0415 - two seconds that other commands need not

    settings = load_settings(config)
    typer.echo(
        bootstrap.mint_token(settings, subject=subject, scopes=tuple(scope or ["bedside.infer"]), seconds=lifetime)
    )
