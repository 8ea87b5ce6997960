"""Everything that FastAPI answers: health, metadata, repository, documents, pages."""

import asyncio
from dataclasses import replace
from typing import Any

import httpx
import orjson
import pytest
from tests.unit.transports.fakes import RECORD, RECORD_BODY, Wire, World, make_world
from tests.waiting import until

from bedside.bundle.contract import Contract, FeatureSpec, InputSpec, OutputSpec
from bedside.bundle.model_metadata import model_metadata
from bedside.dataplane.lifecycle import Lifecycle
from bedside.errors import LoadFailed
from bedside.transports.rest.model_paths import predict_path


@pytest.fixture
def world() -> World:
    """One application."""
    return make_world()


async def get(world: World, path: str, method: str = "GET", token: str = "user", **options: Any) -> httpx.Response:
    """Ask for a path; no token where ``token`` is empty."""
    async with world.client() as client:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        client.headers.pop("authorization")
        return await client.request(method, path, headers=headers, **options)


OPEN = ["/livez", "/readyz", "/v2/health/live", "/v2/health/ready", "/metrics"]
GUARDED = [
    *(("GET", path) for path in ("/v2", "/v2/models/heart", "/v2/models/heart/ready")),
    *(("GET", f"/v2/models/heart/versions/1.0.0{suffix}") for suffix in ("", "/ready")),
    *(("GET", path) for path in ("/", "/docs", "/docs/start.js", "/openapi.json")),
    *(("POST", f"/v2/repository/{path}") for path in ("index", "models/heart/load", "models/heart/unload")),
]


@pytest.mark.parametrize("path", OPEN)
async def test_open_paths(world: World, path: str) -> None:
    """Probes and, by default, the scraper need no token."""
    assert (await get(world, path, token="")).status_code == 200


@pytest.mark.parametrize(("method", "path"), GUARDED)
async def test_guarded_paths(world: World, method: str, path: str) -> None:
    """Everything else does."""
    response = await get(world, path, method, token="")
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == 'Bearer realm="bedside"'
    assert (await get(world, path, method, token="wrong")).status_code == 401


@pytest.mark.parametrize(("method", "path"), GUARDED[:-2])
async def test_guarded_paths_let_a_caller_in(world: World, method: str, path: str) -> None:
    """A token is enough, but for what changes the server."""
    assert (await get(world, path, method)).status_code == 200


async def test_policies_of_metrics_and_documents() -> None:
    """auth.metrics_access and auth.docs_access."""
    world = make_world(auth={"metrics_access": "token", "docs_access": "open"})
    statuses = [(await get(world, "/metrics", token=token)).status_code for token in ("", "user", "admin")]
    assert statuses == [401, 403, 200]
    for path in ("/", "/docs", "/docs/swagger-ui.css", "/openapi.json"):
        assert (await get(world, path, token="")).status_code == 200
    assert "/metrics" not in {
        path for path, item in (await get(world, "/openapi.json")).json()["paths"].items() if not item
    }


async def test_readiness(world: World) -> None:
    """200 only when every model is ready, start-up is over and nothing drains; numbers, but no names."""
    assert (await get(world, "/readyz", token="")).json() == {"ready": True, "draining": False, "models": {"READY": 2}}
    world.model("heart").state = "LOADING"
    assert (await get(world, "/readyz")).status_code == 503
    assert (await get(world, "/v2/health/ready")).status_code == 503
    assert (await get(world, "/livez")).status_code == 200
    world.model("heart").state = "READY"
    world.lifecycle.drain()
    response = await get(world, "/readyz")
    assert response.status_code == 503
    assert response.headers["connection"] == "close"


async def test_not_ready_before_start_up_is_over() -> None:
    """A repository without models is vacuously ready; a server that has not started is not."""
    assert (await get(make_world(started=False), "/readyz")).status_code == 503


async def test_server_metadata(world: World) -> None:
    """$metadata_server_response."""
    document = (await get(world, "/v2")).json()
    assert document == {
        "name": "bedside",
        "version": "0.0.0",
        "extensions": ["binary_tensor_data", "model_repository"],
    }


async def test_metadata_of_a_record_model(world: World) -> None:
    """Features by name; the packed form and what may be missing in the parameters."""
    document = (await get(world, "/v2/models/heart")).json()
    assert (document["name"], document["versions"], document["platform"]) == ("heart", ["1.0.0"], "monai_bundle")
    age, chol = document["inputs"]
    assert (age["name"], age["datatype"], age["shape"]) == ("age", "FP64", [-1])
    assert (age["parameters"]["packed_input"], age["parameters"]["packed_shape"]) == ("features", "[-1,2]")
    assert (age["parameters"]["nullable"], chol["parameters"]["nullable"]) == (False, True)
    (output,) = document["outputs"]
    assert (output["datatype"], output["shape"]) == ("FP32", [-1, 2])
    assert orjson.loads(output["parameters"]["labels"]) == ["absent", "present"]


