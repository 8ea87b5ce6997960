"""``bedside predict`` against servers that answer oddly."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from bedside.cli import app
from bedside.cli.predict import Answer, _label, _stems, _table, describe, send
from bedside.cli.server import CallFailed, TooLarge

MIXED = "multipart/mixed; boundary=B"
JSON = "application/json"


@pytest.fixture
def case(tmp_path: Path) -> str:
    """Return a record to send."""
    path = tmp_path / "patient.json"
    path.write_text("{}")
    return str(path)


def answered(case: str, content: bytes, media_type: str = JSON, status: int = 200) -> Answer:
    """Send a case to a server that answers like this."""
    transport = httpx.MockTransport(
        lambda _: httpx.Response(status, content=content, headers={"content-type": media_type})
    )
    with httpx.Client(transport=transport, base_url="http://test") as client:
        return send(client, "heart", case)


def mixed(*parts: tuple[str, bytes]) -> bytes:
    """Return a multipart body whose file names lead out of the folder."""
    pieces = (
        b'--B\r\nContent-Type: %s\r\nContent-Disposition: attachment; filename="../../x"\r\n\r\n%s\r\n'
        % (media.encode(), body)
        for media, body in parts
    )
    return b"".join(pieces) + b"--B--\r\n"


def test_a_study_in_an_archive_is_named() -> None:
    """The server fetches it; DICOM comes back, and its file is called after the archive, not after a UID."""
    sent: list[httpx.Request] = []

    def receive(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200, content=b"{}", headers={"content-type": JSON})

    with httpx.Client(transport=httpx.MockTransport(receive), base_url="http://test") as client:
        send(client, "tumour", "dicomweb:pacs/1.2.3")
        send(client, "tumour", "t1=file:scans/t1.nii,flair=dicomweb:pacs/1.2.3/1.2.4")
    [study, form] = sent
    assert json.loads(study.content) == {"source": {"dicomweb": "pacs", "study": "1.2.3"}}
    assert study.headers["content-type"] == JSON
    assert study.headers["accept"].startswith("multipart/related")
    assert form.content.count(b"Content-Type: application/json") == 2
    assert list(_stems(["dicomweb:pacs/1.2.3", "file:scans/Doe.nii"])) == ["pacs", "scans"]
    assert _label("dicomweb:pacs/1.2.3") == "dicomweb:pacs/1.2.3"


def test_a_name_may_come_several_times(tmp_path: Path) -> None:
    """An input that takes several files gets them all, in order."""
    sent: list[bytes] = []

    def receive(request: httpx.Request) -> httpx.Response:
        sent.append(request.read())
        return httpx.Response(200, content=b"{}", headers={"content-type": JSON})

    for name in ("t1", "flair"):
        (tmp_path / f"{name}.nii").write_bytes(name.encode())
    with httpx.Client(transport=httpx.MockTransport(receive), base_url="http://test") as client:
        send(client, "tumour", f"image={tmp_path}/t1.nii,image={tmp_path}/flair.nii")
    [body] = sent
    assert body.count(b'; name="image"') == 2
    assert body.index(b"\r\n\r\nt1\r\n") < body.index(b"\r\n\r\nflair\r\n")


def test_parts_of_one_media_type_are_all_kept(case: str, tmp_path: Path) -> None:
    """Two masks are two files, numbered from the second on; the server's names for them are not used."""
    body = mixed(("application/gzip", b"one"), ("application/gzip", b"two"), ("text/x-odd", b"a"), ("x/y", b"b"))
    paths = answered(case, body, MIXED).save("scan.m", tmp_path / "out")
    assert [(path.name, path.read_bytes()) for path in paths] == [
        ("scan.m.nii.gz", b"one"),
        ("scan.m.2.nii.gz", b"two"),
        ("scan.m.bin", b"a"),
        ("scan.m.2.bin", b"b"),
    ]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {path.name for path in paths}


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (b"{", JSON),
        (b"[]", JSON),
        (b"\xff", JSON),
        (b"[" * 100_000, JSON),
        (b"<html>", "text/html"),
        (b"{}", ""),
        (b"{}", "\x1b[2J"),
        (b"no parts", MIXED),
        (mixed((JSON, b"{}")), "multipart/mixed"),
        (mixed((JSON, b"{")), MIXED),
        (mixed((JSON, b"{}")), "multipart/form-data; boundary=B"),
    ],
)
def test_what_is_no_answer_is_told(case: str, content: bytes, media_type: str) -> None:
    """Not JSON, nested beyond the parser, another content type, a multipart body without parts."""
    with pytest.raises(CallFailed):
        answered(case, content, media_type)


@pytest.mark.parametrize("content", [b"", b"[]", b'"x"', b"{}", b'{"title": 1}', b"[" * 100_000])
def test_odd_refusals_are_told_by_their_status(case: str, content: bytes) -> None:
    """Whatever the body is."""
    with pytest.raises(CallFailed, match="503"):
        answered(case, content, status=503)


