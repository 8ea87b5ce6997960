"""Conformance with the Open Inference Protocol V2 over HTTP, from outside: any server, no knowledge of ours.

Each test quotes the sentence of the specification (kserve/open-inference-protocol, ``inference_rest.md``; Triton's
``extension_binary_data.md`` and ``extension_model_repository.md``) that it checks. How to test another server stands in
``kit.py``.
"""

import json
import math
import struct
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from tests.conformance.kit import FORMATS, RestSubject, flat, over_http, packed

DATATYPES = {*FORMATS, "BOOL", "FP16", "BYTES"}


@pytest.fixture
async def server() -> AsyncIterator[RestSubject]:
    """The server that the environment names, or made-up models in this process."""
    async with over_http() as subject:
        yield subject


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
            assert len(flat(output["data"])) == math.prod(output["shape"])
        for value in output.get("parameters", {}).values():
            assert isinstance(value, str | int | float | bool)


# Health


async def test_server_live(server: RestSubject) -> None:
    """The "server live" API indicates if the server is able to receive and respond to requests."""
    assert (await server.client.get("/v2/health/live")).status_code == 200


async def test_server_ready(server: RestSubject) -> None:
    """The "server ready" API indicates if all the models are ready for inferencing."""
    assert (await server.client.get("/v2/health/ready")).status_code == 200


async def test_model_ready(server: RestSubject) -> None:
    """$ready_model_response has the model's name and whether it is ready."""
    response = await server.client.get(f"/v2/models/{server.model}/ready")
    assert response.status_code == 200
    assert response.json() == {"name": server.model, "ready": True}


async def test_an_unknown_model_is_not_ready(server: RestSubject) -> None:
    """A failed request must be indicated by an HTTP error status."""
    assert is_error(await server.client.get("/v2/models/no_such_model/ready"))


# Metadata


async def test_server_metadata(server: RestSubject) -> None:
    """$metadata_server_response: name, version, extensions."""
    response = await server.client.get("/v2")
    assert response.headers["content-type"].startswith("application/json")
    document = response.json()
    assert isinstance(document["name"], str)
    assert isinstance(document["version"], str)
    assert all(isinstance(extension, str) for extension in document["extensions"])


async def test_model_metadata(server: RestSubject) -> None:
    """$metadata_model_response: name, versions, platform, inputs, outputs."""
    document = await server.metadata()
    assert document["name"] == server.model
    assert isinstance(document["platform"], str)
    check_tensors(document["inputs"])
    check_tensors(document["outputs"])


async def test_versions_may_be_asked_for(server: RestSubject) -> None:
    """About "versions": the model versions that may be explicitly requested via the appropriate endpoint."""
    inputs = await server.inputs()
    for version in (await server.metadata()).get("versions", []):
        path = f"/v2/models/{server.model}/versions/{version}"
        assert (await server.client.get(path)).json()["name"] == server.model
        assert (await server.client.get(f"{path}/ready")).status_code == 200
        answer = await server.client.post(f"{path}/infer", json={"inputs": inputs})
        assert answer.json()["model_version"] == version


@pytest.mark.parametrize("path", ["/v2/models/no_such_model", "/v2/models/{model}/versions/no_such_version"])
async def test_metadata_errors(server: RestSubject, path: str) -> None:
    """The HTTP body must contain the $metadata_model_error_response object."""
    assert is_error(await server.client.get(path.format(model=server.model)))


# Inference


async def test_inference(server: RestSubject) -> None:
    """A successful inference request is indicated by a 200 HTTP status code, with $inference_response in the body."""
    response = await server.infer({"inputs": await server.inputs()})
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("application/json")
    assert "inference-header-content-length" not in response.headers
    check_response(response.json(), server.model)


async def test_all_outputs_unless_asked(server: RestSubject) -> None:
    """About "outputs": if not specified all outputs produced by the model will be returned."""
    expected = {tensor["name"] for tensor in (await server.metadata())["outputs"]}
    answer = (await server.infer({"inputs": await server.inputs()})).json()
    assert {output["name"] for output in answer["outputs"]} == expected