async def test_metadata_of_an_image_model(world: World) -> None:
    """An encoded file; the alternative tensor in the parameters."""
    document = (await get(world, "/v2/models/mask/versions/2.0.0")).json()
    (image,) = document["inputs"]
    assert (image["datatype"], image["shape"]) == ("BYTES", [-1])
    assert image["parameters"]["tensor_shape"] == "[-1,-1,-1]"
    assert image["parameters"]["channel_names"] == "T1"
    assert document["outputs"][0]["shape"] == [-1, -1, -1]


async def test_models_that_are_not_there(world: World) -> None:
    """404 in V2's shape; 503 while it loads; 403 before either for who may not know."""
    for path in ("/v2/models/none", "/v2/models/none/ready", "/v2/models/heart/versions/9"):
        response = await get(world, path)
        assert (response.status_code, list(response.json())) == (404, ["error"])
        assert (await get(world, path, token="nobody")).status_code == 403
    world.model("heart").state = "LOADING"
    assert (await get(world, "/v2/models/heart")).status_code == 503
    ready = await get(world, "/v2/models/heart/ready")
    assert (ready.status_code, ready.json()) == (503, {"name": "heart", "ready": False})


async def test_repository_index(world: World) -> None:
    """All models, or those that are ready."""
    world.model("mask").state, world.model("mask").reason = "UNAVAILABLE", "no weights"
    everything = (await get(world, "/v2/repository/index", "POST")).json()
    told = {"name": "mask", "version": "2.0.0", "state": "UNAVAILABLE", "reason": "no weights"}
    assert everything[1] == {**told, "digest": "sha256:" + "1" * 64, "default": True}
    ready = (await get(world, "/v2/repository/index", "POST", json={"ready": True})).json()
    assert [model["name"] for model in ready] == ["heart"]


async def test_a_caller_learns_only_of_models_that_it_may_use(world: World) -> None:
    """In the index, the console and the OpenAPI document alike."""
    (listed,) = (await get(world, "/v2/repository/index", "POST", "mask")).json()
    assert listed["name"] == "mask"
    paths = (await get(world, "/openapi.json", token="mask")).json()["paths"]
    assert [path for path in paths if path.endswith("/predict")] == ["/v1/models/mask/predict"]
    console = (await get(world, "/", token="mask")).text
    assert "<td>mask</td>" in console
    assert "heart" not in console


@pytest.mark.parametrize(("method", "path"), GUARDED)
async def test_a_token_for_something_else_learns_nothing(world: World, method: str, path: str) -> None:
    """Without any scope of ours, a valid token opens no path."""
    assert (await get(world, path, method, token="nobody")).status_code == 403


@pytest.mark.parametrize("body", [b"[", b"[]", b'{"ready": 1}', b"x" * 70000])
async def test_bad_repository_requests(world: World, body: bytes) -> None:
    """4xx in V2's shape."""
    response = await get(world, "/v2/repository/index", "POST", content=body)
    assert response.status_code in {400, 413}
    assert list(response.json()) == ["error"]


async def test_repository_request_that_does_not_arrive() -> None:
    """limits.body_seconds holds here too."""
    world = make_world(limits={"body_seconds": 0.02})
    wire = Wire("/v2/repository/index", headers={"content-length": "10"}, chunks=[b"{"])
    wire.stalled = True
    assert (await wire.drive(world.app)).status == 408


async def test_load_and_unload(world: World) -> None:
    """Only for bedside.admin."""
    path = "/v2/repository/models/heart"
    refused = await get(world, f"{path}/unload", "POST")
    assert refused.status_code == 403
    assert 'scope="bedside.admin"' in refused.headers["www-authenticate"]
    assert (await get(world, f"{path}/unload", "POST", "admin", json={})).status_code == 200
    assert world.model("heart").state == "UNLOADED"
    assert (await get(world, f"{path}/load", "POST", "admin")).status_code == 200
    assert world.model("heart").state == "READY"
    assert (await get(world, "/v2/repository/models/none/load", "POST", "admin")).status_code == 404
    world.repository.load_error = LoadFailed("no weights")
    assert (await get(world, f"{path}/load", "POST", "admin")).status_code == 409


