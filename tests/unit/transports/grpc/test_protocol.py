"""The protocol beside ``ModelInfer``, the health service, and who may ask."""

from typing import Any

import grpc
import pytest
from grpc import StatusCode
from tests.unit.transports.grpc.station import ADMIN, USER, Station, station
from tritonclient.grpc import service_pb2

from bedside.errors import LoadFailed
from bedside.transports.grpc import messages


async def _code(call: Any) -> StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    code: StatusCode = caught.value.code()
    return code


async def _health(running: Station, service: str) -> int:
    check = running.channel.unary_unary(
        "/grpc.health.v1.Health/Check", lambda m: m.SerializeToString(), messages.HealthCheckResponse.FromString
    )
    answer = await check(messages.HealthCheckRequest(service=service))
    status: int = answer.status
    return status


SERVING, NOT_SERVING = 1, 2


async def test_live_and_ready_are_open(heart: Station) -> None:
    """Probes need no token."""
    assert (await heart.stub.ServerLive(service_pb2.ServerLiveRequest())).live
    assert (await heart.stub.ServerReady(service_pb2.ServerReadyRequest())).ready


async def test_not_ready_while_a_model_loads(heart: Station) -> None:
    """Alive, but not ready; and the model says so without an error."""
    heart.world.model("mask").state = "LOADING"

    assert (await heart.stub.ServerLive(service_pb2.ServerLiveRequest())).live
    assert not (await heart.stub.ServerReady(service_pb2.ServerReadyRequest())).ready
    assert not (await heart.stub.ModelReady(service_pb2.ModelReadyRequest(name="mask"), metadata=USER)).ready
    assert (await heart.stub.ModelReady(service_pb2.ModelReadyRequest(name="heart"), metadata=USER)).ready


async def test_health_service(heart: Station) -> None:
    """A kubelet asks for '' or a name; liveness is not readiness."""
    assert [await _health(heart, name) for name in ("", "readiness", "liveness")] == [SERVING] * 3
    heart.world.lifecycle.drain()
    assert [await _health(heart, name) for name in ("", messages.INFERENCE_SERVICE)] == [NOT_SERVING] * 2
    assert await _health(heart, "liveness") == SERVING


async def test_health_of_an_unknown_service(heart: Station) -> None:
    """NOT_FOUND, as the health protocol says; models' names are not told."""
    assert await _code(_health(heart, "heart")) is StatusCode.NOT_FOUND


async def test_health_with_bytes_that_are_no_message(heart: Station) -> None:
    """The caller's mistake, not ours."""
    assert (
        await _code(heart.channel.unary_unary("/grpc.health.v1.Health/Check")(b"\xff")) is StatusCode.INVALID_ARGUMENT
    )


async def test_server_metadata_equals_rest(heart: Station) -> None:
    """One description of the server for both transports."""
    answer = await heart.stub.ServerMetadata(service_pb2.ServerMetadataRequest(), metadata=USER)
    async with heart.world.client() as client:
        document = (await client.get("/v2")).json()

    assert {"name": answer.name, "version": answer.version, "extensions": list(answer.extensions)} == document


def _parameters(parameters: Any) -> dict[str, Any]:
    return {name: getattr(value, value.WhichOneof("parameter_choice")) for name, value in parameters.items()}


def _tensors(tensors: Any) -> list[dict[str, Any]]:
    return [
        {"name": t.name, "datatype": t.datatype, "shape": list(t.shape), "parameters": _parameters(t.parameters)}
        for t in tensors
    ]


@pytest.mark.parametrize("model", ["heart", "mask"])
async def test_model_metadata_equals_rest(heart: Station, model: str) -> None:
    """The contract is one, parameters and all."""
    ask = heart.channel.unary_unary(
        "/inference.GRPCInferenceService/ModelMetadata",
        lambda m: m.SerializeToString(),
        messages.ModelMetadataResponse.FromString,
    )
    answer = await ask(messages.ModelMetadataRequest(name=model), metadata=USER)
    async with heart.world.client() as client:
        document = (await client.get(f"/v2/models/{model}")).json()

    assert document == {
        "name": answer.name,
        "versions": list(answer.versions),
        "platform": answer.platform,
        "inputs": _tensors(answer.inputs),
        "outputs": _tensors(answer.outputs),
        "parameters": _parameters(answer.parameters),
    }


async def test_repository_index_equals_rest(heart: Station) -> None:
    """Every model with version, state and reason, which is all that the protocol has; or only those that are ready."""
    heart.world.model("mask").state = "UNLOADED"
    index = await heart.stub.RepositoryIndex(service_pb2.RepositoryIndexRequest(), metadata=USER)
    ready = await heart.stub.RepositoryIndex(service_pb2.RepositoryIndexRequest(ready=True), metadata=USER)
    async with heart.world.client() as client:
        document = (await client.post("/v2/repository/index")).json()

    told = [{"name": m.name, "version": m.version, "state": m.state, "reason": m.reason} for m in index.models]
    assert told == [{name: model[name] for name in ("name", "version", "state", "reason")} for model in document]
    assert [model.name for model in ready.models] == ["heart"]


async def test_repository_index_shows_what_the_caller_may_use(heart: Station) -> None:
    """Who may use one model learns of one."""
    mine = (("authorization", "Bearer mask"),)
    index = await heart.stub.RepositoryIndex(service_pb2.RepositoryIndexRequest(), metadata=mine)

    assert [model.name for model in index.models] == ["mask"]


