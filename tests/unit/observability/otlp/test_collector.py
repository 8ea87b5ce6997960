"""The way to a collector: what is repeated, what is told, what is kept inside."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from tests.dripping import BODY, HANDSHAKE, HEADER, dripping
from tests.otlp import Answer, Collector, collector
from tests.unit.observability.test_accounting import Build

from bedside.observability.otlp import collector as module
from bedside.observability.otlp.collector import Collector as Way
from bedside.otlp_settings import TracingSettings


@pytest.fixture(autouse=True)
def _no_long_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE_SECONDS", 0.001)


def way(endpoint: str, **settings: Any) -> Way:
    """Return a way to an endpoint."""
    return Way(TracingSettings.model_validate({"endpoint": endpoint} | settings), "tracing")


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_what_may_pass_is_repeated(tmp_path: Path, status: int) -> None:
    """The same message, until it is taken."""
    with collector(tmp_path) as receiver:
        receiver.answers.extend([Answer(status), Answer(status, {"Retry-After": "0"}), Answer(body=b"taken")])
        assert way(receiver.endpoint).send(b"message") == b"taken"
    assert [body for _, body in receiver.requests] == [b"message"] * 3


@pytest.mark.parametrize("status", [301, 400, 401, 413, 500])
def test_what_will_not_pass_is_not_repeated(tmp_path: Path, status: int) -> None:
    """OTLP allows no other status to be; a redirection is not followed, for the header fields hold a key."""
    with collector(tmp_path) as receiver:
        receiver.answers.append(Answer(status, {"Location": f"{receiver.url}/elsewhere"}))
        assert way(receiver.endpoint).send(b"message") is None
    assert len(receiver.requests) == 1


def test_of_an_answer_without_end_nothing_is_kept(tmp_path: Path) -> None:
    """The message was taken; what is said besides is left unread."""
    with collector(tmp_path) as receiver:
        receiver.answers.append(Answer(body=b"x" * 50 * module.MOST_BYTES))
        assert way(receiver.endpoint).send(b"message") == b""


@pytest.mark.parametrize(("scheme", "first"), [("http", HEADER), ("http", BODY), ("https", HANDSHAKE)])
def test_a_collector_that_drips_takes_no_longer_than_its_time(capture: Build, scheme: str, first: bytes) -> None:
    """Whatever drips: TLS, header fields, the answer, after whose status the message is taken."""
    capture()
    with dripping(first) as address:
        dripped = way(f"{scheme}://{address}", timeout_seconds=0.3)
        assert dripped.send(b"message") == (b"" if first == BODY else None)
        dripped.close()


def test_what_is_packed_is_not_unpacked(tmp_path: Path) -> None:
    """A few kilobytes would be gigabytes; nothing packed was asked for."""
    packed = gzip.compress(bytes(100 * module.MOST_BYTES))
    with collector(tmp_path) as receiver:
        receiver.answers.append(Answer(headers={"Content-Encoding": "gzip"}, body=packed))
        assert way(receiver.endpoint).send(b"message") == packed
    assert {name.lower(): value for name, value in receiver.headers[0].items()}["accept-encoding"] == "identity"


def test_a_pause_that_is_longer_than_the_time_ends_it(tmp_path: Path) -> None:
    """The collector's `Retry-After` is kept: there is no second attempt before it."""
    with collector(tmp_path) as receiver:
        receiver.answers.append(Answer(503, {"Retry-After": "60"}))
        assert way(receiver.endpoint).send(b"message") is None
    assert len(receiver.requests) == 1


def test_nothing_is_repeated_once_it_is_closed(tmp_path: Path) -> None:
    """The attempt that is begun is the last."""
    with collector(tmp_path) as receiver:
        receiver.answers.extend([Answer(503)] * 2)
        to = way(receiver.endpoint)
        to.close()
        assert to.send(b"message") is None
    assert len(receiver.requests) == 1


def test_a_collector_that_is_away_is_told_once_until_it_is_back(tmp_path: Path, capture: Build) -> None:
    """By class and status: neither address nor key is in the log."""
    captured = capture()
    with collector(tmp_path) as receiver:
        to = way(receiver.endpoint)
        receiver.answers.extend([Answer(401), Answer(401)])
        for _ in range(4):
            to.send(b"message")
    told = [record for record in captured.records if record["message"].startswith("telemetry")]
    assert [record["message"] for record in told] == ["telemetry_not_sent", "telemetry_sent_again"]
    assert told[0]["log.level"] == "warning"
    assert told[0]["http"]["response"]["status_code"] == 401
    assert receiver.url not in json.dumps(captured.records)


def test_nobody_there_is_no_exception(capture: Build) -> None:
    """It is told by the class of the client's error."""
    captured = capture()
    assert way("http://127.0.0.1:9/v1/traces", timeout_seconds=0.05).send(b"message") is None
    assert captured.record["error"]["type"] == "ConnectError"


def test_the_environment_has_no_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a proxy nor header fields: settings are what an administrator looks at."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=other")
    receiver: Collector
    with collector(tmp_path) as receiver:
        assert way(receiver.endpoint).send(b"message") == b""
    assert "x-tenant" not in receiver.headers[0]
