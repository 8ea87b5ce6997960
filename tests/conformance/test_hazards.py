"""What servers were seen to do with requests like these: answer 200 with a wrong number, 500, or another's answer.

Each is asked over HTTP, over gRPC with typed contents, and over gRPC with raw ones. A refusal must blame the caller
(4xx, INVALID_ARGUMENT …): a 500 is no answer to a mistake that the contract names.
"""

import asyncio
import math
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.conformance.kit import (
    TARGET,
    GrpcSubject,
    Refused,
    RestSubject,
    Subject,
    over_grpc,
    over_http,
    packed,
)


@pytest.fixture(params=["HTTP", "gRPC typed", "gRPC raw"])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    """The server over each of its transports."""
    if request.param == "HTTP":
        async with over_http() as rest:
            yield rest
    else:
        async with over_grpc(raw=request.param == "gRPC raw") as grpc:
            yield grpc


# A request that does not keep the contract


@pytest.mark.parametrize("change", [-1, 1])
async def test_data_that_is_not_of_its_shape(server: Subject, change: int) -> None:
    """Data with more or fewer elements than the declared shape are refused."""
    first, *rest = await server.inputs()
    data = first["data"][:-1] if change < 0 else [*first["data"], 1]
    assert await server.refuses([{**first, "data": data}, *rest])


async def test_an_input_that_the_model_has_not(server: Subject) -> None:
    """An input of an unknown name is refused, and not passed over."""
    first, *rest = await server.inputs()
    assert await server.refuses([{**first, "name": "no_such_input"}, *rest])
    assert await server.refuses([first, *rest, {**first, "name": "no_such_input"}])


async def test_an_input_twice(server: Subject) -> None:
    """The same name twice has no meaning that a server could choose."""
    inputs = await server.inputs()
    assert await server.refuses([*inputs, inputs[0]])


async def test_a_missing_input(server: Subject) -> None:
    """A missing input is refused, and not guessed."""
    assert await server.refuses((await server.inputs())[1:])


