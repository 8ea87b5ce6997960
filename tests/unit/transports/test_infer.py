"""``infer``: the Open Inference Protocol's form, JSON and binary tensor extension."""

import json
import struct
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.transports.fakes import RECORD, Wire, World, make_world

from bedside.bundle.contract import FeatureSpec
from bedside.errors import BedsideError, MalformedPayload, RequestError
from bedside.transports.rest.infer_request import parse_infer_request
from bedside.types import OutputArray, Prediction, ValidatedInputs

HEART = "/v2/models/heart/infer"
MASK = "/v2/models/mask/infer"
AGE = {"name": "age", "shape": [1], "datatype": "FP64", "data": [63.0]}
CHOL = {"name": "chol", "shape": [1], "datatype": "INT64", "data": [233]}
SPACING = {"spacing": "[1,1,1]"}


@pytest.fixture
def world() -> World:
    """One application."""
    return make_world()


async def infer(world: World, document: Any, path: str = HEART, **headers: str) -> httpx.Response:
    """Send a JSON request."""
    async with world.client(**headers) as client:
        return await client.post(path, content=orjson.dumps(document), headers={"content-type": "application/json"})


async def infer_binary(
    world: World, document: Any, raw: bytes, path: str = HEART, length: Any = None
) -> httpx.Response:
    """Send a request with raw tensors."""
    head = orjson.dumps(document)
    headers = {"inference-header-content-length": str(len(head) if length is None else length)}
    async with world.client() as client:
        return await client.post(path, content=head + raw, headers=headers)


