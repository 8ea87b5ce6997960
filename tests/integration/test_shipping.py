"""Log lines on their way into a server that speaks Elasticsearch's API, also while it is away."""

import json
import logging
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.conftest import start, stop
from tests.integration.noida import Noida, running
from tests.integration.shipping_load import BURST, EVENTS_PER_REQUEST
from tests.integration.wire import wire
from tests.waiting import wait_until

from bedside.delivery.processes import free_port
from bedside.log_settings import ElasticSettings
from bedside.observability.shipping.bulk import BulkClient
from bedside.observability.shipping.content import Lifetimes, requests
from bedside.observability.shipping.installation import connect, install
from bedside.observability.shipping.spool import SpooledLine
from bedside.observability.shipping.verdicts import NotDelivered, Verdict

STREAM = "logs-bedside.inference-test"
AUDIT = "logs-bedside.audit-test"
PER_SECOND = 2400


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Noida]:
    """Run the stand-in."""
    with running(tmp_path / "noida") as server:
        yield server


def on_disk(folder: Path) -> list[dict[str, Any]]:
    """Return the records of the audit trail, chain after chain, without what a killed process left half."""
    found = (line for path in sorted(folder.glob("*.jsonl")) for line in path.read_bytes().splitlines(keepends=True))
    return [json.loads(line) for line in found if line.endswith(b"\n")]


def settings_for(url: str, folder: Path) -> Path:
    """Write settings that ship to it."""
    config = folder / "bedside.toml"
    config.write_text(
        f"""
env = "test"
[log]
sink = "elasticsearch"
[runtime]
state_dir = "{folder / "state"}"
[elastic]
urls = ["{url}"]
namespace = "test"
flush_seconds = 0.05
retry_seconds = 0.1
retry_most_seconds = 0.5
stop_seconds = 120
"""
    )
    return config


def test_a_servers_lines_arrive_as_they_were_written(cluster: Noida, bundles: Path, tmp_path: Path) -> None:
    """What is on standard output is in the data stream, field for field; requests of the shipper itself are not."""
    environment = {
        "LOG__SINK": "both",
        "ELASTIC__URLS": json.dumps([cluster.url]),
        "ELASTIC__NAMESPACE": "test",
        "ELASTIC__FLUSH_SECONDS": "0.05",
        "AUTH__METRICS_ACCESS": "open",
    }
    served = start(
        [bundles / "record_classification"],
        tmp_path / "server",
        **{f"BEDSIDE_{name}": value for name, value in environment.items()},
    )
    with served.client() as client:
        answer = client.post("/v1/models/record_classification/predict", json={"age": 50, "chol": 1, "thalach": 1})
        assert answer.status_code == 200, answer.text
        assert "bedside_spooled_log_lines" in client.get("/metrics").text
    assert stop(served) == 0
    lines = [json.loads(line) for line in served.log.read_bytes().splitlines() if line.startswith(b"{")]
    assert {"server_ready", "inference_completed", "server_stopped"} <= {line["message"] for line in lines}
    assert [found["_source"] for found in cluster.documents(STREAM)] == lines
    trail = on_disk(served.state / "audit")
    assert {"chain_opened", "bundle_judged", "model_called", "chain_closed"} <= {line["message"] for line in trail}
    assert [found["_source"] for found in cluster.documents(AUDIT)] == trail


def _is_at(cluster: Noida, documents: int, load: "subprocess.Popen[bytes]") -> bool:
    return cluster.count(STREAM) > documents or load.poll() is not None


