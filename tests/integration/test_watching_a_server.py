"""What a server with two workers tells of itself: every call is counted, once, whichever process answered it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families
from tests.acceptance.conftest import APPS, Served, start, stop

MODEL = "chest_xray_pneumonia"
CALLS, REFUSALS = 12, 3


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Serve a model in two processes, and call it from several threads."""
    running = start([APPS / MODEL], tmp_path_factory.mktemp("served"), BEDSIDE_RUNTIME__WORKERS="2")
    image = (Path(APPS) / MODEL / "golden" / "grey8.png").read_bytes()
    try:
        with running.client() as client, ThreadPoolExecutor(4) as pool:

            def call(body: bytes) -> int:
                headers = {"content-type": "image/png", "accept": "application/json"}
                return client.post(f"/v1/models/{MODEL}/predict", content=body, headers=headers).status_code

            assert list(pool.map(call, [image] * CALLS)) == [200] * CALLS
            assert set(pool.map(call, [b"no image"] * REFUSALS)) < set(range(400, 500))
        yield running
    finally:
        stop(running)


def samples(served: Served) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Return every sample by name and labels."""
    families = text_string_to_metric_families(httpx.get(f"{served.url}/metrics").text)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def total(served: Served, name: str, **labels: str) -> float:
    """Return the sum over the samples that have these labels."""
    wanted = set(labels.items())
    return sum(value for (found, had), value in samples(served).items() if found == name and wanted <= had)


def test_two_workers_count_as_one_server(served: Served) -> None:
    """Both processes were started; calls, times and stages are those of all calls together."""
    assert total(served, "bedside_model_process_starts_total", model=MODEL) == 2
    assert total(served, "bedside_requests_total", model=MODEL, outcome="success") == CALLS
    assert total(served, "bedside_requests_total", model=MODEL, outcome="failure") == REFUSALS
    assert total(served, "bedside_refused_total") == REFUSALS
    assert total(served, "bedside_request_seconds_count", model=MODEL) == CALLS + REFUSALS
    assert total(served, "bedside_stage_seconds_count", model=MODEL, stage="inference") == CALLS
    assert total(served, "bedside_prediction_probability_count", model=MODEL) == CALLS
    assert total(served, "bedside_in_flight", model=MODEL) == 0
    assert total(served, "bedside_model_ready", model=MODEL) == 1


def test_a_bucket_leads_to_a_line_of_the_log(served: Served) -> None:
    """The exemplar of a bucket is the request id of a call that was logged."""
    text = httpx.get(f"{served.url}/metrics", headers={"accept": "application/openmetrics-text"}).text
    families = openmetrics.text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
    found = [sample.exemplar for family in families for sample in family.samples if sample.exemplar]
    log = served.log.read_text()
    assert found
    assert all(exemplar.labels["request_id"] in log for exemplar in found)


def test_top_shows_the_server(served: Served) -> None:
    """`bedside top` has the model, its state from the index, the calls and the refusals."""
    command = [sys.executable, "-m", "bedside", "top", "--url", served.url, "--once", "--json"]
    environment = {**os.environ, "BEDSIDE_TOKEN": served.token()}
    told = json.loads(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)
    (model,) = (one for one in told["models"] if one["name"] == MODEL)
    assert model["state"] == "READY"
    assert round(model["calls_per_second"] * told["seconds"]) == CALLS + REFUSALS
    assert 0 < model["p50"] <= model["p95"]
    assert sum(told["refusals"].values()) == REFUSALS
    assert told["resident_bytes"] > 0