async def test_features_by_name(world: World) -> None:
    """The plain case: one tensor per feature."""
    answer = (await infer(world, {"id": "DOE-1", "inputs": [AGE, CHOL]})).json()
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("heart", "1.0.0", "DOE-1")
    (output,) = answer["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("probabilities", "FP32", [1, 2])
    assert output["data"] == pytest.approx([0.37, 0.63])
    assert json.loads(output["parameters"]["labels"]) == ["absent", "present"]


@pytest.mark.parametrize("binary", [False, True], ids=["JSON", "binary"])
async def test_what_is_answered_is_watched_as_what_predict_answers(world: World, *, binary: bool) -> None:
    """Row by row, whatever the tensors look like."""
    rows = np.array([[63, 233], [20, 180]], np.float32)
    packed: dict[str, Any] = {"name": "features", "shape": [2, 2], "datatype": "FP32"}
    if binary:
        packed["parameters"] = {"binary_data_size": rows.nbytes}
        await infer_binary(world, {"inputs": [packed]}, rows.tobytes())
    else:
        await infer(world, {"inputs": [{**packed, "data": rows.tolist()}]})
    async with world.client() as client:
        for age, chol in rows.tolist():
            await client.post("/v1/models/heart/predict", json={"age": age, "chol": chol})
    infers, *predicts = (call.findings for call in world.sink.calls)
    assert list(infers) == [finding for findings in predicts for finding in findings]
    assert [finding.predicted and finding.predicted[0] for finding in infers] == ["present", "absent"]


async def test_rows_keep_their_order(world: World) -> None:
    """Each row has its own result."""
    packed = {"name": "features", "shape": [3, 2], "datatype": "FP32", "data": [10, 1, 20, 1, 30, 1]}
    (output,) = (await infer(world, {"inputs": [packed]})).json()["outputs"]
    assert output["shape"] == [3, 2]
    assert output["data"][1::2] == pytest.approx([0.1, 0.2, 0.3])
    assert world.sink.only.rows == 3


async def test_warnings_come_by_row_index(world: World) -> None:
    """What ``predict`` warns of stands in the response's parameters, as JSON text; where there is nothing, nothing."""
    seen = replace(RECORD.inputs[0], features=(FeatureSpec("age", seen=(18, 90)), FeatureSpec("chol")))
    world.model("heart").contract = replace(RECORD, inputs=(seen,))
    packed = {"name": "features", "shape": [3, 2], "datatype": "FP32", "data": [20, 1, 95, 1, 10, 1]}
    answer = (await infer(world, {"inputs": [packed]})).json()
    sentence = "age is outside 18 to 90, the range seen in training"
    assert json.loads(answer["parameters"]["warnings"]) == {"1": [sentence], "2": [sentence]}
    assert "parameters" not in (await infer(world, {"inputs": [AGE, CHOL]})).json()


async def test_integers_beyond_their_datatype_are_refused(world: World) -> None:
    """2^63 is no INT64, also in a request of one row."""
    chol = {**CHOL, "data": [2**63]}
    assert (await infer(world, {"inputs": [AGE, chol]})).status_code == 400


async def test_the_id_stays_in_the_body(world: World) -> None:
    """The caller's id may name a patient: it is in no header field and not in what is accounted for."""
    response = await infer(world, {"id": "DOE^JOHN", "inputs": [AGE, CHOL]})
    assert "DOE" not in str(response.headers)
    assert "DOE" not in str(world.sink.only)


async def test_no_id_is_made_up(world: World) -> None:
    """The answer has an id only where the request had one."""
    assert "id" not in (await infer(world, {"inputs": [AGE, CHOL]})).json()


async def test_binary_in_and_out(world: World) -> None:
    """Raw little-endian tensors behind the JSON object, in the order of the tensors."""
    inputs = [
        {"name": "chol", "shape": [2], "datatype": "INT16", "parameters": {"binary_data_size": 4}},
        {"name": "age", "shape": [2], "datatype": "FP32", "parameters": {"binary_data_size": 8}},
    ]
    raw = struct.pack("<hhff", 1, 2, 10, 20)
    document = {"inputs": inputs, "parameters": {"binary_data_output": True}}
    response = await infer_binary(world, document, raw)
    assert response.headers["content-type"] == "application/octet-stream"
    length = int(response.headers["inference-header-content-length"])
    (output,) = orjson.loads(response.content[:length])["outputs"]
    assert output["parameters"]["binary_data_size"] == 16
    assert "data" not in output
    assert np.frombuffer(response.content[length:], "<f4")[1::2].tolist() == pytest.approx([0.1, 0.2])


async def test_binary_in_json_out(world: World) -> None:
    """JSON unless binary was asked for."""
    inputs = [{**CHOL}, {"name": "age", "shape": [1], "datatype": "FP32", "parameters": {"binary_data_size": 4}}]
    response = await infer_binary(world, {"inputs": inputs}, struct.pack("<f", 10))
    assert response.headers["content-type"] == "application/json"
    assert "inference-header-content-length" not in response.headers


async def test_an_output_overrides_the_default(world: World) -> None:
    """binary_data on an output wins over binary_data_output."""
    document = {
        "inputs": [AGE, CHOL],
        "parameters": {"binary_data_output": True},
        "outputs": [{"name": "probabilities", "parameters": {"binary_data": False}}],
    }
    assert (await infer(world, document)).headers["content-type"] == "application/json"
    document["parameters"] = {}
    document["outputs"] = [{"name": "probabilities", "parameters": {"binary_data": True}}]
    assert (await infer(world, document)).headers["content-type"] == "application/octet-stream"


async def test_an_empty_list_of_outputs_means_all(world: World) -> None:
    """As if it were not there."""
    assert len((await infer(world, {"inputs": [AGE, CHOL], "outputs": []})).json()["outputs"]) == 1


async def test_an_image_as_a_tensor(world: World) -> None:
    """The decoded array with its spacing; the mask lies on its grid, row-major."""
    tensor = {"name": "image", "shape": [2, 3, 4], "datatype": "INT16", "data": list(range(24)), "parameters": SPACING}
    (output,) = (await infer(world, {"inputs": [tensor]}, MASK)).json()["outputs"]
    assert (output["shape"], output["datatype"], output["data"]) == ([2, 3, 4], "UINT8", [1] * 24)
    assert len(json.loads(output["parameters"]["affine"])) == 16


async def test_a_large_request_and_answer(world: World) -> None:
    """Beyond the inline size the work is done in a thread; the result is the same."""
    shape = [64, 64, 32]
    raw = np.zeros(shape, np.int16).tobytes()
    parameters = {**SPACING, "binary_data_size": len(raw)}
    document = {
        "inputs": [{"name": "image", "shape": shape, "datatype": "INT16", "parameters": parameters}],
        "parameters": {"binary_data_output": True},
    }
    response = await infer_binary(world, document, raw, MASK)
    length = int(response.headers["inference-header-content-length"])
    assert response.content[length:] == b"\x01" * (64 * 64 * 32)


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ([], "body"),
        ({}, "inputs"),
        ({"inputs": {}}, "inputs"),
        ({"inputs": [1]}, "inputs[0]"),
        ({"inputs": []}, "features"),
        ({"inputs": [AGE, CHOL], "id": 5}, "id"),
        ({"inputs": [AGE, CHOL], "parameters": []}, "parameters"),
        ({"inputs": [AGE, CHOL], "parameters": {"a": None}}, "parameters"),
        ({"inputs": [AGE, CHOL], "parameters": {"binary_data_output": 1}}, "parameters.binary_data_output"),
        ({"inputs": [AGE, CHOL], "parameters": {"sequence_id": 1}}, "parameters.sequence_id"),
        ({"inputs": [AGE, CHOL], "outputs": {}}, "outputs"),
        ({"inputs": [AGE, CHOL], "outputs": [1]}, "outputs[0]"),
        ({"inputs": [AGE, CHOL], "outputs": [{}]}, "outputs[0].name"),
        ({"inputs": [AGE, CHOL], "outputs": [{"name": "other"}]}, "outputs[0].name"),
        ({"inputs": [AGE, CHOL], "outputs": [{"name": "probabilities"}] * 2}, "outputs"),
        (
            {"inputs": [AGE, CHOL], "outputs": [{"name": "probabilities", "parameters": {"classification": 2}}]},
            "outputs[0].parameters.classification",
        ),
        ({"inputs": [{**AGE, "name": 1}]}, "inputs[0].name"),
        ({"inputs": [{**AGE, "name": ""}]}, "inputs[0].name"),
        ({"inputs": [{**AGE, "name": "sex"}, CHOL]}, "sex"),
        ({"inputs": [AGE, AGE, CHOL]}, "age"),
        ({"inputs": [AGE]}, "chol"),
        ({"inputs": [{**AGE, "datatype": None}]}, "inputs[0].datatype"),
        ({"inputs": [{**AGE, "datatype": "FP8"}, CHOL]}, "age"),
        ({"inputs": [{**AGE, "shape": None}]}, "inputs[0].shape"),
        ({"inputs": [{**AGE, "shape": [1.0]}]}, "inputs[0].shape"),
        ({"inputs": [{**AGE, "shape": [True]}]}, "inputs[0].shape"),
        ({"inputs": [{**AGE, "shape": [-1]}]}, "inputs[0].shape"),
        ({"inputs": [{**AGE, "shape": [1] * 17}]}, "inputs[0].shape"),
        ({"inputs": [{**AGE, "shape": [2]}, CHOL]}, "age"),
        ({"inputs": [{**AGE, "data": None}]}, "inputs[0].data"),
        ({"inputs": [{**AGE, "data": "1"}]}, "inputs[0].data"),
        ({"inputs": [{**AGE, "data": ["1"]}, CHOL]}, "age"),
        ({"inputs": [{**AGE, "data": [True]}, CHOL]}, "age"),
        ({"inputs": [{**AGE, "data": [None]}, CHOL]}, "age"),
        ({"inputs": [AGE, {**CHOL, "data": [1.5]}]}, "chol"),
        ({"inputs": [{**AGE, "parameters": {"shared_memory_region": "a"}}]}, "shared_memory_region"),
        ({"inputs": [{**AGE, "parameters": {"binary_data_size": 8}}]}, "inputs[0].data"),
        ({"inputs": [{"name": "age", "shape": [1], "datatype": "FP64", "parameters": {"binary_data_size": 8}}]}, "age"),
    ],
    ids=str,
)
async def test_bad_documents(world: World, document: Any, says: str) -> None:
    """Each gets a 4xx in V2's shape that names the member, and the model does not run."""
    response = await infer(world, document)
    assert 400 <= response.status_code < 500
    assert list(response.json()) == ["error"]
    assert says in response.json()["error"] or says == "age"
    assert world.model("heart").executor.runs == 0
    assert world.sink.only.error is not None


