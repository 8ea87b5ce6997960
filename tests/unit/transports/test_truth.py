"""The truth of an answer over HTTP: who may tell it, what is answered, what is recorded."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.transports.fakes import RECORD, RECORD_BODY, Trail, World, make_world

from bedside.errors import InsufficientScope
from bedside.jobs.tables import connect
from bedside.monitoring.desk import TruthDesk
from bedside.monitoring.drift import DriftWatch
from bedside.monitoring.monitor import Monitor
from bedside.monitoring.sink import KeepingSink
from bedside.monitoring.store import PredictionStore
from bedside.monitoring_settings import MonitoringSettings
from bedside.observability.metrics import Metrics
from bedside.transports.rest.app import create_app
from bedside.types import Principal

JSON = {"content-type": "application/json"}
TRUTH = "/v1/models/heart/truth"
ID = b"0" * 32
NOBODY = {"authorization": "Bearer nobody"}


def authorise(principal: Principal, model: str) -> None:
    """Let everyone but ``nobody`` tell the truth."""
    if principal.subject == "nobody":
        raise InsufficientScope(scope="bedside.truth")


@pytest.fixture
def trail() -> Trail:
    """Return an audit trail in memory."""
    return Trail()


@pytest.fixture
def world(tmp_path: Path, trail: Trail) -> World:
    """Return an application that keeps predictions."""
    world, metrics = make_world(audit=trail), Metrics()
    settings = MonitoringSettings(predictions_seconds=1000)
    store = PredictionStore(connect(f"sqlite:///{tmp_path / 'jobs.db'}"))
    watch = DriftWatch(metrics, store, lambda *_: ("1.0.0", RECORD.digest, {}), settings, lambda: 0.0)
    monitor = Monitor(store, watch, settings)
    world.parts.dataplane._sink = KeepingSink(world.sink, monitor.keep)
    world.parts = replace(
        world.parts,
        truth=TruthDesk(store, monitor, metrics, lambda *_: RECORD),
        authorise_truth=authorise,
    )
    world.app = create_app(world.parts)
    return world


async def test_truth_is_told_and_accuracy_read(world: World, trail: Trail) -> None:
    """By the id that the answer had in its header; the answer itself is not told back."""
    async with world.client() as client:
        answer = await client.post("/v1/models/heart/predict", content=RECORD_BODY, headers=JSON)
        request_id = answer.headers["x-request-id"]
        body = {"request_id": request_id, "truth": "present"}
        told = [await client.post(TRUTH, json=body) for _ in range(2)]
        found = (await client.get("/v1/models/heart/accuracy")).json()
    assert [answer.json() for answer in told] == [
        {"request_id": request_id, "model": "heart", "version": "1.0.0", "new": new} for new in (True, False)
    ]
    assert found["versions"][0]["accuracy"] == 1.0
    assert trail.told[1:] == [("truth_told", "user", "")] * 2


async def test_truth_is_told_of_each_row_of_tensors(world: World) -> None:
    """By its number, of the protocol's own call."""
    rows = {"name": "features", "shape": [2, 2], "datatype": "FP32", "data": [63, 233, 20, 180]}
    async with world.client() as client:
        request_id = (await client.post("/v2/models/heart/infer", json={"inputs": [rows]})).headers["x-request-id"]
        bodies = [{"request_id": request_id, "row": row, "truth": "absent"} for row in (0, 1, 2)]
        told = [await client.post(TRUTH, json=body) for body in bodies]
        (version,) = (await client.get("/v1/models/heart/accuracy")).json()["versions"]
    assert [answer.status_code for answer in told] == [200, 200, 404]
    named = {"request_id": request_id, "row": 1, "model": "heart", "version": "1.0.0", "new": True}
    assert told[1].json() == named
    assert version["confusion"]["absent"] == {"absent": 1, "present": 1}


@pytest.mark.parametrize(
    ("path", "headers", "body", "status", "slug"),
    [
        (TRUTH, NOBODY, b"{}", 403, "insufficient-scope"),
        (TRUTH, {}, b"[]", 400, "malformed-payload"),
        (TRUTH, {}, b"{}", 400, "malformed-payload"),
        (TRUTH, {}, b'{"request_id": "DOE^JOHN", "truth": "present"}', 422, "bad-parameter"),
        (TRUTH, {}, b'{"request_id": "%s", "truth": "present"}' % ID, 404, "prediction-not-found"),
        (TRUTH, {}, b'{"request_id": "%s", "truth": "present", "truth": "absent"}' % ID, 400, "malformed-payload"),
        ("/v1/models/made_up/truth", {}, b"{}", 404, "model-not-found"),
    ],
    ids=["scope", "list", "empty", "no id", "unknown id", "two truths", "unknown model"],
)
async def test_what_is_no_truth_is_refused(
    world: World, trail: Trail, path: str, headers: dict[str, str], body: bytes, status: int, slug: str
) -> None:
    """With a problem that names the member; it is recorded, and repeats nothing."""
    async with world.client(**headers) as client:
        answer = await client.post(path, content=body, headers=JSON)
    assert (answer.status_code, answer.json()["type"]) == (status, f"urn:bedside:problem:{slug}")
    assert "DOE" not in answer.text
    assert trail.told[-1][2] == slug.replace("-", "_")


async def test_another_truth_is_refused(world: World) -> None:
    """With 409: what was counted cannot be uncounted."""
    async with world.client() as client:
        answer = await client.post("/v1/models/heart/predict", content=RECORD_BODY, headers=JSON)
        bodies = [{"request_id": answer.headers["x-request-id"], "truth": so} for so in ("present", "absent")]
        assert [(await client.post(TRUTH, json=body)).status_code for body in bodies] == [200, 409]


async def test_accuracy_needs_the_scope_too(world: World) -> None:
    """It tells nothing of anybody, but it is not everybody's."""
    async with world.client(**NOBODY) as client:
        assert (await client.get("/v1/models/heart/accuracy")).status_code == 403