async def test_outputs_keep_the_metadata(server: RestSubject) -> None:
    """The answer's datatypes, ranks and fixed lengths are those that the metadata promises."""
    promised = {tensor["name"]: tensor for tensor in (await server.metadata())["outputs"]}
    for output in (await server.infer({"inputs": await server.inputs()})).json()["outputs"]:
        tensor = promised[output["name"]]
        assert output["datatype"] == tensor["datatype"]
        assert len(output["shape"]) == len(tensor["shape"])
        assert all(want in (-1, got) for want, got in zip(tensor["shape"], output["shape"], strict=True))


async def test_requested_outputs(server: RestSubject) -> None:
    """For the above request the inference server must return the output tensor (that was named)."""
    name = (await server.metadata())["outputs"][0]["name"]
    answer = (await server.infer({"inputs": await server.inputs(), "outputs": [{"name": name}]})).json()
    assert [output["name"] for output in answer["outputs"]] == [name]


@pytest.mark.parametrize("identifier", ["42", "", "ä-😀", "x" * 1000])
async def test_id(server: RestSubject, identifier: str) -> None:
    """About "id": optional, but if specified this identifier must be returned in the response."""
    answer = await server.infer({"id": identifier, "inputs": await server.inputs()})
    assert answer.json()["id"] == identifier


async def test_parameters_are_optional(server: RestSubject) -> None:
    """An object containing zero or more parameters."""
    inputs = [{**tensor, "parameters": {}} for tensor in await server.inputs()]
    assert (await server.infer({"inputs": inputs, "parameters": {}})).status_code == 200


async def test_nested_data(server: RestSubject) -> None:
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
async def test_bodies_that_are_no_requests(server: RestSubject, document: bytes) -> None:
    """A failed inference request must be indicated by an HTTP error status (typically 400)."""
    assert is_error(await server.infer(document))


@pytest.mark.parametrize("member", ["name", "shape", "datatype", "data"])
async def test_required_members_of_an_input(server: RestSubject, member: str) -> None:
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
async def test_types_of_an_inputs_members(server: RestSubject, change: dict[str, Any]) -> None:
    """Each member has its JSON type; each dimension is representable as an unsigned 64-bit integer."""
    first, *rest = await server.inputs()
    assert is_error(await server.infer({"inputs": [{**first, **change}, *rest]}))


async def test_unknown_names(server: RestSubject) -> None:
    """Unknown model, version and output each fail."""
    inputs = await server.inputs()
    document = {"inputs": inputs}
    assert is_error(await server.client.post("/v2/models/no_such_model/infer", json=document))
    path = f"/v2/models/{server.model}/versions/no_such_version/infer"
    assert is_error(await server.client.post(path, json=document))
    assert is_error(await server.infer({"inputs": inputs, "outputs": [{"name": "no_such_output"}]}))


async def test_only_post_infers(server: RestSubject) -> None:
    """Verb: POST."""
    assert (await server.client.get(f"/v2/models/{server.model}/infer")).status_code == 405


@pytest.mark.parametrize("value", [b"NaN", b"Infinity", b"1e999"])
async def test_numbers_that_json_has_not(server: RestSubject, value: bytes) -> None:
    """NaN is no JSON, and infinity no measurement."""
    first, *rest = await server.inputs()
    body = json.dumps({"inputs": [{**first, "data": ["HERE"]}, *rest]}).encode().replace(b'"HERE"', value)
    assert is_error(await server.infer(body))


# Binary tensor data extension


