"""Who asked for what, by every transport, is told to the audit trail."""

from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.unit.transports.fakes import RECORD_BODY, Trail, make_world
from tests.unit.transports.grpc.station import ADMIN, USER, Station, request, station
from tests.unit.transports.test_jobs import JSON, Office, ended
from tritonclient.grpc import service_pb2

PREDICT = "/v1/models/heart/predict"
NOBODY = {"authorization": "Bearer nobody"}
NO_TOKEN = {"authorization": "Bearer DOE^JOHN"}


@pytest.fixture
def trail() -> Trail:
    """Return an audit trail in memory."""
    return Trail()


async def test_a_call_is_recorded_with_who_which_and_what(trail: Trail) -> None:
    """Caller, model, digest, hash of the input, outcome."""
    async with make_world(audit=trail).client() as client:
        answer = await client.post(PREDICT, content=RECORD_BODY, headers=JSON)
    ((action, who, facts),) = trail.kept
    assert (action, who) == ("model_called", "user")
    assert facts == {
        "request_id": answer.headers["x-request-id"],
        "transport": "rest",
        "operation": "predict",
        "outcome": "success",
        "model": "heart",
        "version": "1.0.0",
        "digest": "sha256:" + "0" * 64,
        "input_hash": b'{"age":63,"chol":233}'.hex(),
        "rows": 1,
    }


@pytest.mark.parametrize(
    ("headers", "body", "told"),
    [
        (NO_TOKEN, RECORD_BODY, ("access_refused", "", "invalid_token")),
        (NOBODY, RECORD_BODY, ("access_refused", "nobody", "insufficient_scope")),
        ({}, b'{"age": "DOE^JOHN"}', ("model_called", "user", "wrong_datatype")),
    ],
    ids=["no token", "no scope", "bad input"],
)
async def test_a_refused_call_is_recorded(
    trail: Trail, headers: dict[str, str], body: bytes, told: tuple[str, str, str]
) -> None:
    """With the error's name, and the caller where it is known."""
    async with make_world(audit=trail).client(**headers) as client:
        await client.post(PREDICT, content=body, headers=JSON)
    assert trail.told == [told]


NESTED = b"[" * 300 + b"]" * 300
TENSOR = b'{"inputs": [{"name": "age", "datatype": "FP32", "shape": [1], "data": %b}]}' % NESTED


@pytest.mark.parametrize(
    ("path", "body"),
    [(PREDICT, b'{"age": %b}' % NESTED), ("/v2/models/heart/infer", TENSOR)],
    ids=["record", "tensor"],
)
async def test_an_input_that_is_nested_too_deeply_is_refused_and_recorded(trail: Trail, path: str, body: bytes) -> None:
    """Its hash cannot be told, and it is no fault of the server's."""
    async with make_world(audit=trail).client() as client:
        answer = await client.post(path, content=body, headers=JSON)
    assert answer.status_code == 400
    assert "nested" in answer.text
    assert trail.told == [("model_called", "user", "malformed_payload")]


async def test_administration_is_recorded(trail: Trail) -> None:
    """Loading and unloading, done or refused; a model's name only where there is such a model."""
    async with make_world(audit=trail).client() as client:
        for who, model in (("admin", "heart"), ("user", "heart"), ("admin", "DOE-JOHN")):
            fields = {"authorization": f"Bearer {who}"}
            await client.post(f"/v2/repository/models/{model}/load", headers=fields)
        await client.post("/v2/repository/models/heart/unload", headers={"authorization": "Bearer admin"})
    assert trail.told == [
        ("model_load_requested", "admin", ""),
        ("access_refused", "user", "insufficient_scope"),
        ("model_load_requested", "admin", "model_not_found"),
        ("model_unload_requested", "admin", ""),
    ]
    assert [facts.get("model", "") for _, _, facts in trail.kept] == ["heart", "heart", "", "heart"]
    assert trail.kept[1][2]["operation"] == "model_load_requested"


async def test_reading_metadata_is_recorded_only_where_it_is_refused(trail: Trail) -> None:
    """And a request without a token has no caller, whoever asked on the connection before."""
    async with make_world(audit=trail).client() as client:
        await client.get("/v2/models/heart")
        await client.get("/v2/models/heart", headers=NO_TOKEN)
        await client.get("/nothing/DOE^JOHN", headers=NO_TOKEN)
    assert trail.told == [("access_refused", "", "invalid_token")]


