"""Jobs followed by the command line, against servers that come and go."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from bedside.cli import follow as following
from bedside.cli.follow import follow
from bedside.cli.predict import hand_in
from bedside.cli.server import CallFailed

PLACE = "/v1/jobs/1"
RUNNING = {"state": "running", "progress": {"done": 1, "total": 4}}
DONE = {"state": "succeeded"}
Handler = Callable[[httpx.Request], httpx.Response]


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask again at once."""
    monkeypatch.setattr(following, "_PAUSE_SECONDS", 0.0)


def events(*jobs: dict[str, Any]) -> httpx.Response:
    """Return an event stream."""
    text = "".join(f": still there\n\nevent: {job['state']}\ndata: {json.dumps(job)}\n\n" for job in jobs)
    return httpx.Response(200, text=text, headers={"content-type": "text/event-stream"})


def client(handler: Handler) -> httpx.Client:
    """Return a client of a server that answers like this."""
    return httpx.Client(transport=httpx.MockTransport(handler), base_url="http://test")


def in_turn(*answers: httpx.Response | Exception) -> Handler:
    """Return what gives these answers one after the other."""
    left: Iterator[httpx.Response | Exception] = iter(answers)

    def handle(_: httpx.Request) -> httpx.Response:
        answer = next(left)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return handle


def test_a_job_is_followed_across_servers_that_end() -> None:
    """A stream that ends, a connection that is refused, a proxy without a server: none is the job's end."""
    told: list[dict[str, Any]] = []
    with client(in_turn(events(RUNNING), httpx.ConnectError("away"), httpx.Response(503), events(DONE))) as caller:
        assert follow(caller, PLACE, told.append, 60) == DONE
    assert told == [RUNNING, DONE]


def test_a_job_that_takes_too_long_is_left_alone() -> None:
    """Whoever waits gives up; the job goes on."""
    with client(lambda _: events(RUNNING)) as caller, pytest.raises(TimeoutError):
        follow(caller, PLACE, lambda _: None, 0.05)


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ((events({"state": "dead", "error": {"code": "x", "detail": "no such slice"}}),), "no such slice"),
        ((events({"state": "cancelled"}),), "given up"),
        ((httpx.Response(404),), "404"),
    ],
)
def test_whatever_else_becomes_of_a_job_is_told(tmp_path: Any, answers: Any, says: str) -> None:
    """Dead with its reason, given up, forgotten."""
    path = tmp_path / "record.json"
    path.write_text("{}")
    handler = in_turn(httpx.Response(202, json={}, headers={"location": PLACE}), *answers)
    with client(handler) as caller, pytest.raises(CallFailed) as caught:
        hand_in(caller, "heart", str(path), None, 60, lambda _: None)
    assert says in caught.value.detail


def test_a_job_that_is_not_done_in_time_is_named(tmp_path: Any) -> None:
    """So that its result can be fetched later."""
    path = tmp_path / "record.json"
    path.write_text("{}")
    handler = in_turn(httpx.Response(202, json={}, headers={"location": PLACE}))
    with client(handler) as caller, pytest.raises(CallFailed, match=PLACE):
        hand_in(caller, "heart", str(path), None, 0, lambda _: None)
