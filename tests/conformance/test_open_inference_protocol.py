"""Conformance with the Open Inference Protocol V2 over REST, from outside: any server, no knowledge of ours.

Each test quotes the sentence of the specification (kserve/open-inference-protocol, ``inference_rest.md``; Triton's
``extension_binary_data.md`` and ``extension_model_repository.md``) that it checks. Without configuration an application
with made-up models is tested in this process; to test another server::

    OIP_URL=https://host:8000 OIP_TOKEN=... OIP_MODEL=heart_disease pytest tests/conformance

``OIP_MODEL`` must have numeric inputs; requests are built from its own metadata, every value 1. Where the model does
not take that, ``OIP_REQUEST`` is a file with a request that works. ``OIP_CA`` is a PEM file for TLS.
"""

import json
import math
import os
import ssl
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.unit.transports.fakes import make_world

DATATYPES = {
    "BOOL": 1,
    "UINT8": 1,
    "UINT16": 2,
    "UINT32": 4,
    "UINT64": 8,
    "INT8": 1,
    "INT16": 2,
    "INT32": 4,
    "INT64": 8,
    "FP16": 2,
    "FP32": 4,
    "FP64": 8,
    "BYTES": None,
}
FORMATS = {"FP32": "f", "FP64": "d", "INT8": "b", "INT16": "h", "INT32": "i", "INT64": "q", "UINT8": "B"}


@dataclass
class Subject:
    """The server under test, and the model that is asked."""

    client: httpx.AsyncClient
    model: str

    async def metadata(self) -> Any:
        """Return $metadata_model_response."""
        return (await self.client.get(f"/v2/models/{self.model}")).json()

    async def inputs(self) -> list[dict[str, Any]]:
        """Return the inputs of a request: the environment's, else every variable axis 1 and every value 1."""
        if sample := os.environ.get("OIP_REQUEST", ""):
            inputs: list[dict[str, Any]] = json.loads(Path(sample).read_bytes())["inputs"]  # noqa: ASYNC240
            return inputs
        return [
            {"name": tensor["name"], "datatype": tensor["datatype"], "shape": shape, "data": [1] * math.prod(shape)}
            for tensor in (await self.metadata())["inputs"]
            for shape in [[1 if length == -1 else length for length in tensor["shape"]]]
        ]

    async def infer(self, document: Any, **headers: str) -> httpx.Response:
        """Send an inference request."""
        content = document if isinstance(document, bytes) else json.dumps(document).encode()
        fields = {"content-type": "application/json", **headers}
        return await self.client.post(f"/v2/models/{self.model}/infer", content=content, headers=fields)

    async def infer_binary(self, document: Any, raw: bytes, length: int | None = None) -> httpx.Response:
        """Send an inference request with raw tensors behind it."""
        head = json.dumps(document).encode()
        fields = {
            "content-type": "application/octet-stream",
            "inference-header-content-length": str(len(head) if length is None else length),
        }
        return await self.client.post(f"/v2/models/{self.model}/infer", content=head + raw, headers=fields)

    async def require_extension(self, name: str) -> None:
        """Skip where the server does not announce an extension."""
        if name not in (await self.client.get("/v2")).json()["extensions"]:
            pytest.skip(f"the server does not announce {name}")


@pytest.fixture
async def server() -> AsyncIterator[Subject]:
    """The server that the environment names, or made-up models in this process."""
    url = os.environ.get("OIP_URL", "")
    headers = {"authorization": f"Bearer {os.environ.get('OIP_TOKEN') or 'user'}"}
    if url:
        verify: Any = ssl.create_default_context(cafile=os.environ.get("OIP_CA") or None)
        client = httpx.AsyncClient(base_url=url, headers=headers, verify=verify, timeout=60)
    else:
        transport = httpx.ASGITransport(make_world().app)
        client = httpx.AsyncClient(base_url="http://test", headers=headers, transport=transport)
    async with client:
        yield Subject(client, os.environ.get("OIP_MODEL", "heart"))


def is_error(response: httpx.Response) -> bool:
    """A failed request "must be indicated by an HTTP error status" and its body "must contain" {"error": $string}."""
    document = response.json()
    return 400 <= response.status_code < 500 and isinstance(document["error"], str) and bool(document["error"])