def tensor(size: Any, datatype: str = "FP32") -> dict[str, Any]:
    """Return the head of a raw tensor."""
    return {"name": "age", "shape": [1], "datatype": datatype, "parameters": {"binary_data_size": size}}


@pytest.mark.parametrize(
    ("inputs", "raw", "length"),
    [
        ([tensor(4), CHOL], b"", None),
        ([tensor(4), CHOL], b"\0" * 5, None),
        ([tensor(3), CHOL], b"\0" * 3, None),
        ([tensor(-1), CHOL], b"\0" * 4, None),
        ([tensor(True), CHOL], b"\0", None),
        ([tensor("4"), CHOL], b"\0" * 4, None),
        ([tensor(2**63), CHOL], b"\0" * 4, None),
        ([tensor(4), CHOL], b"\0" * 4, 10**6),
        ([tensor(4), CHOL], b"\0" * 4, 10),
        ([tensor(4), CHOL], b"\0" * 4, 0),
        ([tensor(4), CHOL], b"\0" * 4, -1),
        ([tensor(4), CHOL], b"\0" * 4, "9" * 30),
        ([tensor(5, "BYTES"), CHOL], b"\x09\0\0\0a", None),
        ([AGE, CHOL], b"left over", None),
    ],
    ids=str,
)
async def test_sizes_that_do_not_add_up(world: World, inputs: Any, raw: bytes, length: Any) -> None:
    """Every byte belongs to a tensor, and every tensor has its bytes."""
    response = await infer_binary(world, {"inputs": inputs}, raw, length=length)
    assert 400 <= response.status_code < 500
    assert world.model("heart").executor.runs == 0


