"""Asks a server on this machine whether it is ready; the standard library only, as it runs every few seconds.

A container's health check starts a process each time. ``bedside.cli`` takes more than a second to import, and this
check should not cost what an inference costs; hence a module that imports nothing else of ours but ``loopback``.
"""

import ssl
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

from bedside.loopback import is_loopback

URL = "http://127.0.0.1:8000/readyz"
SECONDS = 2.0


def main(arguments: Sequence[str]) -> int:
    """Ask once.

    Args:
        arguments: ``[--url URL] [--timeout SECONDS]``.

    Returns:
        0 when the answer is 200; 1 otherwise, with one line on standard error that says why.
    """
    parser = ArgumentParser(prog="bedside health", description="Exit 0 when the server at --url answers 200.")
    parser.add_argument("--url", default=URL, help="what to ask; /livez for liveness (default: %(default)s)")
    parser.add_argument("--timeout", type=float, default=SECONDS, help="seconds to wait (default: %(default)s)")
    given = parser.parse_args(arguments)
    problem = check(given.url, given.timeout)
    if problem:
        print(problem, file=sys.stderr)  # noqa: T201 - rich would take longer to import than the check takes
    return 1 if problem else 0


def check(url: str, seconds: float) -> str:
    """Return why the server is not as it should be, in words; empty where it is.

    TLS certificates are not verified on loopback: they are made out to the service's name, not to this address.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return "--url must begin with http:// or https://"
    try:
        connection = _connection(parts.scheme, parts.hostname, parts.port, seconds)
        try:
            connection.request("GET", parts.path or "/", headers={"connection": "close"})
            status = connection.getresponse().status
        finally:
            connection.close()
    except (OSError, ValueError, HTTPException) as error:
        return f"no answer: {type(error).__name__}"
    return "" if status == 200 else f"answered {status}"


def _connection(scheme: str, host: str, port: int | None, seconds: float) -> HTTPConnection:
    if scheme == "http":
        return HTTPConnection(host, port, timeout=seconds)
    context = ssl.create_default_context()
    if is_loopback(host):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return HTTPSConnection(host, port, timeout=seconds, context=context)