def check_tensors(tensors: Any) -> None:
    """Check a list of $metadata_tensor: "name", "datatype" of the table, "shape" with -1 for variable sizes."""
    assert isinstance(tensors, list)
    assert tensors
    for tensor in tensors:
        assert isinstance(tensor["name"], str)
        assert tensor["datatype"] in DATATYPES
        assert all(isinstance(length, int) and length >= -1 for length in tensor["shape"])


def check_response(document: Any, model: str) -> None:
    """Check $inference_response: the sizes of every output add up."""
    assert document["model_name"] == model
    assert isinstance(document.get("model_version", ""), str)
    assert document["outputs"]
    for output in document["outputs"]:
        assert output["datatype"] in DATATYPES
        assert all(isinstance(length, int) and length >= 0 for length in output["shape"])
        if "data" in output:
            assert len(_flat(output["data"])) == math.prod(output["shape"])
        for value in output.get("parameters", {}).values():
            assert isinstance(value, str | int | float | bool)


def _flat(data: list[Any]) -> list[Any]:
    return [value for item in data for value in (_flat(item) if isinstance(item, list) else [item])]


# Health


async def test_server_live(server: Subject) -> None:
    """The "server live" API indicates if the server is able to receive and respond to requests."""
    assert (await server.client.get("/v2/health/live")).status_code == 200


async def test_server_ready(server: Subject) -> None:
    """The "server ready" API indicates if all the models are ready for inferencing."""
    assert (await server.client.get("/v2/health/ready")).status_code == 200


async def test_model_ready(server: Subject) -> None:
    """$ready_model_response has the model's name and whether it is ready."""
    response = await server.client.get(f"/v2/models/{server.model}/ready")
    assert response.status_code == 200
    assert response.json() == {"name": server.model, "ready": True}


async def test_an_unknown_model_is_not_ready(server: Subject) -> None:
    """A failed request must be indicated by an HTTP error status."""
    assert is_error(await server.client.get("/v2/models/no_such_model/ready"))


# Metadata


async def test_server_metadata(server: Subject) -> None:
    """$metadata_server_response: name, version, extensions."""
    response = await server.client.get("/v2")
    assert response.headers["content-type"].startswith("application/json")
    document = response.json()
    assert isinstance(document["name"], str)
    assert isinstance(document["version"], str)
    assert all(isinstance(extension, str) for extension in document["extensions"])


async def test_model_metadata(server: Subject) -> None:
    """$metadata_model_response: name, versions, platform, inputs, outputs."""
    document = await server.metadata()
    assert document["name"] == server.model
    assert isinstance(document["platform"], str)
    check_tensors(document["inputs"])
    check_tensors(document["outputs"])


async def test_versions_may_be_asked_for(server: Subject) -> None:
    """About "versions": the model versions that may be explicitly requested via the appropriate endpoint."""
    inputs = await server.inputs()
    for version in (await server.metadata()).get("versions", []):
        path = f"/v2/models/{server.model}/versions/{version}"
        assert (await server.client.get(path)).json()["name"] == server.model
        assert (await server.client.get(f"{path}/ready")).status_code == 200
        answer = await server.client.post(f"{path}/infer", json={"inputs": inputs})
        assert answer.json()["model_version"] == version


@pytest.mark.parametrize("path", ["/v2/models/no_such_model", "/v2/models/{model}/versions/no_such_version"])
async def test_metadata_errors(server: Subject, path: str) -> None:
    """The HTTP body must contain the $metadata_model_error_response object."""
    assert is_error(await server.client.get(path.format(model=server.model)))


# Inference


async def test_inference(server: Subject) -> None:
    """A successful inference request is indicated by a 200 HTTP status code, with $inference_response in the body."""
    response = await server.infer({"inputs": await server.inputs()})
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("application/json")
    assert "inference-header-content-length" not in response.headers
    check_response(response.json(), server.model)


async def test_all_outputs_unless_asked(server: Subject) -> None:
    """About "outputs": if not specified all outputs produced by the model will be returned."""
    expected = {tensor["name"] for tensor in (await server.metadata())["outputs"]}
    answer = (await server.infer({"inputs": await server.inputs()})).json()
    assert {output["name"] for output in answer["outputs"]} == expected