async def test_head_and_options(world: World) -> None:
    """HEAD as GET without its body (RFC 9110 §9.3.2); OPTIONS tells the methods."""
    head = await get(world, "/livez", "HEAD")
    assert (head.status_code, head.content) == (200, b"")
    options = await get(world, "/livez", "OPTIONS")
    assert (options.status_code, options.headers["allow"]) == (204, "GET, HEAD, OPTIONS")
    refused = await get(world, "/livez", "DELETE")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    assert refused.headers["content-type"] == "application/problem+json"
    v2 = await get(world, "/v2/repository/index", "GET")
    assert (v2.status_code, v2.headers["allow"], list(v2.json())) == (405, "OPTIONS, POST", ["error"])


async def test_unknown_paths(world: World) -> None:
    """404 as a problem, with the request id; the path is not repeated."""
    response = await get(world, "/DOE%5EJOHN")
    assert response.status_code == 404
    assert response.json()["request_id"] == response.headers["x-request-id"]
    assert "DOE" not in response.text
    assert list((await get(world, "/v2/none")).json()) == ["error"]


async def test_every_answer_has_the_security_header_fields(world: World) -> None:
    """Also those of FastAPI, also errors."""
    for path in ("/livez", "/", "/docs", "/nothing", "/openapi.json", "/metrics"):
        response = await get(world, path)
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in response.headers["content-security-policy"]
        assert len(response.headers["x-request-id"]) == 32


async def test_unexpected_errors_outside_the_data_plane(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """500 without a word of what happened."""
    world.authenticator.error = ValueError("DOE^JOHN")
    response = await get(world, "/v2")
    assert response.status_code == 500
    assert "DOE" not in response.text
    assert any(record.name == "bedside.transports" for record in caplog.records)


async def test_console(world: World) -> None:
    """Models and states, escaped; nothing from elsewhere; says what it is not."""
    world.model("mask").reason = "<script>alert(1)</script>"
    page = await get(world, "/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "Not a medical device" in page.text
    assert "heart" in page.text
    assert "<script" not in page.text
    assert "http://" not in page.text
    assert "https://" not in page.text
    assert "script-src" not in page.headers["content-security-policy"]


async def test_swagger_ui_comes_from_here(world: World) -> None:
    """No content delivery network: a hospital may have no internet."""
    page = await get(world, "/docs")
    assert "//" not in page.text.replace("<!doctype html>", "")
    for name in ("swagger-ui-bundle.js", "swagger-ui.css", "favicon.png", "start.js"):
        asset = await get(world, f"/docs/{name}")
        assert asset.status_code == 200
        assert asset.content
    assert "/openapi.json" in (await get(world, "/docs/start.js")).text
    assert (await get(world, "/docs/other.js")).status_code == 404


async def openapi(world: World) -> Any:
    """Return the document."""
    return (await get(world, "/openapi.json")).json()


async def test_openapi_has_a_path_per_model(world: World) -> None:
    """Bodies, answers and problems out of the contract."""
    document = await openapi(world)
    predict = document["paths"]["/v1/models/heart/predict"]["post"]
    schema = predict["requestBody"]["content"]["application/json"]["schema"]
    assert schema["properties"]["age"]["description"] == "years"
    assert schema["required"] == ["age", "chol"]
    assert {"401", "403", "413", "415", "422", "503"} <= set(predict["responses"])
    mask = document["paths"]["/v1/models/mask/predict"]["post"]
    assert set(mask["requestBody"]["content"]) == {"application/x-nifti", "application/gzip", "multipart/form-data"}
    assert "application/gzip" in mask["responses"]["200"]["content"]
    assert document["security"] == [{"bearer": []}]
    assert document["paths"]["/livez"]["get"]["security"] == []


async def test_openapi_examples_work(world: World) -> None:
    """What is pasted is answered."""
    document = await openapi(world)
    for path in ("/v1/models/heart/predict", "/v2/models/heart/infer"):
        example = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["example"]
        assert (await get(world, path, "POST", json=example)).status_code == 200


async def test_openapi_knows_the_issuer() -> None:
    """OpenIdConnect where an issuer is configured."""
    document = await openapi(make_world(auth={"issuer": "https://idp.example/"}))
    url = document["components"]["securitySchemes"]["oidc"]["openIdConnectUrl"]
    assert url == "https://idp.example/.well-known/openid-configuration"


async def test_openapi_leaves_out_what_is_not_ready(world: World) -> None:
    """A contract is known only after the first forward pass."""
    world.model("mask").state = "LOADING"
    assert "/v1/models/mask/predict" not in (await openapi(world))["paths"]


async def test_lifespan_starts_in_the_background() -> None:
    """The server listens while models load; the hooks run once each."""
    loaded, closed = asyncio.Event(), asyncio.Event()

    async def startup() -> None:
        await loaded.wait()

    async def shutdown() -> None:
        closed.set()

    lifecycle = Lifecycle(startup, shutdown)
    world = make_world(started=False, lifecycle=lifecycle)
    inbox: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message["type"])

    task = asyncio.create_task(_as_coroutine(world.app({"type": "lifespan"}, inbox.get, send)))
    await inbox.put({"type": "lifespan.startup"})
    await until(lambda: sent == ["lifespan.startup.complete"])
    assert not lifecycle.started
    loaded.set()
    await until(lambda: lifecycle.started)
    await inbox.put({"type": "lifespan.shutdown"})
    await task
    assert closed.is_set()
    assert lifecycle.closing


async def _as_coroutine(awaitable: Any) -> None:
    await awaitable


@pytest.mark.parametrize("hangs", [False, True])
async def test_shut_down_while_starting(caplog: pytest.LogCaptureFixture, hangs: bool) -> None:  # noqa: FBT001
    """Start-up is stopped; a hook that fails is logged and does not keep the process."""

    async def startup() -> None:
        await asyncio.sleep(60)

    async def shutdown() -> None:
        raise OSError("no")

    lifecycle = Lifecycle(startup, shutdown)
    world = make_world(started=False, lifecycle=lifecycle)
    messages = iter(["lifespan.startup", "lifespan.shutdown"] if hangs else ["lifespan.shutdown"])

    async def receive() -> dict[str, str]:
        await asyncio.sleep(0.01)
        return {"type": next(messages)}

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message["type"])

    await world.app({"type": "lifespan"}, receive, send)
    assert sent[-1] == "lifespan.shutdown.complete"
    assert any(record.name == "bedside.transports" for record in caplog.records)


