"""A real shipper, with the configuration that we ship, carries a log into a server that speaks Elasticsearch's API."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from tests.integration.noida import running
from tests.integration.orthanc import wait_until

from bedside.observability.events import Event
from bedside.observability.logging import configure, get_logger
from bedside.settings import Settings

CONFIGURATION = Path(__file__).parents[2] / "deploy" / "elastic" / "rsyslog.conf"
RSYSLOGD = shutil.which("rsyslogd") or shutil.which("/usr/sbin/rsyslogd")
PLUGINS = ("/usr/lib/*/rsyslog/omelasticsearch.so", "/usr/lib*/rsyslog/omelasticsearch.so")
STREAM = "logs-bedside.inference-default"
EVENTS = 500


def fitted(text: str, changes: dict[str, str]) -> str:
    """Return the configuration for this machine: every place must be there, or it is not the one that we ship."""
    for shipped, here in changes.items():
        assert shipped in text
        text = text.replace(shipped, here)
    return text


@pytest.mark.skipif(
    RSYSLOGD is None or not any(found for plugin in PLUGINS for found in Path("/").glob(plugin[1:])),
    reason="needs rsyslog: apt-get install rsyslog rsyslog-elasticsearch (scripts/install_test_servers.sh)",
)
def test_rsyslog_carries_our_lines_unchanged(tmp_path: Path) -> None:
    """Each once, field for field, in their order."""
    log, work = tmp_path / "bedside.log", tmp_path / "work"
    work.mkdir()
    with log.open("wb", buffering=0) as stream:
        written = configure(Settings(env="test"), stream=stream)
        for number in range(EVENTS):
            get_logger("bedside.load").info(Event.RESULT_DELIVERED, job=f"{number:032x}", attempt=number)
        written.close()
    with running(tmp_path / "noida") as cluster:
        tls = '    tls.cacert="/etc/bedside/elastic-ca.pem"\n    uid="bedside-writer" pwd="change-me"\n'
        changes = {
            "/var/spool/rsyslog": str(work),
            "/var/log/bedside/bedside.log": str(log),
            "https://es1.example:9200": cluster.url,
            tls: '    usehttps="off"\n',
        }
        configuration = tmp_path / "rsyslog.conf"
        configuration.write_text(fitted(CONFIGURATION.read_text(encoding="utf-8"), changes))
        assert RSYSLOGD is not None
        subprocess.run([RSYSLOGD, "-N1", "-f", str(configuration)], check=True, capture_output=True)
        command = [RSYSLOGD, "-n", "-f", str(configuration), "-i", str(tmp_path / "pid")]
        with (tmp_path / "rsyslog.log").open("wb") as told:
            shipper = subprocess.Popen(command, stdout=told, stderr=told)
        try:
            wait_until(lambda: len(cluster.documents(STREAM)) >= EVENTS)
        finally:
            shipper.terminate()
            shipper.wait(60)
        arrived = [found["_source"] for found in cluster.documents(STREAM)]
    assert arrived == [json.loads(line) for line in log.read_bytes().splitlines()]


@pytest.mark.parametrize("name", ["filebeat.yml", "elastic-agent.yml"])
def test_elastics_shippers_are_pointed_at_the_data_stream(name: str) -> None:
    """YAML, by filestream with our parser, and nothing that would install templates of the shipper's own."""
    text = (CONFIGURATION.parent / name).read_text(encoding="utf-8")
    shipped = yaml.safe_load(text)
    (described,) = shipped.get("filebeat.inputs") or shipped["inputs"][0]["streams"]
    assert described["parsers"][-1]["ndjson"] == {
        "target": "",
        "overwrite_keys": True,
        "add_error_key": True,
        "expand_keys": True,
    }
    if name == "filebeat.yml":
        assert shipped["output.elasticsearch"]["index"].startswith("logs-bedside.inference-")
        assert [shipped[f"setup.{part}.enabled"] for part in ("template", "ilm", "dashboards")] == [False] * 3
    else:
        assert described["data_stream.dataset"] == "bedside.inference"
