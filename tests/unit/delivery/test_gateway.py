"""nginx' configuration and log, without nginx."""

import json
from pathlib import Path

import pytest

from bedside.delivery import gateway as gateway_module
from bedside.delivery.gate import Live
from bedside.delivery.gateway import Gateway
from bedside.errors import ConfigurationError


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    """Return a gateway that does not run."""
    return Gateway(tmp_path, "127.0.0.1:8443", 9000)


def log(gateway: Gateway, *lines: dict[str, object], end: str = "\n") -> None:
    """Write to the access log."""
    with (gateway.folder / "access.log").open("a") as stream:
        stream.write("\n".join(json.dumps(line) for line in lines) + end)


def line(upstream: str, status: str, seconds: str, answered: int = 200) -> dict[str, object]:
    """Return one line of it."""
    return {"upstream": upstream, "status": status, "seconds": seconds, "answered": answered}


def test_a_server_without_weight_gets_nothing(gateway: Gateway) -> None:
    """Nginx has no weight of 0."""
    text = gateway.configuration({8000: 100, 8001: 0}, 1)
    assert "server 127.0.0.1:8000 weight=100 max_fails=0;" in text
    assert "8001" not in text


def test_predictions_are_tried_elsewhere_and_copied_and_nothing_else_is(gateway: Gateway) -> None:
    """A job that is tried twice would be two jobs."""
    text = gateway.configuration({8000: 95, 8001: 5}, 1)
    others, _, predictions = text.partition("location ~ ^/v[12]/models/")
    assert "non_idempotent" not in others
    assert "mirror /mirror" not in others
    assert "http_503" in predictions


def test_calls_that_have_ended_are_read_once(gateway: Gateway) -> None:
    """A line that is still being written is for the next look."""
    assert gateway.calls(8001, 0) == ([], 0)
    log(gateway, line("127.0.0.1:8000", "200", "0.002"))
    log(gateway, line("127.0.0.1:8001", "200", "0.004"), end="")
    found, place = gateway.calls(8001, 0)
    assert found == [Live(candidate=False, ok=True, seconds=0.002)]
    log(gateway, end="\n")
    found, _ = gateway.calls(8001, place)
    assert found == [Live(candidate=True, ok=True, seconds=0.004)]


def test_a_call_that_was_tried_twice_counts_for_both(gateway: Gateway) -> None:
    """The user got an answer; the candidate failed all the same."""
    log(gateway, line("127.0.0.1:8001, 127.0.0.1:8000", "502, 200", "0.001, 0.002"))
    found, _ = gateway.calls(8001, 0)
    assert found == [Live(candidate=True, ok=False, seconds=0.001), Live(candidate=False, ok=True, seconds=0.002)]


def test_strangers_have_no_say_in_what_is_promoted(gateway: Gateway) -> None:
    """A call that was refused, or whose caller has gone, is no evidence; a failure before the refusal is."""
    refused = [line("127.0.0.1:8001", str(status), "0.001", status) for status in (400, 401, 403, 404, 413, 422)]
    twice = line("127.0.0.1:8001, 127.0.0.1:8000", "502, 401", "0.001, 0.001", 401)
    log(gateway, *refused, twice, line("127.0.0.1:8001", "-", "0.100", 499), line("127.0.0.1:8001", "500", "0.1", 500))
    found, _ = gateway.calls(8001, 0)
    assert found == [Live(candidate=True, ok=False, seconds=second) for second in (0.001, 0.1)]


def test_a_body_is_no_larger_than_what_the_servers_take(gateway: Gateway) -> None:
    """Nginx writes it down before anybody has looked at its token."""
    assert "client_max_body_size 1234;" in gateway.configuration({8000: 100}, 1234)


def test_a_new_log_is_read_from_its_beginning(gateway: Gateway) -> None:
    """Whoever read the one before has a place behind its end; that one is kept."""
    for _ in range(3):
        log(gateway, line("127.0.0.1:8000", "200", "0.002"))
    place = gateway.logged_bytes()
    gateway.rotate()
    assert gateway.logged_bytes() == 0
    log(gateway, line("127.0.0.1:8001", "200", "0.004"))
    found, after = gateway.calls(8001, place)
    assert found == [Live(candidate=True, ok=True, seconds=0.004)]
    assert after == gateway.logged_bytes()
    assert (gateway.folder / "access.log.1").stat().st_size == place
    gateway.rotate()
    gateway.rotate()


def test_one_that_does_not_run_is_stopped_already(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a number was left behind: nginx is not asked, which would refuse."""
    monkeypatch.setattr(gateway_module, "nginx", lambda: pytest.fail("nginx was asked"))
    gateway.stop()
    (gateway.folder / "nginx.pid").write_text("4194305")
    gateway.stop()


def test_nginx_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusal says how it gets there."""
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(ConfigurationError, match="apt-get install"):
        gateway_module.nginx()
