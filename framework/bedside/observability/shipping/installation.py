"""Brings what ``content`` says into Elasticsearch, and dashboards and rules into Kibana; again, it changes nothing."""

import os
import ssl
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import httpx

from bedside.errors import BedsideError
from bedside.observability.shipping.content import Request

_SECONDS = 60.0
_KIBANA = {"kbn-xsrf": "true"}  # Kibana refuses what a browser could be led to send
_JSON = {"Content-Type": "application/json"}


class NotInstalled(BedsideError):
    """Check the address, the authorities (--ca), and that the key may do this (docs/shipping.md names the rights)."""


def connect(url: str, api_key: str, authorities: Path | None) -> httpx.Client:
    """Return a client of Elasticsearch or Kibana. Raises NotInstalled where the authorities cannot be read."""
    try:
        context = ssl.create_default_context(cafile=authorities)
    except OSError:
        raise NotInstalled("the authorities' file cannot be read", field="ca") from None
    headers = _KIBANA | ({"Authorization": f"ApiKey {api_key}"} if api_key else {})
    return httpx.Client(base_url=url.rstrip("/"), headers=headers, verify=context, timeout=_SECONDS, trust_env=False)


def install(client: httpx.Client, requests: Iterable[Request], done: Callable[[str], None]) -> None:
    """Send requests in their order; ``done`` is told each. Raises NotInstalled at the first that is refused."""
    for request in requests:
        there = _send(client, request) is None
        done(f"{request.method} {request.path}{' (is there already)' if there else ''}")


def make_key(client: httpx.Client, request: Request, file: Path) -> bool:
    """Write a new API key into a file that only its owner reads; one that is there stays. Tell whether it was made."""
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    except OSError as error:
        raise NotInstalled(f"{file} cannot be written: {error.strerror}", field="write_key_file") from None
    try:
        answer = _send(client, request)
        encoded = "" if answer is None else answer.json()["encoded"]
        os.write(descriptor, f"{encoded}\n".encode())
    except BaseException:
        file.unlink()
        raise
    finally:
        os.close(descriptor)
    return True


class Kibana:
    """Brings what ``dashboards.export`` writes into a space of Kibana.

    Args:
        client: of Kibana.
        space: ``default`` or another.
        done: told each request.
    """

    def __init__(self, client: httpx.Client, space: str, done: Callable[[str], None]) -> None:
        self._client = client
        self._prefix = "" if space == "default" else f"/s/{space}"
        self._done = done

    def import_objects(self, ndjson: str) -> None:
        """Import saved objects, replacing those that are there. Raises NotInstalled."""
        file = {"file": ("dashboards.ndjson", ndjson.encode(), "application/ndjson")}
        answer = self._ask("POST", "/api/saved_objects/_import", params={"overwrite": "true"}, files=file)
        # 200 does not mean that every object was taken.
        if answer.json().get("success") is not True:
            raise _refused("POST", "/api/saved_objects/_import", answer)

    def put_dashboard(self, name: str, body: str) -> None:
        """Put a dashboard by the Dashboards API (Kibana 9.5 on). Raises NotInstalled."""
        self._ask("PUT", f"/api/dashboards/{name}", content=body, headers=_JSON)

    def create_rule(self, name: str, body: str, *, replace: bool) -> None:
        """Create an alerting rule; one that is there keeps its connectors, or is made anew. Raises NotInstalled."""
        path = f"/api/alerting/rule/{name}"
        if self._ask("POST", path, there=True, content=body, headers=_JSON).is_success:
            return
        if replace:
            self._ask("DELETE", path)
            self._ask("POST", path, content=body, headers=_JSON)

    def _ask(self, method: str, path: str, *, there: bool = False, **options: Any) -> httpx.Response:
        answer = _ask(self._client, method, self._prefix + path, **options)
        is_there = there and answer.status_code == httpx.codes.CONFLICT
        if not (answer.is_success or is_there):
            raise _refused(method, self._prefix + path, answer)
        self._done(f"{method} {self._prefix}{path}{' (is there already)' if is_there else ''}")
        return answer


def _send(client: httpx.Client, request: Request) -> httpx.Response | None:
    """Return the answer, or None where what was asked for is there already."""
    answer = _ask(client, request.method, request.path, json=request.body)
    if answer.is_success:
        return answer
    if request.exists and _error_type(answer) == request.exists:
        return None
    raise _refused(request.method, request.path, answer)


def _ask(client: httpx.Client, method: str, path: str, **options: Any) -> httpx.Response:
    try:
        return client.request(method, path, **options)
    except httpx.TransportError as error:
        raise NotInstalled(f"{client.base_url} does not answer: {type(error).__name__}") from None


def _error_type(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"]["type"])
    except (ValueError, LookupError, TypeError):
        return ""


def _refused(method: str, path: str, answer: httpx.Response) -> NotInstalled:
    return NotInstalled(f"{method} {path}: {answer.status_code} {_error_type(answer)}".rstrip())
