"""`deploy/elastic/import.sh` asks what Kibana's documentation says, and believes no answer but a good one.

Kibana itself cannot be run by these tests: a stand-in takes the requests down. The nightly workflow has a real one.
"""

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "elastic"
RULES = len(list((FOLDER / "rules").glob("*.json")))

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl: apt-get install curl")


@dataclass
class Kibana:
    """What was asked, and what is answered to which method and path."""

    url: str = ""
    asked: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    answers: dict[str, tuple[int, dict[str, Any]]] = field(default_factory=dict)


@pytest.fixture
def kibana() -> Iterator[Kibana]:
    """Run the stand-in."""
    told = Kibana(answers={"_import": (200, {"success": True, "successCount": 5})})

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            told.asked.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            status, document = next((a for part, a in told.answers.items() if part in self.path), (200, {}))
            payload = json.dumps(document, separators=(",", ":")).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        do_POST = do_PUT = answer  # noqa: N815 - the library's names

        def log_message(self, *_: object) -> None:
            """Stay quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield told
    server.shutdown()
    server.server_close()
    thread.join()


def run(kibana: Kibana, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the script."""
    variables = {**os.environ, "KIBANA_URL": kibana.url, **environment}
    command = [str(FOLDER / "import.sh"), *arguments]
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=False)


def test_everything_is_brought_in(kibana: Kibana) -> None:
    """The saved objects as a file whose name ends in .ndjson, then each rule under its id."""
    result = run(kibana, KIBANA_API_KEY="secret", KIBANA_SPACE="imaging")
    assert result.returncode == 0, result.stderr
    (method, path, headers, body), *others = kibana.asked
    assert (method, path) == ("POST", "/s/imaging/api/saved_objects/_import?overwrite=true")
    assert b'filename="dashboards.ndjson"' in body
    assert (FOLDER / "dashboards.ndjson").read_bytes() in body
    assert headers["kbn-xsrf"] == "true"
    assert headers["authorization"] == "ApiKey secret"
    assert {path for _, path, _, _ in others} == {
        f"/s/imaging/api/alerting/rule/{file.stem}" for file in (FOLDER / "rules").glob("*.json")
    }
    assert all(json.loads(body)["rule_type_id"] == ".es-query" for *_, body in others)
    assert "secret" not in result.stdout + result.stderr


def test_the_dashboards_api_is_used_on_request(kibana: Kibana) -> None:
    """Each dashboard is put under its id."""
    assert run(kibana, "api").returncode == 0
    put = {path for method, path, _, _ in kibana.asked if method == "PUT"}
    assert put == {f"/api/dashboards/{file.stem}" for file in (FOLDER / "api").glob("*.json")}


def test_rules_that_are_there_keep_their_connectors(kibana: Kibana) -> None:
    """409 is no failure."""
    kibana.answers["alerting"] = (409, {"message": "conflict"})
    result = run(kibana)
    assert result.returncode == 0
    assert result.stdout.count("is there already") == RULES


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("_import", (200, {"success": False, "errors": [{"id": "bedside-audit"}]})),
        ("_import", (401, {"message": "no"})),
        ("alerting", (400, {"message": "params invalid"})),
    ],
)
def test_what_kibana_refuses_fails(kibana: Kibana, path: str, answer: tuple[int, dict[str, Any]]) -> None:
    """Also an import that answers 200 and has taken only a part."""
    kibana.answers[path] = answer
    result = run(kibana)
    assert result.returncode == 1
    assert "Kibana says" in result.stderr or "bedside-audit" in result.stderr