async def test_a_start_up_that_fails_is_kept() -> None:
    """The server asks for it."""

    async def startup() -> None:
        raise OSError("no")

    lifecycle = Lifecycle(startup)
    await lifecycle.start()
    assert isinstance(lifecycle.failure, OSError)
    assert not lifecycle.started


async def test_web_sockets_are_refused(world: World) -> None:
    """There are none."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await world.app({"type": "websocket", "path": "/"}, asyncio.Event().wait, send)  # type: ignore[arg-type]
    assert sent == [{"type": "websocket.close"}]


async def test_v1_and_v2_agree(world: World) -> None:
    """The same record, the same probability, whichever way it came."""
    async with world.client() as client:
        one = (
            await client.post(
                "/v1/models/heart/predict", content=RECORD_BODY, headers={"content-type": "application/json"}
            )
        ).json()
        packed = {"name": "features", "shape": [1, 2], "datatype": "FP64", "data": [63, 233]}
        two = (await client.post("/v2/models/heart/infer", json={"inputs": [packed]})).json()
    assert one["probability"] == pytest.approx(two["outputs"][0]["data"][1])


def test_metadata_of_what_is_not_known() -> None:
    """Unknown is said, never guessed; the protocol has no scalars."""
    contract = Contract(
        model="m",
        version="1",
        digest="sha256:0",
        task="",
        description="",
        inputs=(InputSpec("image", "image"),),
        outputs=(OutputSpec("a", "tensor"), OutputSpec("b", "tensor", "float64", ())),
        metrics={},
    )
    document = model_metadata(contract, ("1",))
    (image,) = document["inputs"]
    told = {name: image["parameters"][name] for name in ("media_types", "spatial_dims", "channels", "tensor_shape")}
    assert set(told.values()) == {"unknown"}
    unknown, scalar = document["outputs"]
    assert unknown["parameters"] == {"kind": "tensor", "datatype": "unknown", "shape": "unknown"}
    assert (scalar["datatype"], scalar["shape"]) == ("FP64", [1])


def test_features_tell_what_is_known_of_them() -> None:
    """Unit, codes and the range seen in training, in metadata and OpenAPI."""
    feature = FeatureSpec("sex", "sex", "code", {0.0: "female", 1.0: "male"}, (0.0, 1.0), nullable=True)
    contract = replace(RECORD, inputs=(InputSpec("features", "record", ("application/json",), features=(feature,)),))
    (tensor,) = model_metadata(contract, ())["inputs"]
    assert orjson.loads(tensor["parameters"]["codes"]) == {"0.0": "female", "1.0": "male"}
    assert tensor["parameters"]["seen"] == "[0.0,1.0]"
    path = predict_path(contract, ("application/json",))
    content = path["post"]["requestBody"]["content"]["application/json"]
    assert content["schema"]["properties"]["sex"] == {
        "enum": [0.0, 1.0, "?", "", None],
        "description": "sex; unit: code; 0 = female; 1 = male; seen in training: 0 to 1",
    }
