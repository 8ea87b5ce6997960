"""``bedside jobs`` against a server that has dead letters."""

import httpx
import pytest
from typer.testing import CliRunner

from bedside.cli import app
from bedside.cli import jobs as command
from bedside.cli.server import CallFailed

DEAD_JOB, DEAD_DELIVERY = "1" * 32, "2" * 32


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what a server with one dead job and one dead delivery was asked."""
    told: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        told.append(f"{request.method} {request.url.path}")
        if request.url.path == "/v1/jobs":
            error = {"code": "missing_slice", "detail": "a slice is [red]missing"}
            return httpx.Response(200, json=[{"id": DEAD_JOB, "model": "heart", "version": "1.0.0", "error": error}])
        if request.url.path == "/v1/deliveries":
            return httpx.Response(200, json=[{"job": DEAD_DELIVERY, "destination": "pacs", "error": "delivery_failed"}])
        return httpx.Response(409 if request.url.path == f"/v1/jobs/{DEAD_DELIVERY}/redrive" else 200, json={})

    def connected(*_: object) -> httpx.Client:
        return httpx.Client(transport=httpx.MockTransport(answer), base_url="http://test")

    monkeypatch.setattr(command, "connected", connected)
    return told


@pytest.mark.usefixtures("asked")
def test_dead_letters_are_listed_with_their_reasons() -> None:
    """Jobs and deliveries; what others wrote is no markup."""
    result = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"}).invoke(app, ["jobs", "dead"])
    assert result.exit_code == 0, result.output
    assert f"{DEAD_JOB}  job for heart 1.0.0  a slice is [red]missing" in result.output
    assert f"{DEAD_DELIVERY}  delivery to pacs     delivery_failed" in result.output


def test_whatever_is_dead_of_a_job_is_driven_again(asked: list[str]) -> None:
    """The job itself, or where that has succeeded the delivery of its result."""
    result = CliRunner().invoke(app, ["jobs", "redrive", DEAD_JOB, DEAD_DELIVERY])
    assert result.exit_code == 0, result.output
    assert asked == [
        f"POST /v1/jobs/{DEAD_JOB}/redrive",
        f"POST /v1/jobs/{DEAD_DELIVERY}/redrive",
        f"POST /v1/deliveries/{DEAD_DELIVERY}/redrive",
    ]


def test_a_server_that_is_not_there_is_told() -> None:
    """As one sentence."""
    result = CliRunner().invoke(app, ["jobs", "dead", "--url", "http://127.0.0.1:9"])
    assert isinstance(result.exception, CallFailed)
    assert "Is the server running?" in result.exception.detail
