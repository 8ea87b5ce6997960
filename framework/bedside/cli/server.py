"""The options of commands that call a server, and their client."""

import sys
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

URL = "http://127.0.0.1:8000"

Url = Annotated[str, typer.Option(envvar="BEDSIDE_URL", help="Address of the server.")]
Token = Annotated[
    str | None,
    typer.Option(
        envvar="BEDSIDE_TOKEN", help="Bearer token, or '-' to read it from standard input.", show_default=False
    ),
]
Ca = Annotated[Path | None, typer.Option(envvar="BEDSIDE_CA", help="PEM file that signed the server's certificate.")]


def connected(url: str, token: str | None, ca: Path | None, timeout: float) -> httpx.Client:
    """Return a client that sends the token."""
    bearer = sys.stdin.readline().strip() if token == "-" else token  # noqa: S105 - the option's value
    headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
    verify: Any = str(ca) if ca else True
    return httpx.Client(base_url=url, headers=headers, timeout=timeout, verify=verify)