async def test_bytes_elements(world: World) -> None:
    """BYTES: a 4-byte length before each element; '?' is a missing value."""
    chol = {"name": "chol", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 5}}
    response = await infer_binary(world, {"inputs": [AGE, chol]}, b"\x01\0\0\0?")
    assert response.status_code == 200


async def test_media_types(world: World) -> None:
    """A form is no inference request; no type at all is taken for JSON."""
    body = orjson.dumps({"inputs": [AGE, CHOL]})
    async with world.client() as client:
        form = await client.post(HEART, content=body, headers={"content-type": "application/x-www-form-urlencoded"})
        plain = await client.post(HEART, content=body)
    assert (form.status_code, plain.status_code) == (415, 200)


async def test_the_json_part_is_bounded() -> None:
    """limits.json_bytes holds for JSON, limits.body_bytes for JSON and raw tensors together."""
    world = make_world(limits={"json_bytes": 60})
    assert (await infer(world, {"inputs": [AGE, CHOL]})).status_code == 413
    assert (await infer_binary(world, {"inputs": [AGE, CHOL]}, b"")).status_code == 413


async def test_rows_are_bounded() -> None:
    """limits.rows."""
    world = make_world(limits={"rows": 2})
    packed = {"name": "features", "shape": [3, 2], "datatype": "FP32", "data": [1] * 6}
    assert (await infer(world, {"inputs": [packed]})).status_code == 413


async def test_results_that_json_cannot_say(world: World) -> None:
    """NaN is a failure of the model, not a null."""

    async def run(inputs: ValidatedInputs, timeout_seconds: float) -> Prediction:
        return Prediction((OutputArray("probabilities", np.array([np.nan, 1], np.float32)),))

    world.model("heart").executor.run_one = run
    response = await infer(world, {"inputs": [AGE, CHOL]})
    assert response.status_code == 500
    assert response.headers["x-request-id"] in response.json()["error"]


async def test_a_result_that_is_missing(world: World) -> None:
    """What the contract has and the model did not give."""

    async def run(inputs: ValidatedInputs, timeout_seconds: float) -> Prediction:
        return Prediction((OutputArray("other", np.zeros(2, np.float32)),))

    world.model("heart").executor.run_one = run
    document = {"inputs": [AGE, CHOL], "outputs": [{"name": "probabilities"}]}
    assert (await infer(world, document)).status_code == 500


VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)


def _member(good: Any) -> Any:
    return st.just(good) | VALUES


