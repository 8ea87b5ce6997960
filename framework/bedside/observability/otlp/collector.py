"""The way to the collector: OTLP/HTTP (opentelemetry-proto, specification 1.x, "OTLP/HTTP Request")."""

import random
import re
import ssl
import threading
from collections.abc import Mapping
from contextlib import suppress
from time import monotonic
from typing import Any

import httpx

from bedside.errors import ConfigurationError
from bedside.observability.deadline import Deadline
from bedside.observability.events import Event
from bedside.observability.logging import get_logger
from bedside.otlp_settings import CollectorSettings

FIRST_PAUSE_SECONDS = 1.0
MOST_BYTES = 65536
"""Of an answer: what may be said in one is the number of spans that were refused, and a message for a person."""
_LEAST_SECONDS = 0.001  # of an attempt that was let begin: a client takes no time below none

_FIELD = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([!-~](?:[ -~]*[!-~])?)")  # RFC 9110 §5.6.2, §5.5
_PROTOBUF = "application/x-protobuf"
_AGAIN = frozenset({429, 502, 503, 504})
"""Statuses after which a request may be repeated; after any other it must not (§"Failures")."""


class _NotTaken(Exception):
    """One attempt has failed. Its text is never logged: it may hold the address."""

    def __init__(self, error_type: str, status: int | None = None, pause: float = 0.0) -> None:
        super().__init__(error_type)
        self.error_type = error_type
        self.status = status
        self.pause = pause

    @property
    def may_pass(self) -> bool:
        """Tell whether the next attempt may end otherwise."""
        return self.status is None or self.status in _AGAIN


class Collector:
    """One endpoint, for one thread.

    Args:
        settings: address, credentials, time.
        group: of the settings, for errors and the log.

    Raises:
        ConfigurationError: a file cannot be used.
    """

    def __init__(self, settings: CollectorSettings, group: str) -> None:
        self._endpoint = settings.endpoint or ""
        self._seconds = settings.timeout_seconds
        # Nothing from the environment: no credentials from ~/.netrc, no proxy that nobody has set here.
        self._client = httpx.Client(
            headers={**_headers(settings, group), "Content-Type": _PROTOBUF, "Accept-Encoding": "identity"},
            verify=_authorities(settings, group),
            trust_env=False,
            follow_redirects=False,
        )
        self._deadline = Deadline()
        self._events = get_logger(f"bedside.{group}")
        self._closing = threading.Event()
        self._down_since: float | None = None

    def send(self, message: bytes) -> bytes | None:
        """Return the collector's answer, None where it has not taken the message. Told once, until it takes one again.

        Repeats what may pass, with growing pauses, for ``timeout_seconds`` in all or until :meth:`close`.
        """
        try:
            answer = self._repeat(message)
        except _NotTaken as error:
            if self._down_since is None:
                self._down_since = monotonic()
                self._events.warning(Event.TELEMETRY_NOT_SENT, error_type=error.error_type, status=error.status)
            return None
        if self._down_since is not None:
            self._events.info(Event.TELEMETRY_SENT_AGAIN, seconds=round(monotonic() - self._down_since, 3))
            self._down_since = None
        return answer

    def close(self) -> None:
        """Begin no further attempt."""
        self._closing.set()

    def _repeat(self, message: bytes) -> bytes:
        end, pause = monotonic() + self._seconds, FIRST_PAUSE_SECONDS
        while True:
            try:
                return self._post(message, max(end - monotonic(), _LEAST_SECONDS))
            except _NotTaken as error:
                wait = error.pause or pause * random.uniform(0.5, 1.0)  # noqa: S311 - spreads replicas, guards nothing
                if not error.may_pass or monotonic() + wait >= end or self._closing.wait(wait):
                    raise
            pause *= 2

    def _post(self, message: bytes, seconds: float) -> bytes:
        options: dict[str, Any] = {"timeout": seconds, "extensions": {"trace": self._connected}}
        try:
            with (
                self._deadline.within(seconds),
                self._client.stream("POST", self._endpoint, content=message, **options) as answer,
            ):
                if not answer.is_success:
                    raise _NotTaken("HTTPStatus", answer.status_code, _seconds(answer.headers.get("retry-after", "")))
                return _read(answer)
        except httpx.HTTPError as error:
            raise _NotTaken(type(error).__name__) from None

    def _connected(self, step: str, info: Mapping[str, Any]) -> None:
        if step == "connection.connect_tcp.complete":
            self._deadline.uses(info["return_value"].get_extra_info("socket"))


def _read(answer: httpx.Response) -> bytes:
    """Return the body; nothing of one that is too long or breaks off: the message was taken, which its status says."""
    body = b""
    with suppress(httpx.HTTPError):
        for chunk in answer.iter_raw():
            body += chunk
            if len(body) > MOST_BYTES:
                return b""
        return body
    return b""


def _seconds(retry_after: str) -> float:
    """Return the pause that a busy collector asks for in seconds (RFC 9110 §10.2.3); a date counts as none."""
    return float(retry_after) if re.fullmatch("[0-9]{1,5}", retry_after) else 0.0


def _authorities(settings: CollectorSettings, group: str) -> ssl.SSLContext | bool:
    if settings.ca_certificates is None:
        return True
    try:
        return ssl.create_default_context(cafile=settings.ca_certificates)
    except OSError:
        raise ConfigurationError("no certificates can be read in it", field=f"{group}.ca_certificates") from None


def _headers(settings: CollectorSettings, group: str) -> dict[str, str]:
    if settings.headers_file is None:
        return {}
    try:
        text = settings.headers_file.read_text(encoding="ascii")
    except (OSError, UnicodeError):
        raise ConfigurationError("it cannot be read", field=f"{group}.headers_file") from None
    fields = [_FIELD.fullmatch(line.strip()) for line in text.splitlines() if line.strip()]
    if None in fields:
        raise ConfigurationError("each line must be `Name: value`", field=f"{group}.headers_file")
    return {field[1]: field[2] for field in fields if field is not None}
