"""A real shipper, with the configuration that we ship, carries a log into a server that speaks Elasticsearch's API."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from tests.integration.noida import running
from tests.waiting import wait_until

from bedside.audit_settings import AuditSettings
from bedside.observability.audit import AuditTrail
from bedside.observability.audit_lines import Record
from bedside.observability.events import AuditAction, Event
from bedside.observability.logging import configure, get_logger
from bedside.observability.rendering import Service
from bedside.observability.schema import FIELDS
from bedside.settings import Settings

CONFIGURATION = Path(__file__).parents[2] / "deploy" / "elastic" / "rsyslog.conf"
RSYSLOGD = shutil.which("rsyslogd") or shutil.which("/usr/sbin/rsyslogd")
PLUGINS = ("/usr/lib/*/rsyslog/omelasticsearch.so", "/usr/lib*/rsyslog/omelasticsearch.so")
STREAM = "logs-bedside.inference-default"
AUDIT = "logs-bedside.audit-default"
EVENTS = 500


def fitted(text: str, changes: dict[str, str]) -> str:
    """Return the configuration for this machine: every place must be there, or it is not the one that we ship."""
    for shipped, here in changes.items():
        assert shipped in text
        text = text.replace(shipped, here)
    return text


@contextmanager
def shipping(configuration: Path) -> Iterator[None]:
    """Run rsyslog until the block ends."""
    assert RSYSLOGD is not None
    command = [RSYSLOGD, "-n", "-f", str(configuration), "-i", str(configuration.with_name("pid"))]
    with configuration.with_name("rsyslog.log").open("ab") as told:
        shipper = subprocess.Popen(command, stdout=told, stderr=told)
    try:
        yield
    finally:
        shipper.terminate()
        shipper.wait(60)


@pytest.mark.skipif(
    RSYSLOGD is None or not any(found for plugin in PLUGINS for found in Path("/").glob(plugin[1:])),
    reason="needs rsyslog: apt-get install rsyslog rsyslog-elasticsearch (scripts/install_test_servers.sh)",
)
def test_rsyslog_carries_our_lines_unchanged(tmp_path: Path) -> None:
    """Each once, field for field, in their order: log and audit trail, also one that is read again from its start."""
    log, audit, work = tmp_path / "bedside.log", tmp_path / "audit", tmp_path / "work"
    work.mkdir()
    with log.open("wb", buffering=0) as stream:
        written = configure(Settings(env="test"), stream=stream)
        for number in range(EVENTS):
            get_logger("bedside.load").info(Event.RESULT_DELIVERED, job=f"{number:032x}", attempt=number)
        written.close()
    trail = AuditTrail(audit, b"k" * 32, AuditSettings(segment_bytes=50_000), Service("b", "test"))
    for number in range(EVENTS):
        trail.record(Record(AuditAction.JOB_READ, None, {"job": f"{number:032x}", "outcome": "success"}))
    trail.close()
    with running(tmp_path / "noida") as cluster:
        tls = '    tls.cacert="/etc/bedside/elastic-ca.pem"\n    uid="bedside-writer" pwd="change-me"\n'
        changes = {
            "/var/spool/rsyslog": str(work),
            "/var/log/bedside/bedside.log": str(log),
            "/var/lib/bedside/audit": str(audit),
            "https://es1.example:9200": cluster.url,
            tls: '    usehttps="off"\n',
        }
        configuration = tmp_path / "rsyslog.conf"
        configuration.write_text(fitted(CONFIGURATION.read_text(encoding="utf-8"), changes))
        assert RSYSLOGD is not None
        subprocess.run([RSYSLOGD, "-N1", "-f", str(configuration)], check=True, capture_output=True)
        expected = [json.loads(line) for path in sorted(audit.glob("*.jsonl")) for line in path.open("rb")]
        with shipping(configuration):
            wait_until(lambda: cluster.count(STREAM) >= EVENTS and cluster.count(AUDIT) >= len(expected))
        forgotten = [state for state in work.glob("imfile-state:*") if b".jsonl" in state.read_bytes()]
        assert forgotten
        for state in forgotten:
            state.unlink()
        conflicts = work / "bedside-audit-refused.json"
        with shipping(configuration):
            wait_until(lambda: conflicts.exists() and b"version_conflict_engine_exception" in conflicts.read_bytes())
        arrived = [found["_source"] for found in cluster.documents(STREAM)]
        records = [(found["_id"], found["_source"]) for found in cluster.documents(AUDIT)]
    assert arrived == [json.loads(line) for line in log.read_bytes().splitlines()]
    places = [record["bedside"]["audit"] for record in expected]
    assert dict(records) == {f"{at['chain']}-{at['sequence']}": told for at, told in zip(places, expected, strict=True)}
    assert len(records) == len(expected)


@pytest.mark.parametrize("name", ["filebeat.yml", "elastic-agent.yml"])
def test_elastics_shippers_are_pointed_at_the_data_stream(name: str) -> None:
    """YAML, by filestream with our parser, and nothing that would install templates of the shipper's own."""
    text = (CONFIGURATION.parent / name).read_text(encoding="utf-8")
    shipped = yaml.safe_load(text)
    described, audit = shipped.get("filebeat.inputs") or shipped["inputs"][0]["streams"]
    for each in (described, audit):
        assert each["parsers"][-1]["ndjson"] == {
            "target": "",
            "overwrite_keys": True,
            "add_error_key": True,
            "expand_keys": True,
        }
    assert audit["paths"] == ["/var/lib/bedside/audit/*.jsonl"]
    (identity,) = audit["processors"]
    assert identity["fingerprint"]["target_field"] == "@metadata._id"
    assert set(identity["fingerprint"]["fields"]) == {FIELDS[name].ecs for name in ("audit_chain", "audit_sequence")}
    if name == "filebeat.yml":
        assert audit["index"].startswith("logs-bedside.audit-")
        assert shipped["output.elasticsearch"]["index"].startswith("logs-bedside.inference-")
        assert [shipped[f"setup.{part}.enabled"] for part in ("template", "ilm", "dashboards")] == [False] * 3
    else:
        assert described["data_stream.dataset"] == "bedside.inference"
        assert audit["data_stream.dataset"] == "bedside.audit"
