"""Conformance with the Open Inference Protocol V2 over gRPC, from outside: any server, no knowledge of ours.

Each test quotes the sentence of the specification (kserve/open-inference-protocol, ``inference_grpc.md`` and the
comments of ``open_inference_grpc.proto``; Triton's model repository extension) that it checks. The client is
tritonclient's generated stub. How to test another server stands in ``kit.py``.
"""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.conformance.kit import CONTENTS, GrpcSubject, Refused, numbers, over_grpc
from tritonclient.grpc import service_pb2 as pb

DATATYPES = {*CONTENTS, "FP16", "BF16"}


@pytest.fixture
async def server() -> AsyncIterator[GrpcSubject]:
    """The server that the environment names, or made-up models in this process."""
    async with over_grpc() as subject:
        yield subject


def check_answer(answer: Any, model: str) -> None:
    """Check ModelInferResponse: typed or raw, never both, and sizes that add up."""
    assert answer.model_name == model
    assert answer.outputs
    for output in answer.outputs:
        assert output.datatype in DATATYPES
        assert all(length >= 0 for length in output.shape)
        assert not (answer.raw_output_contents and output.HasField("contents"))
    if answer.raw_output_contents:
        assert len(answer.raw_output_contents) == len(answer.outputs)


# Health


async def test_server_live(server: GrpcSubject) -> None:
    """ServerLive: true if the inference server is live."""
    assert await server.live()


async def test_server_ready(server: GrpcSubject) -> None:
    """ServerReady: true if the inference server is ready."""
    assert (await server.call("ServerReady", pb.ServerReadyRequest())).ready


async def test_model_ready(server: GrpcSubject) -> None:
    """ModelReady: true if the model is ready; without a version the server chooses one."""
    assert (await server.call("ModelReady", pb.ModelReadyRequest(name=server.model))).ready


async def test_an_unknown_model_is_not_ready(server: GrpcSubject) -> None:
    """An unknown model is not ready, or its question an error."""
    try:
        answer = await server.call("ModelReady", pb.ModelReadyRequest(name="no_such_model"))
    except Refused as refused:
        assert refused.blames_the_caller  # noqa: PT017 - either outcome will do
    else:
        assert not answer.ready


# Metadata


async def test_server_metadata(server: GrpcSubject) -> None:
    """ServerMetadata: the server name, the server version, the extensions supported by the server."""
    answer = await server.call("ServerMetadata", pb.ServerMetadataRequest())
    assert answer.name
    assert answer.version


async def test_model_metadata(server: GrpcSubject) -> None:
    """ModelMetadata: name, platform, and the tensors; a variable-size dimension is represented by a -1 value."""
    answer = await server.model_metadata()
    assert answer.name == server.model
    assert answer.platform
    for tensors in (answer.inputs, answer.outputs):
        assert tensors
        for tensor in tensors:
            assert tensor.name
            assert tensor.datatype in DATATYPES
            assert all(length >= -1 for length in tensor.shape)


async def test_versions_may_be_asked_for(server: GrpcSubject) -> None:
    """The versions of the model available on the server: each is ready and answers under its own name."""
    inputs = await server.inputs()
    for version in (await server.model_metadata()).versions:
        ready = await server.call("ModelReady", pb.ModelReadyRequest(name=server.model, version=version))
        assert ready.ready
        answer = await server.call("ModelInfer", server.message(inputs, model_version=version))
        assert answer.model_version == version


@pytest.mark.parametrize(("name", "version"), [("no_such_model", ""), ("", ""), ("{model}", "no_such_version")])
async def test_metadata_errors(server: GrpcSubject, name: str, version: str) -> None:
    """The OK code indicates success and other codes indicate failure."""
    request = pb.ModelMetadataRequest(name=name.format(model=server.model), version=version)
    assert await server.refused("ModelMetadata", request)


# Inference


@pytest.mark.parametrize("raw", [False, True], ids=["typed", "raw"])
async def test_inference(server: GrpcSubject, *, raw: bool) -> None:
    """ModelInfer: the tensor contents using a data-type format, or the raw representation."""
    answer = await server.call("ModelInfer", server.message(await server.inputs(), raw=raw))
    check_answer(answer, server.model)