@pytest.mark.parametrize(
    "summary",
    [
        {"prediction": "x", "probability": "much"},
        {"prediction": "x", "probability": None},
        {"prediction": "x", "probability": 10**400},
        {"prediction": "x", "probability": 0.5, "accuracy": []},
        {"outputs": []},
        {"outputs": {"pred": None}},
        {"outputs": {"pred": {"labels": 5}}},
        {"outputs": {"pred": {"labels": [{"name": "x"}]}}},
        {"outputs": {"pred": {"labels": [{"name": "x", "volume_ml": "x"}]}}},
        {"warnings": 5},
    ],
)
def test_answers_of_another_shape_are_told(summary: dict[str, Any]) -> None:
    """Missing keys and values of the wrong kind are one sentence, not a stack trace."""
    with pytest.raises(CallFailed, match="saved"):
        list(describe(summary))


def test_scores_without_a_probability_are_shown() -> None:
    """They are no probabilities, and the answer says none."""
    assert list(describe({"prediction": "x", "scores": {"x": 3.0}})) == [("prediction", "x")]


def test_warnings_are_shown() -> None:
    """Whoever reads the prediction reads them too."""
    summary = {"prediction": "x", "probability": 0.5, "warnings": ["age is outside 29 to 77"]}
    assert ("warning", "age is outside 29 to 77") in list(describe(summary))


def test_a_prediction_with_markup_and_escapes_is_shown_as_text(case: str) -> None:
    """No closing tag ends in a stack trace, no escape reaches the terminal."""
    hostile = "\x1b]0;mine\x07[/b] [link=http://evil]x[/link]"
    answer = answered(case, json.dumps({"prediction": hostile, "probability": 0.5}).encode())
    cells = [str(cell) for column in _table(answer, []).columns for cell in column.cells]
    assert any("[/b] [link=http://evil]x[/link]" in cell for cell in cells)
    assert not any("\x1b" in cell or "\x07" in cell for cell in cells)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """A file in the folder's place, for one."""
    (tmp_path / "out").write_text("")
    with pytest.raises(CallFailed, match="cannot be saved"):
        Answer(((JSON, b"{}"),), 0.0).save("x", tmp_path / "out")


class Store:
    """A server that takes so many bytes and has a bucket for more; jobs are done at once."""

    def __init__(self, *, uploads: bool = True) -> None:
        self.uploads = uploads
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer."""
        self.asked.append(request)
        path = request.url.path
        if path == "/v1/uploads" and self.uploads:
            offer = {"url": "https://store/in/5f.nii.gz?X-Amz-Signature=s", "source": {"s3": "in", "path": "5f.nii.gz"}}
            return httpx.Response(200, json=offer)
        if path.endswith("/jobs") and request.headers["content-type"] == JSON:
            return httpx.Response(202, json={}, headers={"location": "/v1/jobs/7"})
        if path == "/v1/jobs/7/events":
            return httpx.Response(200, text='event: succeeded\ndata: {"state": "succeeded"}\n\n')
        if path == "/v1/jobs/7/result":
            return httpx.Response(200, json={"prediction": "tumour"})
        if request.method == "PUT":
            return httpx.Response(200)
        return httpx.Response(413 if path.endswith("/predict") else 404, json={"message": "Request Entity Too Large"})


def run_predict(monkeypatch: pytest.MonkeyPatch, store: Store, *arguments: str) -> Any:
    """Run the command against the server and its store."""
    connect = httpx.Client

    def connected(**options: Any) -> httpx.Client:
        return connect(**{**options, "transport": httpx.MockTransport(store)})

    monkeypatch.setattr(httpx, "Client", connected)
    return CliRunner().invoke(app, ["predict", *arguments, "--url", "http://test", "--token", "secret"])


def test_what_is_too_large_goes_by_way_of_the_bucket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As a job, also where a gateway has refused it; the store is not shown the caller's token."""
    scan = tmp_path / "scan.nii.gz"
    scan.write_bytes(b"12345678")
    done = run_predict(monkeypatch, store := Store(), "tumour", str(scan), "-o", str(tmp_path))
    assert done.exit_code == 0, done.output
    wanted, put, job = store.asked[1:4]
    assert json.loads(wanted.content) == {"bytes": 8, "media_type": "application/gzip"}
    assert (str(put.url.host), put.content) == ("store", b"12345678")
    assert "authorization" not in put.headers
    assert json.loads(job.content) == {"source": {"s3": "in", "path": "5f.nii.gz"}}
    assert json.loads((tmp_path / "scan.tumour.json").read_bytes()) == {"prediction": "tumour"}


def test_what_is_too_large_for_a_server_without_a_bucket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Is told so."""
    scan = tmp_path / "scan.nii.gz"
    scan.write_bytes(b"12345678")
    done = run_predict(monkeypatch, Store(uploads=False), "tumour", str(scan))
    assert isinstance(done.exception, TooLarge)
    assert "no bucket for larger ones" in done.exception.detail