async def test_a_job_is_recorded_from_its_taking_to_its_result(tmp_path: Path, trail: Trail) -> None:
    """Who handed it in, what ran, who was given the result, who was not."""
    office = Office(tmp_path, audit=trail)
    async with office.client() as client, office.working():
        location = await office.submitted(client)
        await ended(client, location)
        trail.kept[:] = [kept for kept in trail.kept if kept[0] != "job_read"]
        await client.get(f"{location}/result")
        await client.get(f"{location}/result", headers={"authorization": "Bearer mask"})
        await client.delete(location)
        await client.post(f"{location}/redrive")
    assert trail.told == [
        ("model_called", "user", ""),
        ("model_called", "", ""),
        ("job_result_read", "user", ""),
        ("job_result_read", "mask", "job_not_found"),
        ("job_cancelled", "user", ""),
        ("job_redriven", "user", "job_not_dead"),
    ]
    job = location.rpartition("/")[2]
    assert [facts.get("job") for _, _, facts in trail.kept] == [job, job, job, None, job, None]


async def test_calls_over_grpc_are_recorded(trail: Trail) -> None:
    """Once each, administration and refusals too."""

    async def ask(running: Station, method: str, message: Any, metadata: Any = USER) -> None:
        try:
            await getattr(running.stub, method)(message, metadata=metadata)
        except grpc.aio.AioRpcError:
            return

    heart = service_pb2.RepositoryModelLoadRequest(model_name="heart")
    unload = service_pb2.RepositoryModelUnloadRequest(model_name="heart")
    world = make_world(audit=trail, server={"grpc_port": 0})
    async with station(world) as running:
        await running.infer(request())
        await ask(running, "ModelInfer", request(), (("authorization", "Bearer nobody"),))
        await ask(running, "RepositoryModelLoad", heart)
        await ask(running, "RepositoryModelLoad", heart, ADMIN)
        await ask(running, "RepositoryModelUnload", unload, ADMIN)
        await ask(running, "ServerMetadata", service_pb2.ServerMetadataRequest(), ())
        await ask(running, "ServerLive", service_pb2.ServerLiveRequest(), ())
    assert trail.told == [
        ("model_called", "user", ""),
        ("access_refused", "nobody", "insufficient_scope"),
        ("access_refused", "user", "insufficient_scope"),
        ("model_load_requested", "admin", ""),
        ("model_unload_requested", "admin", ""),
        ("access_refused", "", "missing_token"),
    ]


@pytest.mark.parametrize("path", [PREDICT, "/v2/repository/models/heart/load"])
async def test_what_must_be_recorded_and_cannot_is_not_answered(trail: Trail, path: str) -> None:
    """503, not the answer."""
    trail.strict = True
    world = make_world(audit=trail)
    async with world.client(authorization="Bearer admin") as client:
        done = await client.post(path, content=RECORD_BODY, headers=JSON)
        assert done.is_success
        assert len(trail.kept) == 1
        trail.full = True
        refused = await client.post(path, content=RECORD_BODY, headers=JSON)
    assert refused.status_code == 503
    assert "audit" in refused.text


async def test_over_grpc_too(trail: Trail) -> None:
    """UNAVAILABLE."""
    trail.strict = trail.full = True
    async with station(make_world(audit=trail, server={"grpc_port": 0})) as running:
        assert (await running.refused(request())).code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("path", [PREDICT, "/v1/models/heart"])
async def test_a_caller_beyond_its_limit_is_counted_with_strangers(trail: Trail, path: str) -> None:
    """429 before its body is read; a record without a name has its share of the trail, and the others are counted."""
    world = make_world(audit=trail, limits={"caller_per_minute": 2})
    async with world.client() as client:
        for _ in range(2):
            assert (await client.post(PREDICT, content=RECORD_BODY, headers=JSON)).status_code == 200
        method = "POST" if path == PREDICT else "GET"
        refused = await client.request(method, path, content=b"no JSON", headers=JSON)
        other = await client.post(PREDICT, content=RECORD_BODY, headers={**JSON, "authorization": "Bearer admin"})
    assert (refused.status_code, other.status_code) == (429, 200)
    assert 0 < int(refused.headers["retry-after"]) <= 60
    assert refused.json()["type"] == "urn:bedside:problem:caller-limit-reached"
    named = [who for _, who, error in trail.told if error != "caller_limit_reached"]
    assert named == ["user", "user", "admin"]
    assert [who for _, who, error in trail.told if error == "caller_limit_reached"] in ([""], [])
