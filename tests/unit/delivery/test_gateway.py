"""nginx' configuration and log, without nginx."""

import json
from pathlib import Path

import pytest

from bedside.delivery.gate import Live
from bedside.delivery.gateway import Gateway


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
    text = gateway.configuration({8000: 100, 8001: 0})
    assert "server 127.0.0.1:8000 weight=100 max_fails=0;" in text
    assert "8001" not in text


def test_predictions_are_tried_elsewhere_and_copied_and_nothing_else_is(gateway: Gateway) -> None:
    """A job that is tried twice would be two jobs."""
    text = gateway.configuration({8000: 95, 8001: 5})
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


def test_a_callers_mistake_is_no_failure_and_a_caller_who_left_tells_nothing(gateway: Gateway) -> None:
    """401 is an answer; 499 is none."""
    log(gateway, line("127.0.0.1:8001", "401", "0.001", 401), line("127.0.0.1:8001", "-", "0.100", 499))
    found, _ = gateway.calls(8001, 0)
    assert found == [Live(candidate=True, ok=True, seconds=0.001)]


def test_one_that_does_not_run_is_stopped_already(gateway: Gateway) -> None:
    """Also where a number was left behind."""
    gateway.stop()
    (gateway.folder / "nginx.pid").write_text("4194305")
    gateway.stop()
