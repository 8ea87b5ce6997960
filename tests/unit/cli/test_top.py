"""`bedside top` over recorded answers; tests/integration/test_watching_a_server.py has a real server."""

import itertools
import json
import subprocess
import sys
from collections.abc import Callable, Iterator

import httpx
import pytest
from tests.unit.transports.web_archive import Answer as Page
from tests.unit.transports.web_archive import web_archive
from typer.testing import CliRunner

from bedside.cli import app
from bedside.cli.top import NotWatchable, watch
from bedside.observability.metrics import Metrics

INDEX = [
    {"name": "ct", "version": "2", "state": "LOADING", "reason": ""},
    {"name": "ct", "version": "1", "state": "READY"},
]

Answer = Callable[[httpx.Request], httpx.Response]


def exposition(calls: int, *, lost: int = 0) -> str:
    """Return the metrics of a server after so many calls."""
    metrics = Metrics()
    metrics.count_lost_lines(lambda: lost)
    for version in ("0", "1", "2"):
        metrics.for_model("ct", version).ready.set(version == "1")
    for _ in range(calls):
        metrics.for_model("ct", "1").finished("rest", "success", 0.2, {})
    metrics.for_model("", "").finished("rest", "failure", 0.001, {})
    metrics.refusal("expired_token").inc(calls)
    metrics.queue_length.labels("ct").set(4)
    return metrics.expose("")[0].decode()


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Callable[[Answer], None]:
    """Let the command talk to a function instead of a server."""
    real = httpx.Client

    def use(answer: Answer) -> None:
        transport = httpx.MockTransport(answer)
        monkeypatch.setattr("httpx.Client", lambda **options: real(transport=transport, **options))

    return use


def server(texts: Iterator[str], *, index: int = 200) -> Answer:
    """Answer with these metrics, one after the other."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/metrics":
            return httpx.Response(200, text=next(texts))
        return httpx.Response(index, json=INDEX if index == 200 else {"error": "no"})

    return answer


def run(*arguments: str) -> tuple[int, str, BaseException | None]:
    """Run the command; return its status, its output and what it raised."""
    result = CliRunner(env={"COLUMNS": "120"}).invoke(app, ["top", *arguments])
    return result.exit_code, result.output, result.exception


def test_one_table_since_the_start(answering: Callable[[Answer], None]) -> None:
    """Models with the states of the index; a version that was replaced is left out; refusals by reason."""
    answering(server(iter([exposition(8, lost=2)])))
    status, output, _ = run("--once")
    assert status == 0
    lines = [line.split() for line in output.splitlines()]
    assert ["ct", "1", "READY"] in [line[:3] for line in lines]
    assert ["ct", "2", "LOADING"] in [line[:3] for line in lines]
    assert ["ct", "0"] not in [line[:2] for line in lines]
    assert "no model named" in output
    assert "expired_token 8" in output
    assert "since the start" in output
    assert "2 log lines lost" in output


def test_without_a_token_the_metrics_tell_the_states(answering: Callable[[Answer], None]) -> None:
    """The index asks for one; readiness is a metric too."""
    answering(server(iter([exposition(1)]), index=401))
    _, output, _ = run("--once", "--json")
    states = {(model["name"], model["version"]): model["state"] for model in json.loads(output)["models"]}
    assert states == {
        ("ct", "0"): "UNAVAILABLE",
        ("ct", "1"): "READY",
        ("ct", "2"): "UNAVAILABLE",
        ("unknown", "unknown"): "",
    }


def test_json_has_no_number_that_is_none(answering: Callable[[Answer], None]) -> None:
    """A quantile of no calls is null: NaN is no JSON (RFC 8259 §6)."""
    answering(server(iter([exposition(0)])))
    _, output, _ = run("--once", "--json")
    document = json.loads(output, parse_constant=pytest.fail)
    (ready,) = (model for model in document["models"] if model["version"] == "1")
    assert ready["p95"] is None
    assert ready["queue"] == 4
    assert document["refusals"] == {}


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_looks_follow_each_other(
    options: tuple[str, ...], answering: Callable[[Answer], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is of what happened since the first within a minute; Ctrl-C ends them without an error."""
    answering(server(iter([exposition(1), exposition(11), exposition(2)])))
    pauses = iter([None, None])

    def pause(_: float) -> None:
        if next(pauses, "end") == "end":
            raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", pause)
    status, output, _ = run(*options)
    assert status == 0
    if not options:
        assert [line.split("  ")[2] for line in output.splitlines() if line.startswith("bedside top")] == [
            "since the start",
            *("last 0 s",) * 2,
        ]
    else:
        looks = [json.loads(line) for line in output.splitlines()]
        calls = [
            model["calls_per_second"] * look["seconds"]
            for look in looks
            for model in look["models"]
            if model["version"] == "1"
        ]
        assert calls[1:] == [pytest.approx(10), pytest.approx(1)]
        assert looks[1]["refusals"] == {"expired_token": 10}


def test_a_pipe_gets_a_table_at_once() -> None:
    """And another at each look, as wide as it is; where the reader goes, it ends without a word about faults."""
    with web_archive(lambda _: Page(media_type="text/plain", body=exposition(3).encode())) as server:
        command = [sys.executable, "-m", "bedside", "top", "--interval", "0.2"]
        command += ["--url", server.url.removesuffix("/dicom-web/")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as top:
            assert top.stdout is not None
            assert top.stderr is not None
            first = list(itertools.takewhile(lambda line: "  last " not in line, top.stdout))
            top.stdout.close()
            said = top.stderr.read()
    assert "since the start" in first[0]
    assert [line.split()[:3] for line in first if line.startswith("ct  ")] == [
        *(["ct", "0", "UNAVAILABLE"], ["ct", "1", "READY"], ["ct", "2", "UNAVAILABLE"]),
    ]
    assert not any("\x1b" in line for line in first)
    assert (top.returncode, said) == (1, "")


def test_rates_are_those_of_the_last_minute(
    answering: Callable[[Answer], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is older is forgotten."""
    moments = iter([0.0, 50.0, 100.0])
    answer = server(iter([exposition(1), exposition(2), exposition(3)]))
    with httpx.Client(transport=httpx.MockTransport(answer), base_url="http://server") as client:
        views = watch(client, lambda: next(moments))
        seconds = [next(views).activity.seconds for _ in range(3)]
    assert seconds[1:] == [50.0, 50.0]


def refuse(_: httpx.Request) -> httpx.Response:
    """Answer as if nobody listened."""
    raise httpx.ConnectError("refused")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (refuse, "no answer from"),
        (lambda _: httpx.Response(401), "answers 401 to /metrics"),
        (lambda _: httpx.Response(200, text="<html><body>"), "are no metrics"),
    ],
    ids=["nobody", "not let in", "something else"],
)
def test_what_is_no_server_is_told(answer: Answer, said: str, answering: Callable[[Answer], None]) -> None:
    """In a sentence, with the address."""
    answering(answer)
    status, _, error = run("--once", "--url", "http://elsewhere:1")
    assert status == 1
    assert isinstance(error, NotWatchable)
    assert said in error.detail


def test_what_others_wrote_cannot_steer_the_terminal(answering: Callable[[Answer], None]) -> None:
    """Names of models come from bundles."""
    index = [{"name": "ct", "version": "1", "state": "\x1b[31mREADY[bold]"}]
    answering(
        lambda request: (
            httpx.Response(200, text=exposition(1))
            if request.url.path == "/metrics"
            else httpx.Response(200, json=index)
        )
    )
    _, output, _ = run("--once")
    assert "\x1b" not in output
    assert "READY[bold]" in output
