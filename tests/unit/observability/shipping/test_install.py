"""What is brought into Elasticsearch and Kibana, and that doing it again changes nothing."""

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.loopback import Handler, http_server
from typer.testing import CliRunner, Result

from bedside.cli import app
from bedside.dashboards.alerts import ALERTS
from bedside.dashboards.boards import DASHBOARDS
from bedside.errors import ConfigurationError
from bedside.observability.schema import component_template
from bedside.observability.shipping.installation import NotInstalled


class Recorder:
    """Stands in for the APIs of Elasticsearch and Kibana that nothing here has; keeps what it is asked."""

    url = ""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.answers: dict[str, tuple[int, dict[str, Any]]] = {}
        self.once: dict[str, tuple[int, dict[str, Any]]] = {}

    @property
    def paths(self) -> list[str]:
        """Return what was asked for, in order."""
        return [f"{method} {path}" for method, path, _, _ in self.asked]

    def body(self, path: str) -> Any:
        """Return the body of the request for a path."""
        (body,) = [body for _, asked, _, body in self.asked if asked == path]
        return json.loads(body)


@pytest.fixture
def elastic() -> Iterator[Recorder]:
    """Run one."""
    recorder = Recorder()

    class Elastic(Handler):
        def answer(self) -> None:
            recorder.asked.append((self.command, self.path, self.fields, self.content()))
            well = 200, {"success": True, "encoded": "d3JpdGU6a2V5"}
            status, answer = recorder.once.pop(self.path, recorder.answers.get(self.path, well))
            self.reply(status, json.dumps(answer).encode())

    with http_server(Elastic) as recorder.url:
        yield recorder