async def test_outputs_keep_the_metadata(server: Subject) -> None:
    """The answer's datatypes, ranks and fixed lengths are those that the metadata promises."""
    promised = {tensor["name"]: tensor for tensor in (await server.metadata())["outputs"]}
    for output in (await server.infer({"inputs": await server.inputs()})).json()["outputs"]:
        tensor = promised[output["name"]]
        assert output["datatype"] == tensor["datatype"]
        assert len(output["shape"]) == len(tensor["shape"])
        assert all(want in (-1, got) for want, got in zip(tensor["shape"], output["shape"], strict=True))


async def test_requested_outputs(server: Subject) -> None:
    """For the above request the inference server must return the output tensor (that was named)."""
    name = (await server.metadata())["outputs"][0]["name"]
    answer = (await server.infer({"inputs": await server.inputs(), "outputs": [{"name": name}]})).json()
    assert [output["name"] for output in answer["outputs"]] == [name]


@pytest.mark.parametrize("identifier", ["42", "", "ä-😀", "x" * 1000])
async def test_id(server: Subject, identifier: str) -> None:
    """About "id": optional, but if specified this identifier must be returned in the response."""
    answer = await server.infer({"id": identifier, "inputs": await server.inputs()})
    assert answer.json()["id"] == identifier


async def test_parameters_are_optional(server: Subject) -> None:
    """An object containing zero or more parameters."""
    inputs = [{**tensor, "parameters": {}} for tensor in await server.inputs()]
    assert (await server.infer({"inputs": inputs, "parameters": {}})).status_code == 200


async def test_nested_data(server: Subject) -> None:
    """Tensor data: in row-major order, either flattened or as nested arrays of the tensor's shape."""
    inputs = await server.inputs()
    flat = (await server.infer({"inputs": inputs})).json()
    nested = [
        {**tensor, "shape": [*tensor["shape"], 1], "data": [[value] for value in tensor["data"]]} for tensor in inputs
    ]
    response = await server.infer({"inputs": nested})
    if response.status_code != 200:
        pytest.skip("the model takes no second axis")
    assert response.json()["outputs"] == flat["outputs"]


@pytest.mark.parametrize(
    "document",
    [b"", b"{", b"[]", b"null", b"{}", b'{"inputs": null}', b'{"inputs": {}}', b'{"inputs": [null]}', b"\xff\xfe"],
)
async def test_bodies_that_are_no_requests(server: Subject, document: bytes) -> None:
    """A failed inference request must be indicated by an HTTP error status (typically 400)."""
    assert is_error(await server.infer(document))


@pytest.mark.parametrize("member", ["name", "shape", "datatype", "data"])
async def test_required_members_of_an_input(server: Subject, member: str) -> None:
    """$inference_request_input: name, shape, datatype and data are not optional."""
    first, *rest = await server.inputs()
    first.pop(member)
    assert is_error(await server.infer({"inputs": [first, *rest]}))


@pytest.mark.parametrize(
    "change",
    [
        {"name": 1},
        {"shape": "1"},
        {"shape": [1.5]},
        {"shape": [-1]},
        {"datatype": 32},
        {"data": {}},
        {"parameters": []},
    ],
    ids=str,
)
async def test_types_of_an_inputs_members(server: Subject, change: dict[str, Any]) -> None:
    """Each member has its JSON type; each dimension is representable as an unsigned 64-bit integer."""
    first, *rest = await server.inputs()
    assert is_error(await server.infer({"inputs": [{**first, **change}, *rest]}))


async def test_unknown_names(server: Subject) -> None:
    """Unknown model, version and output each fail."""
    inputs = await server.inputs()
    document = {"inputs": inputs}
    assert is_error(await server.client.post("/v2/models/no_such_model/infer", json=document))
    path = f"/v2/models/{server.model}/versions/no_such_version/infer"
    assert is_error(await server.client.post(path, json=document))
    assert is_error(await server.infer({"inputs": inputs, "outputs": [{"name": "no_such_output"}]}))


async def test_only_post_infers(server: Subject) -> None:
    """Verb: POST."""
    assert (await server.client.get(f"/v2/models/{server.model}/infer")).status_code == 405


