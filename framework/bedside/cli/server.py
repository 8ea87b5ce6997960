"""The options of commands that call a server, and their client."""

import re
import ssl
import sys
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from bedside.errors import BedsideError
from bedside.loopback import direct

URL = "http://127.0.0.1:8000"

Url = Annotated[str, typer.Option(envvar="BEDSIDE_URL", help="Address of the server.")]
Token = Annotated[
    str | None,
    typer.Option(
        envvar="BEDSIDE_TOKEN", help="Bearer token, or '-' to read it from standard input.", show_default=False
    ),
]
Ca = Annotated[Path | None, typer.Option(envvar="BEDSIDE_CA", help="PEM file that signed the server's certificate.")]


_ADVICE: dict[int, str] = {
    httpx.codes.UNAUTHORIZED: ". For a server on this machine: export BEDSIDE_TOKEN=$(bedside token)",
}

_TAB_SECONDS = 2.0
_PLAIN_NAME = re.compile(r"[\w.-]+", re.ASCII)


class CallFailed(BedsideError):
    """Read the server's answer and correct the request."""


class TooLarge(CallFailed):
    """Send less, or have the server given a bucket for large inputs (references.uploads)."""


def connected(
    url: str, token: str | None, ca: Path | None, timeout: float = 60.0, *, elsewhere: bool = False
) -> httpx.Client:
    """Return a client that sends the token; one that leads elsewhere trusts the usual authorities, too."""
    bearer = sys.stdin.readline().strip() if token == "-" else token  # noqa: S105 - the option's value
    headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
    verify = trust(ca, elsewhere=elsewhere)
    return httpx.Client(base_url=url, headers=headers, timeout=timeout, verify=verify, mounts=direct(url))


def trust(ca: Path | None, *, elsewhere: bool = False) -> ssl.SSLContext | bool:
    """Return which authorities may vouch for a server: those of the file alone, or besides."""
    if ca is None:
        return True
    if not elsewhere:
        return ssl.create_default_context(cafile=ca)
    context = httpx.create_ssl_context()
    context.load_verify_locations(ca)
    return context


def asked(
    client: httpx.Client, method: str, path: str, *, expected: Collection[int] = (httpx.codes.OK,), **request: Any
) -> httpx.Response:
    """Return the answer to a request; raises CallFailed with the server's own explanation."""
    try:
        response = client.request(method, path, **request)
    except httpx.UnsupportedProtocol:
        raise CallFailed("the server's address begins with http:// or https:// (--url, or BEDSIDE_URL)") from None
    except httpx.HTTPError as error:
        why = f"{type(error).__name__} ({error})" if isinstance(error, httpx.ConnectError) else type(error).__name__
        raise CallFailed(f"no answer from {client.base_url}: {why}. Is the server running?") from None
    if response.status_code not in expected:
        # Also a gateway's own, which has no explanation.
        kind = TooLarge if response.status_code == httpx.codes.REQUEST_ENTITY_TOO_LARGE else CallFailed
        raise kind(_explanation(response))
    return response


def model_names(context: typer.Context, incomplete: str) -> list[str]:
    """Complete a model's name by those that the server lists; none where it does not answer soon."""
    url, token, ca = (context.params.get(name) for name in ("url", "token", "ca"))
    if token == "-":  # noqa: S105 - the option's value; standard input is the terminal
        token = None
    with suppress(Exception), connected(url or URL, token, ca, _TAB_SECONDS) as client:
        names = {str(one["name"]) for one in asked(client, "POST", "/v2/repository/index").json()}
        # What a shell or a terminal would take for more than a name is not offered.
        return sorted(name for name in names if name.startswith(incomplete) and _PLAIN_NAME.fullmatch(name))
    return []


def _explanation(response: httpx.Response) -> str:
    try:
        problem = response.json()
        field = "".join(f" ({name}: {problem[name]})" for name in ("field", "scope") if problem.get(name))
        said = f"{response.status_code} {problem['title']}: {problem['detail'].removesuffix('.')}{field}"
        return f"{said}, request {problem['request_id']}{_ADVICE.get(response.status_code, '')}"
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return f"the server answered {response.status_code}"