async def test_a_width_that_the_model_has_not(server: Subject) -> None:
    """A length that the model has not is refused, where metadata or the model's documentation fix it."""
    first, *rest = await server.wide_inputs()
    width = first["shape"][-1]
    narrow = {
        **first,
        "shape": [*first["shape"][:-1], width - 1],
        "data": first["data"][: len(first["data"]) // width * (width - 1)],
    }
    assert await server.refuses([narrow, *rest])


async def test_a_rank_that_the_model_has_not(server: Subject) -> None:
    """Three more axes of length 1 are no tensor of this model."""
    first, *rest = await server.inputs()
    assert await server.refuses([{**first, "shape": [1, 1, 1, *first["shape"]]}, *rest])


async def test_another_datatype_gives_no_other_number(server: Subject) -> None:
    """A datatype that is not the model's is refused, or converted without changing the answer."""
    inputs = await server.inputs()
    if any(value != int(value) or not -128 <= value < 128 for tensor in inputs for value in tensor["data"]):
        small = [{**tensor, "datatype": "INT16", "data": [int(value) for value in tensor["data"]]} for tensor in inputs]
        inputs = [{**tensor, "data": whole["data"]} for tensor, whole in zip(inputs, small, strict=True)]
    else:
        small = [{**tensor, "datatype": "INT8"} for tensor in inputs]
    expected = await server.ask(inputs)
    try:
        answer = await server.ask(small)
    except Refused as refused:
        assert refused.blames_the_caller, refused  # noqa: PT017 - either outcome will do
    else:
        assert answer == pytest.approx(expected)


@pytest.mark.parametrize("datatype", ["FP99", "BOOL"])
async def test_a_datatype_that_is_none(server: Subject, datatype: str) -> None:
    """A datatype that the protocol or the model has not is refused."""
    first, *rest = await server.inputs()
    assert await server.refuses([{**first, "datatype": datatype, "data": [True] * len(first["data"])}, *rest])


async def test_a_value_beyond_its_datatype(server: Subject) -> None:
    """300 is no INT8: it is refused, and does not become 44."""
    first, *rest = await server.inputs()
    if isinstance(server, GrpcSubject) and server.raw:
        pytest.skip("one byte cannot hold it")
    assert await server.refuses([{**first, "datatype": "INT8", "data": [300, *first["data"][1:]]}, *rest])


async def _with_first(server: Subject, value: float) -> list[dict[str, Any]]:
    first, *rest = await server.inputs()
    if first["datatype"] not in ("FP32", "FP64"):
        pytest.skip("the first input has no floating-point numbers")
    return [{**first, "data": [value, *first["data"][1:]]}, *rest]


@pytest.mark.parametrize("value", [float("inf"), float("-inf")])
async def test_infinity(server: Subject, value: float) -> None:
    """Infinity is refused, and does not come back as null or as a number."""
    assert await server.refuses(await _with_first(server, value))


async def test_not_a_number(server: Subject) -> None:
    """NaN is refused; where it can be written, it may mean "missing", and then the answer is finite."""
    try:
        answer = await server.ask(await _with_first(server, float("nan")))
    except Refused as refused:
        assert refused.blames_the_caller, refused  # noqa: PT017 - either outcome will do
    else:
        assert isinstance(server, GrpcSubject), "NaN is no JSON (RFC 8259 §6)"
        assert all(map(math.isfinite, answer))


@pytest.mark.parametrize("shape", [[-1], [0], [], [1] * 20, [2**31, 2**31], [2**62, 2**62, 2**62]], ids=str)
async def test_shapes_that_are_none(server: Subject, shape: list[int]) -> None:
    """Negative, empty, many and enormous axes are refused before anything is allocated."""
    first, *rest = await server.inputs()
    assert await server.refuses([{**first, "shape": shape}, *rest])


async def test_a_version_that_is_not_there(server: Subject) -> None:
    """A version that does not exist is not answered by another."""
    inputs = await server.inputs()
    if isinstance(server, GrpcSubject):
        assert await server.refused("ModelInfer", server.message(inputs, model_version="no_such_version"))
    elif isinstance(server, RestSubject):
        path = f"/v2/models/{server.model}/versions/no_such_version/infer"
        assert 400 <= (await server.client.post(path, json={"inputs": inputs})).status_code < 500


# Raw tensors


@pytest.fixture
async def raw() -> AsyncIterator[GrpcSubject]:
    """The server over gRPC, raw."""
    async with over_grpc(raw=True) as grpc:
        yield grpc


@pytest.mark.parametrize("damage", ["short", "long", "none", "fewer", "more"])
async def test_raw_contents_that_do_not_add_up(raw: GrpcSubject, damage: str) -> None:
    """raw_input_contents: one element for each input, each of exactly its shape's bytes."""
    inputs = await raw.inputs()
    contents = [packed(tensor) for tensor in inputs]
    contents = {
        "short": [contents[0][:-1], *contents[1:]],
        "long": [contents[0] + b"\0", *contents[1:]],
        "none": [b"", *contents[1:]],
        "fewer": contents[1:] or [b"", b""],
        "more": [*contents, b"\0"],
    }[damage]
    message = raw.message(inputs)
    del message.raw_input_contents[:]
    message.raw_input_contents.extend(contents)
    assert await raw.refused("ModelInfer", message)


async def test_raw_beside_typed(raw: GrpcSubject) -> None:
    """Contents must not be specified for any input where raw_input_contents are."""
    inputs = await raw.inputs()
    message = raw.message(inputs, raw=False)
    message.raw_input_contents.extend(packed(tensor) for tensor in inputs)
    assert await raw.refused("ModelInfer", message)


@pytest.mark.parametrize("lie", [b"\xff\xff\xff\xff", b"\x02\0\0\0a", b"\x01\0", b"\0\0\0\0\0"], ids=bytes.hex)
async def test_lengths_that_lie(raw: GrpcSubject, lie: bytes) -> None:
    """Four bytes of length before each element of BYTES: what they announce must be there, and nothing more."""
    inputs = await raw.inputs()
    message = raw.message(inputs)
    message.inputs[0].datatype = "BYTES"
    message.raw_input_contents[0] = lie
    assert await raw.refused("ModelInfer", message)


async def test_bytes_that_are_no_message(raw: GrpcSubject) -> None:
    """What protobuf cannot read fails as a request, and the connection goes on."""
    call: Any = raw.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    with pytest.raises(Exception, match=r"StatusCode\.(INVALID_ARGUMENT|INTERNAL)"):
        await call(b"\xff\xff\xff", metadata=raw.fields)
    assert await raw.live()


# Requests beside each other


def _numbered(inputs: list[dict[str, Any]], number: int) -> list[dict[str, Any]]:
    first, *rest = inputs
    return [{**first, "data": [first["data"][0] + number, *first["data"][1:]]}, *rest]


async def test_each_caller_gets_its_own_answer(server: Subject) -> None:
    """Twenty different requests at one time are answered as one after the other."""
    inputs = await server.inputs()
    requests = [_numbered(inputs, number) for number in range(20)]
    expected = [await server.ask(one) for one in requests]
    assert await asyncio.gather(*(server.ask(one) for one in requests)) == expected


async def test_a_bad_request_harms_no_other(server: Subject) -> None:
    """Of three requests at one time one is malformed: it is refused, and two are answered."""
    inputs = await server.inputs()
    bad = [{**inputs[0], "shape": [1, 1, 1, *inputs[0]["shape"]]}, *inputs[1:]]
    expected = await server.ask(inputs)
    for _ in range(3):
        first, refused, second = await asyncio.gather(server.ask(inputs), server.refuses(bad), server.ask(inputs))
        assert first == second == expected
        assert refused


async def test_errors_do_not_end_the_connection(server: Subject) -> None:
    """After a refusal the next request is answered."""
    inputs = await server.inputs()
    for _ in range(3):
        assert await server.refuses([{**inputs[0], "name": "no_such_input"}, *inputs[1:]])
        assert await server.ask(inputs)


async def test_no_model_answers_for_another(server: Subject) -> None:
    """The same request to two models, one after the other, is answered by each (a cache whose key lacks the model)."""
    if not TARGET.other_model:
        pytest.skip("BEDSIDE_CONFORMANCE_OTHER_MODEL is not set")
    inputs = await server.inputs()
    for _ in range(2):
        assert await server.ask(inputs) != await server.ask(inputs, TARGET.other_model)


async def test_live_while_a_model_runs(server: Subject) -> None:
    """The server says that it is alive before a model that takes long has answered."""
    if not TARGET.slow_model:
        pytest.skip("BEDSIDE_CONFORMANCE_SLOW_MODEL is not set")
    running = asyncio.ensure_future(server.ask(await server.slow_inputs(), TARGET.slow_model))
    await asyncio.sleep(0.2)  # it is to have begun; from outside nothing tells when
    assert await server.live()
    assert not running.done()
    assert await running


async def test_a_short_deadline_harms_no_other(server: Subject) -> None:
    """Of three callers of a slow model one gives up: the others are answered, and the next one too."""
    if not TARGET.slow_model:
        pytest.skip("BEDSIDE_CONFORMANCE_SLOW_MODEL is not set")
    inputs = await server.slow_inputs()
    patient = [asyncio.ensure_future(server.ask(inputs, TARGET.slow_model)) for _ in range(2)]
    with pytest.raises((Refused, TimeoutError)):
        async with asyncio.timeout(0.5):
            await server.ask(inputs, TARGET.slow_model)
    assert all(await asyncio.gather(*patient))
    assert await server.ask(await server.inputs(), TARGET.slow_model)