# Hazards: what servers answered with 200 and a wrong number, or with 500 (reference: peers, §3.4)


@pytest.mark.parametrize("count", [0, 2, 5])
async def test_data_that_is_not_of_its_shape(server: Subject, count: int) -> None:
    """The data must have as many elements as the shape says."""
    first, *rest = await server.inputs()
    assert is_error(await server.infer({"inputs": [{**first, "data": [1] * count}, *rest]}))


async def test_an_input_that_the_model_has_not(server: Subject) -> None:
    """An unknown input is not passed over."""
    inputs = await server.inputs()
    extra = {"name": "no_such_input", "shape": [1], "datatype": "FP32", "data": [1]}
    assert is_error(await server.infer({"inputs": [*inputs, extra]}))
    assert is_error(await server.infer({"inputs": [{**inputs[0], "name": "no_such_input"}, *inputs[1:]]}))


async def test_an_input_that_is_missing_or_twice(server: Subject) -> None:
    """Every input once."""
    inputs = await server.inputs()
    assert is_error(await server.infer({"inputs": inputs[1:]}))
    assert is_error(await server.infer({"inputs": [*inputs, inputs[0]]}))


@pytest.mark.parametrize("change", [{"datatype": "FP99"}, {"datatype": "BOOL"}, {"data": ["one"]}, {"data": [True]}])
async def test_values_that_are_not_of_their_datatype(server: Subject, change: dict[str, Any]) -> None:
    """A wrong datatype is not converted in silence."""
    first, *rest = await server.inputs()
    assert is_error(await server.infer({"inputs": [{**first, **change}, *rest]}))


@pytest.mark.parametrize("value", [b"NaN", b"Infinity", b"1e999"])
async def test_numbers_that_json_has_not(server: Subject, value: bytes) -> None:
    """NaN is no JSON, and infinity no measurement."""
    first, *rest = await server.inputs()
    body = json.dumps({"inputs": [{**first, "data": ["HERE"]}, *rest]}).encode().replace(b'"HERE"', value)
    assert is_error(await server.infer(body))


async def test_a_shape_that_the_model_has_not(server: Subject) -> None:
    """A rank that is not the metadata's is refused."""
    first, *rest = await server.inputs()
    assert is_error(await server.infer({"inputs": [{**first, "shape": [1, 1, 1, *first["shape"]]}, *rest]}))


async def test_the_connection_survives_errors(server: Subject) -> None:
    """After an error the next request is answered."""
    for _ in range(3):
        assert is_error(await server.infer(b"{"))
        assert (await server.infer({"inputs": await server.inputs()})).status_code == 200


# Binary tensor data extension