async def test_typed_and_raw_mean_the_same(server: GrpcSubject) -> None:
    """The data can be represented in raw bytes form or in the repeated type that matches the tensor's data type."""
    inputs = await server.inputs()
    answers = [await server.call("ModelInfer", server.message(inputs, raw=raw)) for raw in (False, True)]
    assert numbers(answers[0], 0) == pytest.approx(numbers(answers[1], 0))


async def test_all_outputs_unless_asked(server: GrpcSubject) -> None:
    """About outputs: optional, if not specified all outputs produced by the model will be returned."""
    expected = {tensor.name for tensor in (await server.model_metadata()).outputs}
    answer = await server.call("ModelInfer", server.message(await server.inputs()))
    assert {output.name for output in answer.outputs} == expected


async def test_requested_outputs(server: GrpcSubject) -> None:
    """The output tensors requested for the inference, and no others."""
    name = (await server.model_metadata()).outputs[0].name
    answer = await server.call("ModelInfer", server.message(await server.inputs(), outputs=[{"name": name}]))
    assert [output.name for output in answer.outputs] == [name]


async def test_outputs_keep_the_metadata(server: GrpcSubject) -> None:
    """The answer's datatypes, ranks and fixed lengths are those that the metadata promises."""
    promised = {tensor.name: tensor for tensor in (await server.model_metadata()).outputs}
    for output in (await server.call("ModelInfer", server.message(await server.inputs()))).outputs:
        tensor = promised[output.name]
        assert output.datatype == tensor.datatype
        assert len(output.shape) == len(tensor.shape)
        assert all(want in (-1, got) for want, got in zip(tensor.shape, output.shape, strict=True))


@pytest.mark.parametrize("identifier", ["42", "ä-😀", "x" * 1000])
async def test_id(server: GrpcSubject, identifier: str) -> None:
    """About id: if specified will be returned in the response."""
    answer = await server.call("ModelInfer", server.message(await server.inputs(), id=identifier))
    assert answer.id == identifier


async def test_unknown_names(server: GrpcSubject) -> None:
    """Unknown model, version and output each fail."""
    inputs = await server.inputs()
    assert await server.refused("ModelInfer", server.message(inputs, model_name="no_such_model"))
    assert await server.refused("ModelInfer", server.message(inputs, model_version="no_such_version"))
    assert await server.refused("ModelInfer", server.message(inputs, outputs=[{"name": "no_such_output"}]))


async def test_a_request_without_inputs(server: GrpcSubject) -> None:
    """The input tensors for the inference are not optional."""
    assert await server.refused("ModelInfer", server.message([]))


@pytest.mark.parametrize("member", ["name", "datatype", "shape", "contents"])
async def test_required_members_of_an_input(server: GrpcSubject, member: str) -> None:
    """InferInputTensor: name, datatype, shape and contents."""
    message = server.message(await server.inputs(), raw=False)
    message.inputs[0].ClearField(member)
    assert await server.refused("ModelInfer", message)


async def test_half_precision_is_not_typed(server: GrpcSubject) -> None:
    """The FP16 and BF16 data types must be represented as raw content."""
    message = server.message(await server.inputs(), raw=False)
    message.inputs[0].datatype = "FP16"
    assert await server.refused("ModelInfer", message)


async def test_contents_of_another_type(server: GrpcSubject) -> None:
    """The tensor contents in the repeated type that matches the tensor's data type."""
    message = server.message(await server.inputs(), raw=False)
    count = len(getattr(message.inputs[0].contents, CONTENTS[message.inputs[0].datatype]))
    message.inputs[0].ClearField("contents")
    message.inputs[0].contents.bool_contents.extend([True] * count)
    assert await server.refused("ModelInfer", message)


# Model repository extension


async def _index(server: GrpcSubject, **fields: Any) -> Any:
    try:
        return (await server.call("RepositoryIndex", pb.RepositoryIndexRequest(**fields))).models
    except Refused as refused:
        if "UNIMPLEMENTED" in str(refused):
            pytest.skip("the server has no model repository over gRPC")
        raise


async def test_repository_index(server: GrpcSubject) -> None:
    """RepositoryIndex: name, version, state and reason of every model."""
    models = await _index(server)
    assert server.model in {model.name for model in models}
    assert all(model.state for model in models)


async def test_repository_index_of_ready_models(server: GrpcSubject) -> None:
    """About ready: if true return only models currently ready for inferencing."""
    for model in await _index(server, ready=True):
        assert (await server.call("ModelReady", pb.ModelReadyRequest(name=model.name))).ready