def as_binary(tensor: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """Return a tensor's head and its little-endian bytes."""
    raw = packed(tensor)
    head = {key: value for key, value in tensor.items() if key != "data"}
    return {**head, "parameters": {"binary_data_size": len(raw)}}, raw


async def binary_inputs(server: RestSubject) -> tuple[list[dict[str, Any]], bytes]:
    """Return the request's tensors as binary."""
    await server.require_extension("binary_tensor_data")
    pairs = [as_binary(tensor) for tensor in await server.inputs()]
    return [head for head, _ in pairs], b"".join(raw for _, raw in pairs)


def split(response: httpx.Response) -> tuple[Any, bytes]:
    """Return the JSON object and the bytes behind it, as Inference-Header-Content-Length says."""
    length = int(response.headers["inference-header-content-length"])
    assert int(response.headers["content-length"]) == len(response.content)
    return json.loads(response.content[:length]), response.content[length:]


async def test_binary_inputs(server: RestSubject) -> None:
    """The binary tensor data follow the JSON object, in the order of the input tensors; the result is the same."""
    heads, raw = await binary_inputs(server)
    response = await server.infer_binary({"inputs": heads}, raw)
    assert response.status_code == 200
    assert response.json()["outputs"] == (await server.infer({"inputs": await server.inputs()})).json()["outputs"]


async def test_binary_and_json_inputs_together(server: RestSubject) -> None:
    """Each tensor is communicated in its own way."""
    await server.require_extension("binary_tensor_data")
    first, *rest = await server.inputs()
    head, raw = as_binary(first)
    assert (await server.infer_binary({"inputs": [*rest, head]}, raw)).status_code == 200


@pytest.mark.parametrize("whole", [True, False])
async def test_binary_outputs(server: RestSubject, whole: bool) -> None:  # noqa: FBT001
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
        assert size == math.prod(output["shape"]) * struct.calcsize(FORMATS[output["datatype"]])
        values = struct.unpack(f"<{math.prod(output['shape'])}{FORMATS[output['datatype']]}", raw[:size])
        assert list(values) == pytest.approx(flat(expected["data"]), rel=1e-6)
        raw = raw[size:]
    assert raw == b""


async def test_binary_data_overrides_binary_data_output(server: RestSubject) -> None:
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
async def test_binary_sizes_that_do_not_add_up(server: RestSubject, damage: str) -> None:
    """Sizes in the JSON object, the header field and the body must agree."""
    heads, raw = await binary_inputs(server)
    whole = len(json.dumps({"inputs": heads}).encode())
    if damage == "size_wrong":
        heads[0]["parameters"]["binary_data_size"] += 1
        raw += b"\0"
    raw = {"too_short": raw[:-1], "too_long": raw + b"\0"}.get(damage, raw)
    length = {"length_too_long": whole + len(raw) + 1, "length_too_short": whole - 1}.get(damage)
    assert is_error(await server.infer_binary({"inputs": heads}, raw, length))


async def test_binary_data_need_the_header_field(server: RestSubject) -> None:
    """If any binary data is present the Inference-Header-Content-Length header must be provided."""
    heads, _ = await binary_inputs(server)
    assert is_error(await server.infer({"inputs": heads}))


# Model repository extension


async def test_repository_index(server: RestSubject) -> None:
    """$repository_index_response: name, version, state and reason of every model."""
    await server.require_extension("model_repository")
    response = await server.client.post("/v2/repository/index", json={})
    assert response.status_code == 200
    assert server.model in {entry["name"] for entry in response.json()}
    for entry in response.json():
        assert all(isinstance(entry[key], str) for key in ("name", "state", "reason"))
        assert isinstance(entry.get("version", ""), str)


async def test_repository_index_of_ready_models(server: RestSubject) -> None:
    """About "ready": if true return only models ready for inferencing."""
    await server.require_extension("model_repository")
    ready = (await server.client.post("/v2/repository/index", json={"ready": True})).json()
    for entry in ready:
        assert (await server.client.get(f"/v2/models/{entry['name']}/ready")).status_code == 200


async def test_loading_an_unknown_model(server: RestSubject) -> None:
    """A failed load request must be indicated by an HTTP error status, with an error object."""
    await server.require_extension("model_repository")
    for action in ("load", "unload"):
        assert is_error(await server.client.post(f"/v2/repository/models/no_such_model/{action}"))