def as_binary(tensor: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """Return a tensor's head and its little-endian bytes."""
    raw = struct.pack(f"<{len(tensor['data'])}{FORMATS[tensor['datatype']]}", *tensor["data"])
    head = {key: value for key, value in tensor.items() if key != "data"}
    return {**head, "parameters": {"binary_data_size": len(raw)}}, raw


async def binary_inputs(server: Subject) -> tuple[list[dict[str, Any]], bytes]:
    """Return the request's tensors as binary."""
    await server.require_extension("binary_tensor_data")
    pairs = [as_binary(tensor) for tensor in await server.inputs()]
    return [head for head, _ in pairs], b"".join(raw for _, raw in pairs)


def split(response: httpx.Response) -> tuple[Any, bytes]:
    """Return the JSON object and the bytes behind it, as Inference-Header-Content-Length says."""
    length = int(response.headers["inference-header-content-length"])
    assert int(response.headers["content-length"]) == len(response.content)
    return json.loads(response.content[:length]), response.content[length:]


async def test_binary_inputs(server: Subject) -> None:
    """The binary tensor data follow the JSON object, in the order of the input tensors; the result is the same."""
    heads, raw = await binary_inputs(server)
    response = await server.infer_binary({"inputs": heads}, raw)
    assert response.status_code == 200
    assert response.json()["outputs"] == (await server.infer({"inputs": await server.inputs()})).json()["outputs"]


async def test_binary_and_json_inputs_together(server: Subject) -> None:
    """Each tensor is communicated in its own way."""
    await server.require_extension("binary_tensor_data")
    first, *rest = await server.inputs()
    head, raw = as_binary(first)
    assert (await server.infer_binary({"inputs": [*rest, head]}, raw)).status_code == 200


@pytest.mark.parametrize("whole", [True, False])
async def test_binary_outputs(server: Subject, whole: bool) -> None:  # noqa: FBT001
    """About "binary_data" on an output and "binary_data_output" for all: the bytes are the JSON answer's numbers."""
    await server.require_extension("binary_tensor_data")
    inputs = await server.inputs()
    names = [tensor["name"] for tensor in (await server.metadata())["outputs"]]
    requested = [{"name": name, "parameters": {"binary_data": True}} for name in names]
    more: dict[str, Any] = {"parameters": {"binary_data_output": True}} if whole else {"outputs": requested}
    document, raw = split(await server.infer({"inputs": inputs, **more}))
    check_response(document, server.model)
    plain = (await server.infer({"inputs": inputs, "outputs": [{"name": name} for name in names]})).json()
    for output, expected in zip(document["outputs"], plain["outputs"], strict=True):
        size = output["parameters"]["binary_data_size"]
        assert "data" not in output
        assert size == math.prod(output["shape"]) * (DATATYPES[output["datatype"]] or 0)
        values = struct.unpack(f"<{math.prod(output['shape'])}{FORMATS[output['datatype']]}", raw[:size])
        assert list(values) == pytest.approx(_flat(expected["data"]), rel=1e-6)
        raw = raw[size:]
    assert raw == b""


async def test_binary_data_overrides_binary_data_output(server: Subject) -> None:
    """If "binary_data" is specified on an output it overrides this setting."""
    await server.require_extension("binary_tensor_data")
    name = (await server.metadata())["outputs"][0]["name"]
    document = {
        "inputs": await server.inputs(),
        "parameters": {"binary_data_output": True},
        "outputs": [{"name": name, "parameters": {"binary_data": False}}],
    }
    assert "data" in (await server.infer(document)).json()["outputs"][0]


@pytest.mark.parametrize("damage", ["too_short", "too_long", "size_wrong", "length_too_long", "length_too_short"])
async def test_binary_sizes_that_do_not_add_up(server: Subject, damage: str) -> None:
    """Sizes in the JSON object, the header field and the body must agree."""
    heads, raw = await binary_inputs(server)
    whole = len(json.dumps({"inputs": heads}).encode())
    if damage == "size_wrong":
        heads[0]["parameters"]["binary_data_size"] += 1
        raw += b"\0"
    raw = {"too_short": raw[:-1], "too_long": raw + b"\0"}.get(damage, raw)
    length = {"length_too_long": whole + len(raw) + 1, "length_too_short": whole - 1}.get(damage)
    assert is_error(await server.infer_binary({"inputs": heads}, raw, length))


async def test_binary_data_need_the_header_field(server: Subject) -> None:
    """If any binary data is present the Inference-Header-Content-Length header must be provided."""
    heads, _ = await binary_inputs(server)
    assert is_error(await server.infer({"inputs": heads}))


# Model repository extension


async def test_repository_index(server: Subject) -> None:
    """$repository_index_response: name, version, state and reason of every model."""
    await server.require_extension("model_repository")
    response = await server.client.post("/v2/repository/index", json={})
    assert response.status_code == 200
    assert server.model in {entry["name"] for entry in response.json()}
    for entry in response.json():
        assert all(isinstance(entry[key], str) for key in ("name", "state", "reason"))
        assert isinstance(entry.get("version", ""), str)


async def test_repository_index_of_ready_models(server: Subject) -> None:
    """About "ready": if true return only models ready for inferencing."""
    await server.require_extension("model_repository")
    ready = (await server.client.post("/v2/repository/index", json={"ready": True})).json()
    for entry in ready:
        assert (await server.client.get(f"/v2/models/{entry['name']}/ready")).status_code == 200


async def test_loading_an_unknown_model(server: Subject) -> None:
    """A failed load request must be indicated by an HTTP error status, with an error object."""
    await server.require_extension("model_repository")
    for action in ("load", "unload"):
        assert is_error(await server.client.post(f"/v2/repository/models/no_such_model/{action}"))
