"""``bedside truth`` against a server that knows some answers."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from bedside.cli import app
from bedside.cli import truth as command
from bedside.cli.server import CallFailed

KNOWN, OTHERWISE, NEW = "1" * 32, "2" * 32, "3" * 32
PROBLEM = "urn:bedside:problem:"


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return what a server was told: it knows one truth, another of one answer, and lacks the rest but one."""
    bodies: list[Any] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            classes = {"disease": {"truths": 4, "sensitivity": 0.75}}
            version = {"version": "1.0.0", "truths": 9, "accuracy": 0.888, "classes": classes}
            return httpx.Response(200, json={"versions": [version]})
        bodies.append(json.loads(request.content))
        if "made_up" in request.url.path:
            return httpx.Response(404, json={"type": f"{PROBLEM}model-not-found", "detail": "no such model"})
        request_id = bodies[-1].get("request_id")
        if request_id in {KNOWN, NEW}:
            return httpx.Response(200, json={"new": request_id == NEW})
        if request_id == OTHERWISE:
            return httpx.Response(409, json={"type": f"{PROBLEM}truth-conflict"})
        if request_id == "0" * 32:
            return httpx.Response(404, json={"type": f"{PROBLEM}prediction-not-found"})
        problem = {"title": "Bad parameter", "detail": "is none", "request_id": "9", "field": "request_id"}
        return httpx.Response(422, json=problem)

    def connected(*_: object) -> httpx.Client:
        return httpx.Client(transport=httpx.MockTransport(answer), base_url="http://test")

    monkeypatch.setattr(command, "connected", connected)
    return bodies


def send(tmp_path: Path, name: str, text: str, model: str = "heart") -> Any:
    """Send a file."""
    (tmp_path / name).write_text(text)
    return CliRunner().invoke(app, ["truth", "send", model, str(tmp_path / name)])


def test_a_column_says_which_row_is_meant(told: list[Any], tmp_path: Path) -> None:
    """A number; where it is empty, the first is."""
    send(tmp_path, "truths.csv", f"request_id,row,truth\n{NEW},2,disease\n{KNOWN},,disease\n")
    assert told == [
        {"request_id": NEW, "row": 2, "truth": "disease"},
        {"request_id": KNOWN, "truth": "disease"},
    ]


def test_truths_of_a_file_are_told_and_counted(told: list[Any], tmp_path: Path) -> None:
    """What could not be told is counted too, and the exit status says that there was some."""
    ids = (KNOWN, OTHERWISE, NEW, "0" * 32)
    done = send(tmp_path, "truths.csv", "request_id,truth\n" + "".join(f"{name},disease\n" for name in ids))
    assert done.stdout == "1 new, 1 known, 1 without an answer, 1 told otherwise before\n"
    assert done.exit_code == 1
    assert told == [{"request_id": name, "truth": "disease"} for name in ids]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("volumes.csv", f"request_id,head,body\n{NEW},1.5,\n"),
        ("volumes.ndjson", json.dumps({"request_id": NEW, "truth": {"head": 1.5}}) + "\n\n"),
    ],
)
def test_volumes_are_told_by_label(told: list[Any], tmp_path: Path, name: str, text: str) -> None:
    """A cell that is empty is a truth that is not known."""
    assert send(tmp_path, name, text).exit_code == 0
    assert told == [{"request_id": NEW, "truth": {"head": 1.5}}]


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("truths.csv", "id,truth\n1,disease\n", "no column request_id"),
        ("truths.csv", f"request_id,head\n{NEW},large\n", "no number"),
        ("truths.ndjson", "{", "no JSON"),
        ("truths.csv", "request_id,truth\nDOE,disease\n", "truth 1 of the file: 422 Bad parameter"),
    ],
)
def test_a_file_that_cannot_be_told_is_a_sentence(
    told: list[Any], tmp_path: Path, name: str, text: str, why: str
) -> None:
    """Which says where."""
    done = send(tmp_path, name, text)
    assert isinstance(done.exception, CallFailed)
    assert why in done.exception.detail
    assert len(told) <= 1


def test_a_model_that_is_not_there_is_not_an_answer_that_is_not_kept(told: list[Any], tmp_path: Path) -> None:
    """The first row tells."""
    done = send(tmp_path, "truths.csv", f"request_id,truth\n{NEW},disease\n{KNOWN},disease\n", "made_up")
    assert isinstance(done.exception, CallFailed)
    assert len(told) == 1


def test_accuracy_is_shown_by_version(told: list[Any]) -> None:
    """With the measures of each class."""
    shown = CliRunner().invoke(app, ["truth", "accuracy", "heart"]).stdout
    assert "accuracy 0.888" in shown
    assert "sensitivity 0.75" in shown
    assert told == []
