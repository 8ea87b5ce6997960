"""``bedside drift reference`` against a server."""

import httpx
import pytest
from typer.testing import CliRunner

from bedside.cli import app
from bedside.cli import drift as command


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what a server was asked for."""
    paths: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        paths.append(f"{request.method} {request.url.raw_path.decode()}")
        return httpx.Response(200, json={"answers": 500, "version": "1.2.0", "counts": {}})

    def connected(*_: object) -> httpx.Client:
        return httpx.Client(transport=httpx.MockTransport(answer), base_url="http://test")

    monkeypatch.setattr(command, "connected", connected)
    return paths


def test_it_is_shown_as_the_server_says_it(asked: list[str]) -> None:
    """So that it can be put into a bundle."""
    shown = CliRunner().invoke(app, ["drift", "reference", "show", "heart"])
    assert '"counts":{}' in shown.stdout.replace(" ", "")
    assert asked == ["GET /v1/models/heart/reference"]


def test_it_is_renewed_of_a_version(asked: list[str]) -> None:
    """What happens now is said."""
    done = CliRunner().invoke(app, ["drift", "reference", "renew", "heart", "--version", "1.2.0"])
    assert done.stdout == "the next 500 answers of heart 1.2.0 are its reference\n"
    assert asked == ["POST /v1/models/heart/reference/renew?version=1.2.0"]