TENSORS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["age", "chol", "features", "x"]) | VALUES,
        "shape": st.lists(st.integers(-1, 3) | VALUES, max_size=3) | VALUES,
        "datatype": st.sampled_from(["FP32", "INT8", "BYTES", "BOOL", "FP16"]) | VALUES,
        "data": st.lists(VALUES, max_size=4) | VALUES,
        "parameters": st.dictionaries(st.just("binary_data_size"), st.integers(-1, 9) | VALUES) | VALUES,
    },
)
DOCUMENTS = VALUES | st.fixed_dictionaries(
    {"inputs": st.lists(TENSORS | _member(AGE) | _member(CHOL), max_size=3) | VALUES},
    optional={
        "id": VALUES,
        "parameters": st.dictionaries(st.just("binary_data_output"), VALUES) | VALUES,
        "outputs": st.lists(st.dictionaries(st.sampled_from(["name", "parameters"]), VALUES)) | VALUES,
    },
)


@settings(max_examples=500)
@given(st.binary(max_size=80) | DOCUMENTS.map(lambda document: json.dumps(document).encode()), st.integers(0, 100))
def test_the_parser_raises_nothing_but_request_errors(data: bytes, length: int) -> None:
    """Fuzz: any bytes, any structure, any header length."""
    for header_length in (None, length, len(data)):
        try:
            parse_infer_request(data, header_length, 1000)
        except BedsideError as error:
            assert isinstance(error, RequestError)  # noqa: PT017 - either outcome is right


@settings(max_examples=300, suppress_health_check=list(HealthCheck))
@given(DOCUMENTS, st.binary(max_size=16), st.booleans())
async def test_requests_never_break_the_server(
    world: World,
    document: Any,
    raw: bytes,
    binary: bool,  # noqa: FBT001
) -> None:
    """Whatever comes, one after the other: 200 or 4xx in V2's shape, accounted for once."""
    world.sink.calls.clear()
    head = json.dumps(document).encode()
    headers = {"inference-header-content-length": str(len(head))} if binary else {}
    body = head + raw if binary else head
    wire = Wire(HEART, headers={**headers, "content-length": str(len(body))}, chunks=[body])
    await wire.drive(world.app)
    assert wire.status == 200 or 400 <= wire.status < 500
    assert wire.status == 200 or list(orjson.loads(wire.body)) == ["error"]
    assert len(world.sink.calls) == 1


@pytest.mark.parametrize(
    "twice",
    [
        b'{"inputs": [{"name": "age", "datatype": "FP64", "shape": [1], "data": [1], "data": [2]}]}',
        b'{"inputs": [], "inputs": [{"name": "age", "datatype": "FP64", "shape": [1], "data": [1]}]}',
        b'{"inputs": [{"name": "age", "datatype": "FP64", "shape": [1], "data": [1], "parameters": {"a": 1, "a": 2}}]}',
        b'{"inputs": [{"name": "age", "datatype": "FP64", "shape": [1], "data" : [1], "data": [2]}]}',
    ],
    ids=["data", "inputs", "parameters", "blanks"],
)
def test_a_member_that_comes_twice_is_refused(twice: bytes) -> None:
    """Two `data` are two patients; which one was meant nobody can tell."""
    with pytest.raises(MalformedPayload, match="twice"):
        parse_infer_request(twice, None, 1 << 20)


def test_a_colon_in_a_text_is_no_member() -> None:
    """The quick count may only ask for a closer look, never refuse by itself."""
    body = b'{"id": "a\\":b", "inputs": [{"name" : "age", "datatype": "BYTES", "shape": [1], "data": ["x\\": y"]}]}'

    assert parse_infer_request(body, None, 1 << 20).inputs[0].data == ['x": y']


def test_nesting_that_a_closer_look_cannot_follow_is_refused() -> None:
    """The parser that finds members twice has a smaller stack than the one that reads them."""
    data = b"[" * 1000 + b"]" * 1000
    body = b'{"id": ":", "inputs": [{"name": "age", "datatype": "FP32", "shape": [1], "data": ' + data + b"}]}"
    with pytest.raises(MalformedPayload, match="nested") as refused:
        parse_infer_request(body, None, 1 << 20)
    assert refused.value.field == "body"