@pytest.mark.parametrize("fields", [{"model_name": "heart"}, {"repository_name": "heart"}], ids=["triton", "kserve"])
async def test_load_and_unload(heart: Station, fields: dict[str, str]) -> None:
    """The name is where Triton's clients send it, or where KServe's do."""
    await heart.stub.RepositoryModelUnload(service_pb2.RepositoryModelUnloadRequest(**fields), metadata=ADMIN)
    assert heart.world.model("heart").state == "UNLOADED"

    await heart.stub.RepositoryModelLoad(service_pb2.RepositoryModelLoadRequest(**fields), metadata=ADMIN)
    assert heart.world.model("heart").state == "READY"


@pytest.mark.parametrize("method", ["RepositoryModelLoad", "RepositoryModelUnload"])
async def test_load_and_unload_one_version(heart: Station, method: str) -> None:
    """The parameter ``version``, as over HTTP."""
    request = getattr(service_pb2, f"{method}Request")(model_name="heart")
    request.parameters["version"].string_param = "1.1.0"
    await getattr(heart.stub, method)(request, metadata=ADMIN)
    assert heart.world.repository.asked == ["1.1.0"]


@pytest.mark.parametrize("field", ["int64_param", "bool_param", "bytes_param", None])
async def test_a_version_that_is_no_text(heart: Station, field: str | None) -> None:
    """Refused, and every version is left as it is."""
    request = service_pb2.RepositoryModelUnloadRequest(model_name="heart")
    parameter = request.parameters["version"]
    if field is not None:
        setattr(parameter, field, b"1" if field == "bytes_param" else 1)
    assert await _code(heart.stub.RepositoryModelUnload(request, metadata=ADMIN)) is StatusCode.INVALID_ARGUMENT
    assert heart.world.repository.asked == []


async def test_a_load_that_fails(heart: Station) -> None:
    """The bundle's state conflicts with the request; the reason is told."""
    heart.world.repository.load_error = LoadFailed("it needs a package", field="configs/inference.json")

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await heart.stub.RepositoryModelLoad(service_pb2.RepositoryModelLoadRequest(model_name="heart"), metadata=ADMIN)

    assert caught.value.code() is StatusCode.FAILED_PRECONDITION
    assert caught.value.details() == "configs/inference.json: it needs a package"


GUARDED = {
    "ServerMetadata": service_pb2.ServerMetadataRequest(),
    "ModelReady": service_pb2.ModelReadyRequest(name="heart"),
    "ModelMetadata": service_pb2.ModelMetadataRequest(name="heart"),
    "ModelInfer": service_pb2.ModelInferRequest(model_name="heart"),
    "RepositoryIndex": service_pb2.RepositoryIndexRequest(),
    "RepositoryModelLoad": service_pb2.RepositoryModelLoadRequest(model_name="heart"),
    "RepositoryModelUnload": service_pb2.RepositoryModelUnloadRequest(model_name="heart"),
}


@pytest.mark.parametrize("method", GUARDED)
@pytest.mark.parametrize(
    ("metadata", "code"),
    [
        ((), StatusCode.UNAUTHENTICATED),
        ((("authorization", "Bearer made-up"),), StatusCode.UNAUTHENTICATED),
        ((("authorization", "Basic dXNlcg=="),), StatusCode.UNAUTHENTICATED),
        ((("authorization", "Bearer nobody"),), StatusCode.PERMISSION_DENIED),
        ((*USER, *ADMIN), StatusCode.INVALID_ARGUMENT),
    ],
    ids=["no token", "unknown", "other scheme", "no scope", "two tokens"],
)
async def test_who_may_not_ask(heart: Station, method: str, metadata: Any, code: StatusCode) -> None:
    """Every method but the probes wants a token, once, with a scope."""
    assert await _code(getattr(heart.stub, method)(GUARDED[method], metadata=metadata)) is code


@pytest.mark.parametrize("method", ["RepositoryModelLoad", "RepositoryModelUnload"])
async def test_changing_what_is_served_is_for_administrators(heart: Station, method: str) -> None:
    """``bedside.infer`` is not enough."""
    assert await _code(getattr(heart.stub, method)(GUARDED[method], metadata=USER)) is StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize("method", [name for name in GUARDED if name != "ServerMetadata"])
async def test_no_message_is_read_of_who_may_not_ask(heart: Station, method: str) -> None:
    """The answer comes while the caller has sent nothing but metadata."""
    call = heart.channel.stream_unary(f"/inference.GRPCInferenceService/{method}")(metadata=())

    assert await call.code() is StatusCode.UNAUTHENTICATED


async def test_bytes_that_are_no_message(heart: Station) -> None:
    """What protobuf cannot read is the caller's mistake."""
    method = heart.channel.unary_unary("/inference.GRPCInferenceService/ModelMetadata")

    assert await _code(method(b"\xff", metadata=USER)) is StatusCode.INVALID_ARGUMENT


async def test_methods_that_are_not_there(heart: Station) -> None:
    """No streaming, no reflection."""
    for method in (
        "/inference.GRPCInferenceService/ModelStreamInfer",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    ):
        assert await _code(heart.channel.unary_unary(method)(b"", metadata=USER)) is StatusCode.UNIMPLEMENTED


async def test_small_requests_are_small() -> None:
    """A megabyte where a name belongs is refused."""
    async with station() as running:
        name = "x" * 70000
        call = running.stub.ModelReady(service_pb2.ModelReadyRequest(name=name), metadata=USER)
        assert await _code(call) is StatusCode.RESOURCE_EXHAUSTED