def install(*arguments: object) -> Result:
    """Run the command; an error of ours is raised."""
    result = CliRunner().invoke(app, ["observability", "install", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


def test_everything_that_the_log_needs_is_asked_for(elastic: Recorder) -> None:
    """Policies before the templates that name them, templates before the streams that they are for."""
    install("--url", elastic.url, "--namespace", "prod")
    assert elastic.paths == [
        "PUT /_ilm/policy/bedside-inference-prod",
        "PUT /_component_template/bedside-inference-prod@mappings",
        "PUT /_index_template/bedside-inference-prod",
        "PUT /_ilm/policy/bedside-audit-prod",
        "PUT /_component_template/bedside-audit-prod@mappings",
        "PUT /_index_template/bedside-audit-prod",
        "PUT /_data_stream/logs-bedside.inference-prod",
        "PUT /_data_stream/logs-bedside.audit-prod",
        "PUT /_security/role/bedside-operator-prod",
        "PUT /_security/role/bedside-auditor-prod",
    ]


def test_mappings_are_those_of_the_schema(elastic: Recorder) -> None:
    """And of templates, ours win over Elasticsearch's own."""
    install("--url", elastic.url, "--replicas", "0")
    assert elastic.body("/_component_template/bedside-audit-default@mappings") == component_template("audit")
    template = elastic.body("/_index_template/bedside-inference-default")
    assert template["index_patterns"] == ["logs-bedside.inference-default"]
    assert template["composed_of"] == ["ecs@mappings", "bedside-inference-default@mappings"]
    assert (template["priority"], template["data_stream"]) == (200, {})
    assert template["template"]["settings"]["index.lifecycle.name"] == "bedside-inference-default"
    assert template["template"]["settings"]["index.number_of_replicas"] == "0"


def test_lines_live_as_long_as_is_asked(elastic: Recorder) -> None:
    """The audit trail has a time of its own."""
    days = ("--hot-days", 2, "--warm-days", 3, "--keep-days", 40, "--keep-audit-days", 4000)
    install("--url", elastic.url, *days)
    for kind, kept in (("inference", "40d"), ("audit", "4000d")):
        phases = elastic.body(f"/_ilm/policy/bedside-{kind}-default")["policy"]["phases"]
        assert phases["hot"]["actions"]["rollover"]["max_age"] == "2d"
        assert (phases["warm"]["min_age"], phases["delete"]["min_age"]) == ("3d", kept)


def test_readers_read_one_stream_each(elastic: Recorder) -> None:
    """Who looks after the service does not see who called what."""
    install("--url", elastic.url)
    for role, kind in (("operator", "inference"), ("auditor", "audit")):
        (rights,) = elastic.body(f"/_security/role/bedside-{role}-default")["indices"]
        assert rights["names"] == [f"logs-bedside.{kind}-default"]
        assert set(rights["privileges"]) == {"read", "view_index_metadata"}


def test_what_is_there_already_is_no_error(elastic: Recorder) -> None:
    """Data streams cannot be put twice; everything else can."""
    there = {"error": {"type": "resource_already_exists_exception"}}
    elastic.answers = {f"/_data_stream/logs-bedside.{kind}-default": (400, there) for kind in ("inference", "audit")}
    told = install("--url", elastic.url).output
    assert told.count("is there already") == 2
    assert "PUT /_security/role/bedside-auditor-default" in told


def test_the_servers_key_can_only_append_and_is_made_once(elastic: Recorder, tmp_path: Path) -> None:
    """It stands in a file that nobody else reads, and never on the terminal."""
    key, file = tmp_path / "admin.key", tmp_path / "write.key"
    key.write_text("YWRtaW46a2V5\n")
    options = ("--url", elastic.url, "--api-key-file", key, "--write-key-file", file)
    output = install(*options).output + install(*options).output
    rights = elastic.body("/_security/api_key")["role_descriptors"]["writer"]
    assert rights["indices"] == [
        {
            "names": ["logs-bedside.inference-default", "logs-bedside.audit-default"],
            "privileges": ["create_doc", "auto_configure"],
        }
    ]
    assert (file.read_text(), stat.S_IMODE(file.stat().st_mode)) == ("d3JpdGU6a2V5\n", 0o600)
    assert {headers["authorization"] for _, _, headers, _ in elastic.asked} == {"ApiKey YWRtaW46a2V5"}
    assert "d3JpdGU6a2V5" not in output
    assert "YWRtaW46a2V5" not in output


def test_a_key_that_is_refused_leaves_no_file(elastic: Recorder, tmp_path: Path) -> None:
    """Else the next run would take the empty file for a key."""
    elastic.answers["/_security/api_key"] = (403, {"error": {"type": "security_exception", "reason": "DOE^JOHN"}})
    with pytest.raises(NotInstalled, match="403 security_exception") as caught:
        install("--url", elastic.url, "--write-key-file", tmp_path / "write.key")
    assert "DOE" not in caught.value.detail
    assert not (tmp_path / "write.key").exists()
    with pytest.raises(NotInstalled, match="cannot be written"):
        install("--url", elastic.url, "--write-key-file", tmp_path / "missing" / "write.key")


@pytest.mark.parametrize(("space", "prefix"), [("default", ""), ("radiology", "/s/radiology")])
def test_dashboards_go_into_kibana(elastic: Recorder, space: str, prefix: str) -> None:
    """By the saved objects API, over those that are there."""
    install("--url", elastic.url, "--kibana-url", elastic.url, "--space", space)
    found = [asked for asked in elastic.asked if "_import" in asked[1]]
    ((method, path, headers, body),) = found
    assert (method, path) == ("POST", f"{prefix}/api/saved_objects/_import?overwrite=true")
    assert headers["kbn-xsrf"] == "true"
    assert b'filename="dashboards.ndjson"' in body
    assert b'"type":"dashboard"' in body.replace(b'": "', b'":"')


@pytest.mark.parametrize("space", ["default", "radiology"])
def test_rules_go_into_kibana_too(elastic: Recorder, space: str) -> None:
    """Each under its id, after the dashboards; Elasticsearch need not be asked for that."""
    install("--kibana-url", elastic.url, "--space", space)
    prefix = "" if space == "default" else "/s/radiology"
    imported, *rules = elastic.paths
    assert "_import" in imported
    assert rules == [f"POST {prefix}/api/alerting/rule/{alert.id}" for alert in ALERTS]
    assert all(json.loads(body)["rule_type_id"] == ".es-query" for *_, body in elastic.asked[1:])
    assert {headers["kbn-xsrf"] for _, _, headers, _ in elastic.asked} == {"true"}


def test_rules_that_are_there_keep_their_connectors(elastic: Recorder) -> None:
    """Unless they are asked to be made anew."""
    elastic.answers = {f"/api/alerting/rule/{alert.id}": (409, {"message": "conflict"}) for alert in ALERTS}
    assert install("--kibana-url", elastic.url).output.count("is there already") == len(ALERTS)
    assert not any(method == "DELETE" for method, *_ in elastic.asked)


def test_rules_are_made_anew_on_request(elastic: Recorder) -> None:
    """Deleted and created again; those that are not there are only created."""
    there = f"/api/alerting/rule/{ALERTS[0].id}"
    elastic.once[there] = (409, {"message": "conflict"})
    install("--kibana-url", elastic.url, "--replace-rules")
    assert [path for path in elastic.paths if there in path] == [f"POST {there}", f"DELETE {there}", f"POST {there}"]
    assert sum(method == "DELETE" for method, *_ in elastic.asked) == 1


def test_the_dashboards_api_is_used_on_request(elastic: Recorder) -> None:
    """Each dashboard is put under its id."""
    install("--kibana-url", elastic.url, "--dashboards-api")
    put = {path for path in elastic.paths if path.startswith("PUT")}
    assert put == {f"PUT /api/dashboards/{board.id}" for board in DASHBOARDS}


def test_a_rule_that_kibana_refuses_fails(elastic: Recorder) -> None:
    """By its path and status."""
    elastic.answers[f"/api/alerting/rule/{ALERTS[1].id}"] = (400, {"message": "params invalid"})
    with pytest.raises(NotInstalled, match=f"rule/{ALERTS[1].id}: 400"):
        install("--kibana-url", elastic.url)


def test_an_import_that_kibana_half_refuses_is_told(elastic: Recorder) -> None:
    """Its status is 200 all the same."""
    elastic.answers["/api/saved_objects/_import?overwrite=true"] = (200, {"success": False, "errors": [{}]})
    with pytest.raises(NotInstalled, match="_import"):
        install("--url", elastic.url, "--kibana-url", elastic.url)


def test_the_first_refusal_ends_it(elastic: Recorder) -> None:
    """By request and status; a proxy's page is no reason either."""
    elastic.answers["/_index_template/bedside-inference-default"] = (400, {"error": "no handler found"})
    with pytest.raises(NotInstalled, match=r"PUT /_index_template/bedside-inference-default: 400$"):
        install("--url", elastic.url)
    assert len(elastic.paths) == 3


def test_a_dry_run_asks_nothing(elastic: Recorder) -> None:
    """It prints what would be sent."""
    output = install("--url", elastic.url, "--dry-run").output
    assert "PUT /_ilm/policy/bedside-audit-default\n" in output
    assert '"max_age": "1d"' in output
    assert elastic.asked == []


def test_what_cannot_work_is_told_before_anything_is_asked(elastic: Recorder, tmp_path: Path) -> None:
    """Addresses, names and files."""
    for options in (
        ("--url", "es.example"),
        ("--url", elastic.url, "--kibana-url", "https://user:secret@kibana"),
        ("--url", elastic.url, "--namespace", "prod-eu"),
        ("--url", elastic.url, "--api-key-file", tmp_path / "missing"),
        ("--namespace", "prod"),
    ):
        with pytest.raises(ConfigurationError) as caught:
            install(*options)
        assert "secret" not in caught.value.detail
    with pytest.raises(NotInstalled, match="authorities"):
        install("--url", elastic.url, "--ca", tmp_path / "missing.pem")
    assert elastic.asked == []


def test_nobody_there_is_told() -> None:
    """With the address and the kind of failure."""
    with pytest.raises(NotInstalled, match="does not answer: ConnectError"):
        install("--url", "http://127.0.0.1:9")