def shipped_under_load(cluster: Noida, folder: Path, events: int) -> dict[str, Any]:
    """Ship events while the cluster goes away and comes back; return what it cost."""
    port = free_port()
    command = [sys.executable, str(Path(__file__).with_name("shipping_load.py"))]
    command += [str(settings_for(f"http://127.0.0.1:{port}", folder))]
    with (
        wire(port, cluster.port) as line,
        subprocess.Popen([*command, str(events), str(PER_SECOND)], stdout=subprocess.PIPE) as load,
    ):
        assert load.stdout is not None
        assert load.stdout.readline() == b"begun\n"
        for part in (1, 2, 3):
            # In the middle of a request or of its answer; back when lines have piled up.
            wait_until(partial(_is_at, cluster, events * part // 6, load))
            line.cut()
            cluster.stop()
            cluster.start()
            line.mend()
        told = load.stdout.readlines()[-1]
        assert load.wait(300) == 0
        subprocess.run([*command, "0", "1"], check=True, stdout=subprocess.DEVNULL)  # what waited when it ended
    return dict(json.loads(told))


@pytest.mark.parametrize("events", [6_000, pytest.param(60_000, marks=pytest.mark.slow)])
def test_a_cluster_that_goes_away_costs_no_event(
    cluster: Noida, tmp_path: Path, events: int, record_property: Any
) -> None:
    """All arrive, each once, those of one request in their order; memory does not grow with what waits."""
    events -= events % BURST
    cost = shipped_under_load(cluster, tmp_path, events)
    record_property("cost", cost)
    logging.getLogger(__name__).info("%d events: %s", events, cost)
    found = [hit["_source"] for hit in cluster.documents(STREAM)]
    requests = defaultdict(list)
    for line in found:
        if line["message"] == "result_delivered":
            requests[line["inference"]["job"]["id"]].append(line["inference"]["job"]["attempt"])
    assert cost["lost"] == 0
    assert len(requests) == events // EVENTS_PER_REQUEST
    assert [request for request, places in requests.items() if places != [0, 1, 2]] == []
    assert cost["grown_kib"] < 64 * 1024


def test_a_shipper_that_is_killed_costs_no_event(cluster: Noida, tmp_path: Path) -> None:
    """``kill -9`` while lines wait: the next process sends them, and none twice."""
    config = settings_for(cluster.url, tmp_path)
    cluster.stop()
    command = [sys.executable, str(Path(__file__).with_name("shipping_load.py")), str(config)]
    with subprocess.Popen([*command, "100000", "1000"], stdout=subprocess.PIPE) as load:
        assert load.stdout is not None
        assert load.stdout.readline() == b"begun\n"
        database = tmp_path / "state" / "log-spool" / "lines.db-wal"
        wait_until(lambda: database.exists() and database.stat().st_size > 500_000)
        load.kill()
    cluster.start()
    subprocess.run([*command, "30", "1000"], check=True, stdout=subprocess.DEVNULL)
    places: dict[str, list[int]] = defaultdict(list)
    for hit in cluster.documents(STREAM):
        if hit["_source"]["message"] == "result_delivered":
            job = hit["_source"]["inference"]["job"]
            places[job["id"]].append(job["attempt"])
    first = [places.pop(f"{request:032x}") for request in range(10)]
    assert first == [[0, 1, 2, 0, 1, 2]] * 10  # both processes wrote these
    requests = sorted(places)
    assert requests == [f"{request:032x}" for request in range(10, 10 + len(requests))]
    assert len(requests) > 100
    assert all(places[request] == [0, 1, 2] for request in requests[:-1])


def test_a_trail_is_shipped_whole_over_kills_and_a_cluster_that_is_away(cluster: Noida, tmp_path: Path) -> None:
    """``kill -9`` while the cluster is away and while it takes some: what is on the disk arrives, once, as it is."""
    config = settings_for(cluster.url, tmp_path)
    folder = tmp_path / "state" / "audit"
    command = [sys.executable, str(Path(__file__).with_name("shipping_audit.py")), str(config)]

    def kill_when(ready: Callable[[], bool]) -> None:
        with subprocess.Popen([*command, "1000000", "3000"], stdout=subprocess.PIPE) as load:
            assert load.stdout is not None
            assert load.stdout.readline() == b"begun\n"
            wait_until(ready)
            load.kill()

    cluster.stop()
    kill_when(lambda: sum(path.stat().st_size for path in folder.glob("*.jsonl")) > 500_000)
    cluster.start()
    kill_when(lambda: cluster.count(AUDIT) > 500)
    cluster.stop()
    kill_when(lambda: len(list(folder.glob("*.jsonl"))) == 3)  # a chain that has hardly begun
    cluster.start()
    subprocess.run([*command, "30", "3000"], check=True, stdout=subprocess.DEVNULL)

    found, expected = cluster.documents(AUDIT), on_disk(folder)
    places = [(line["bedside"]["audit"]["chain"], line["bedside"]["audit"]["sequence"]) for line in expected]
    assert len({chain for chain, _ in places}) == 4
    assert [hit["_source"] for hit in found] == expected
    assert [hit["_id"] for hit in found] == [f"{chain}-{sequence}" for chain, sequence in places]


def test_records_that_were_removed_unshipped_are_told(cluster: Noida, tmp_path: Path) -> None:
    """``audit.chain_bytes`` does not wait for a cluster that is away; the log tells how many it will never have."""
    config = settings_for(cluster.url, tmp_path)
    with config.open("a") as file:
        file.write("[audit]\nsegment_bytes = 20000\nchain_bytes = 60000\nflush_seconds = 0.01\n")
    command = [sys.executable, str(Path(__file__).with_name("shipping_audit.py")), str(config)]
    cluster.stop()
    with subprocess.Popen([*command, "3000", "2000"], stdout=subprocess.PIPE) as load:
        assert load.wait(300) == 0
    cluster.start()
    subprocess.run([*command, "0", "1"], check=True, stdout=subprocess.DEVNULL)
    kept = on_disk(tmp_path / "state" / "audit")
    assert [hit["_source"] for hit in cluster.documents(AUDIT)] == kept
    missed = [
        hit["_source"] for hit in cluster.documents(STREAM) if hit["_source"]["message"] == "audit_records_missed"
    ]
    first = kept[0]["bedside"]["audit"]
    assert first["sequence"] > 1000
    assert missed[-1]["bedside"]["audit"] == {"chain": first["chain"], "lost": first["sequence"]}


def test_the_client_tells_lines_apart(cluster: Noida) -> None:
    """Taken, there already, and one that the mapping does not fit; a second time all is settled."""
    client = BulkClient(ElasticSettings(urls=(cluster.url,)), STREAM)
    lines = [b'{"@timestamp":"2026-01-01T00:00:00Z","n":1}', b'{"@timestamp":"2026-01-01T00:00:00Z","n":"x"}']
    batch = [SpooledLine(number, f"a-{number}", line) for number, line in enumerate(lines)]
    first = client.send(batch)
    assert (first.settled, first.status) == (2, None)
    assert [(refusal.line.number, refusal.status) for refusal in first.refused] == [(1, 400)]
    assert client.send(batch[:1]) == Verdict(1, (), None)
    assert [hit["_id"] for hit in cluster.documents(STREAM)] == ["a-0"]
    cluster.stop()
    with pytest.raises(NotDelivered) as caught:
        client.send(batch)
    assert (caught.value.error_type, caught.value.status) == ("ConnectionError", None)
    client.close()


def test_templates_are_taken_and_mapped(cluster: Noida) -> None:
    """Those of `bedside observability install`; the stand-in has no policies, data streams or roles."""
    plan = [request for request in requests("test", Lifetimes()) if "_template/" in request.path]
    with connect(cluster.url, "", None) as administrator:
        install(administrator, plan, lambda _: None)
        install(administrator, plan, lambda _: None)
    client = BulkClient(ElasticSettings(urls=(cluster.url,)), STREAM)
    line = b'{"@timestamp":"2026-01-01T00:00:00Z","inference":{"load_ms":%s,"unknown":{"a":1}}}'
    verdict = client.send([SpooledLine(n, f"a-{n}", line % load) for n, load in enumerate((b"1.5", b'"long"'))])
    client.close()
    assert [(refusal.line.number, refusal.status) for refusal in verdict.refused] == [(1, 400)]
    assert len(cluster.documents(STREAM)) == 1
