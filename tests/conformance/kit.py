"""The server under test, and what is known of its models. One kit for any server of the Open Inference Protocol V2.

Without configuration the transports are tested in this process, over made-up models. To test another server, by URL::

    BEDSIDE_CONFORMANCE_URL=https://host:8000 BEDSIDE_CONFORMANCE_GRPC=host:8001 BEDSIDE_CONFORMANCE_TOKEN=... \
    BEDSIDE_CONFORMANCE_MODEL=heart_disease python -m tests.conformance

| variable (each after ``BEDSIDE_CONFORMANCE_``) | |
|---|---|
| ``URL`` | base URL over HTTP; unset with ``GRPC`` set: only gRPC is tested |
| ``GRPC`` | ``host:port``; unset with ``URL`` set: only HTTP is tested |
| ``TOKEN`` | bearer token, where the server wants one |
| ``MODEL`` | a model with numeric inputs |
| ``REQUEST`` | file with a JSON request that ``MODEL`` takes, where it does not take every value 1 |
| ``OTHER_MODEL`` | a model with the same inputs and another answer |
| ``SLOW_MODEL`` | a model with the same inputs that takes about a second, or where its first value is 777 |
| ``CA`` | PEM file with the authority of the server's certificate |
"""

import asyncio
import json
import math
import os
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from tests.unit.transports.fakes import RECORD, FakeExecutor, FakeModel, World, make_world, record_run
from tests.unit.transports.grpc.station import station
from tritonclient.grpc import service_pb2, service_pb2_grpc

from bedside.types import OutputArray, Prediction, ValidatedInputs

FORMATS = {
    "INT8": "b",
    "INT16": "h",
    "INT32": "i",
    "INT64": "q",
    "UINT8": "B",
    "UINT16": "H",
    "UINT32": "I",
    "UINT64": "Q",
    "FP32": "f",
    "FP64": "d",
}
"""Numeric datatypes by the letters of ``struct``."""

CONTENTS = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "INT64": "int64_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""The field of InferTensorContents for each datatype, as the specification's comments say."""

SLEEP = 777
PATIENCE = 60.0

Tensor = dict[str, Any]


@dataclass(frozen=True)
class Target:
    """What the environment says."""

    url: str
    grpc: str
    token: str
    model: str
    request: str
    other_model: str
    slow_model: str
    ca: str

    @property
    def is_ours(self) -> bool:
        """Tell whether the transports are tested in this process."""
        return not self.url and not self.grpc


def _target() -> Target:
    names = Target.__dataclass_fields__
    found = Target(**{name: os.environ.get(f"BEDSIDE_CONFORMANCE_{name.upper()}", "") for name in names})
    if found.is_ours:
        return replace(found, token="user", model="heart", other_model="other", slow_model="slow")
    return found


TARGET = _target()  # read once: the suite's fixtures take Bedside's variables away before each test


class Subject:
    """A server under test, over either transport; tensors are those of the JSON form, whatever goes over the wire."""

    model = TARGET.model

    async def metadata_inputs(self) -> list[Tensor]:
        """Return name, datatype and shape of the model's inputs."""
        raise NotImplementedError

    async def ask(self, inputs: Sequence[Tensor], model: str = "", seconds: float = PATIENCE) -> list[float]:
        """Return the first output's numbers. Raises Refused."""
        raise NotImplementedError

    async def live(self) -> bool:
        """Tell whether the server says that it is alive."""
        raise NotImplementedError

    async def inputs(self) -> list[Tensor]:
        """Return the inputs of a request: the environment's, else every variable axis 1 and every value 1."""
        if TARGET.request:
            inputs: list[Tensor] = json.loads(Path(TARGET.request).read_bytes())["inputs"]  # noqa: ASYNC240
            return inputs
        return [
            {"name": tensor["name"], "datatype": tensor["datatype"], "shape": shape, "data": [1] * math.prod(shape)}
            for tensor in await self.metadata_inputs()
            for shape in [[1 if length == -1 else length for length in tensor["shape"]]]
        ]

    async def wide_inputs(self) -> list[Tensor]:
        """Return the inputs of a request whose first one has an axis of a fixed length above 1, or skip."""
        inputs = await self.inputs()
        if TARGET.is_ours:
            inputs = [{"name": "features", "datatype": "FP32", "shape": [1, 2], "data": [63, 233]}]
        if inputs[0]["shape"][-1] < 2:
            pytest.skip("no input has an axis of a fixed length")
        return inputs

    async def refuses(self, inputs: Sequence[Tensor], model: str = "") -> bool:
        """Tell whether a request is refused as the caller's mistake: not answered, and not a failure of the server."""
        try:
            await self.ask(inputs, model)
        except Refused as refused:
            return refused.blames_the_caller
        return False

    async def slow_inputs(self) -> list[Tensor]:
        """Return a request that the slow model takes its time for."""
        first, *rest = await self.inputs()
        return [{**first, "data": [SLEEP, *first["data"][1:]]}, *rest]


class Refused(Exception):
    """A request that was not answered."""

    def __init__(self, status: object, detail: str, *, blames_the_caller: bool) -> None:
        super().__init__(f"{status}: {detail}")
        self.blames_the_caller = blames_the_caller


class RestSubject(Subject):
    """A server over HTTP."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def metadata(self) -> Any:
        """Return $metadata_model_response."""
        return (await self.client.get(f"/v2/models/{self.model}")).json()

    async def metadata_inputs(self) -> list[Tensor]:
        """Return name, datatype and shape of the model's inputs."""
        inputs: list[Tensor] = (await self.metadata())["inputs"]
        return inputs

    async def live(self) -> bool:
        """Ask "server live"."""
        return (await self.client.get("/v2/health/live")).status_code == 200

    async def ask(self, inputs: Sequence[Tensor], model: str = "", seconds: float = PATIENCE) -> list[float]:
        """Return the first output's numbers. Raises Refused."""
        body = json.dumps({"inputs": list(inputs)}).encode()
        response = await self.client.post(
            f"/v2/models/{model or self.model}/infer",
            content=body,
            headers={"content-type": "application/json"},
            timeout=seconds,
        )
        if response.status_code != 200:
            blames = 400 <= response.status_code < 500
            raise Refused(response.status_code, response.text[:200], blames_the_caller=blames)
        document = json.loads(response.content, parse_constant=_no_json)
        answered = document["model_name"]
        assert answered == (model or self.model), f"the answer says that it is of {answered}"
        return flat(document["outputs"][0]["data"])

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


_CALLERS_MISTAKES = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.UNIMPLEMENTED,
}


class GrpcSubject(Subject):
    """A server over gRPC; ``raw`` chooses how tensors go.

    Attributes:
        channel: the connection.
        stub: generated stub of ``GRPCInferenceService``.
        metadata_fields: sent with every call.
        raw: whether tensors go in raw_input_contents.
    """

    def __init__(self, channel: Any, *, raw: bool = False) -> None:
        self.channel = channel
        self.stub: Any = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        self.fields = (("authorization", f"Bearer {TARGET.token}"),) if TARGET.token else ()
        self.raw = raw

    async def call(self, method: str, message: Any, seconds: float = PATIENCE) -> Any:
        """Call a method. Raises Refused."""
        try:
            return await getattr(self.stub, method)(message, metadata=self.fields, timeout=seconds)
        except grpc.aio.AioRpcError as error:
            blames = error.code() in _CALLERS_MISTAKES
            raise Refused(error.code(), error.details() or "", blames_the_caller=blames) from None

    async def refused(self, method: str, message: Any) -> bool:
        """Tell whether a call is refused as the caller's mistake, with a text that says why."""
        try:
            await self.call(method, message)
        except Refused as refused:
            return refused.blames_the_caller and not str(refused).endswith(": ")
        return False

    async def model_metadata(self) -> Any:
        """Return ModelMetadataResponse."""
        return await self.call("ModelMetadata", service_pb2.ModelMetadataRequest(name=self.model))

    async def metadata_inputs(self) -> list[Tensor]:
        """Return name, datatype and shape of the model's inputs."""
        return [
            {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
            for tensor in (await self.model_metadata()).inputs
        ]

    async def live(self) -> bool:
        """Ask ServerLive."""
        live: bool = (await self.call("ServerLive", service_pb2.ServerLiveRequest())).live
        return live

    def message(self, inputs: Sequence[Tensor], *, raw: bool | None = None, **fields: Any) -> Any:
        """Return a ModelInferRequest."""
        message = service_pb2.ModelInferRequest(**{"model_name": self.model, **fields})
        for tensor in inputs:
            added = message.inputs.add(name=tensor["name"], datatype=tensor["datatype"], shape=tensor["shape"])
            if self.raw if raw is None else raw:
                message.raw_input_contents.append(packed(tensor))
            else:
                getattr(added.contents, CONTENTS.get(tensor["datatype"], "fp32_contents")).extend(tensor["data"])
        return message

    async def ask(self, inputs: Sequence[Tensor], model: str = "", seconds: float = PATIENCE) -> list[float]:
        """Return the first output's numbers. Raises Refused."""
        try:
            message = self.message(inputs, model_name=model or self.model)
        except (ValueError, TypeError, struct.error):
            pytest.skip("these values cannot be written in this form at all")
        answer = await self.call("ModelInfer", message, seconds)
        assert answer.model_name == (model or self.model), f"the answer says that it is of {answer.model_name}"
        return numbers(answer, 0)


def packed(tensor: Tensor) -> bytes:
    """Return a tensor's little-endian bytes."""
    return struct.pack(f"<{len(tensor['data'])}{FORMATS.get(tensor['datatype'], 'f')}", *tensor["data"])


def numbers(answer: Any, index: int) -> list[float]:
    """Return an output of a ModelInferResponse as numbers, whichever form it has."""
    output = answer.outputs[index]
    if answer.raw_output_contents:
        raw = answer.raw_output_contents[index]
        return list(struct.unpack(f"<{math.prod(output.shape)}{FORMATS[output.datatype]}", raw))
    return list(getattr(output.contents, CONTENTS[output.datatype]))


def flat(data: list[Any]) -> list[Any]:
    """Return nested lists as one."""
    return [value for item in data for value in (flat(item) if isinstance(item, list) else [item])]


def _no_json(constant: str) -> None:
    raise AssertionError(f"the answer holds {constant}, which is no JSON (RFC 8259 §6)")


def made_up_world(grpc_port: int = 0) -> World:
    """Return made-up models: ``heart``, ``other`` with the answer turned round, ``slow``, and an image's."""
    world = make_world(server={"grpc_port": grpc_port})

    async def other(inputs: ValidatedInputs, timeout_seconds: float) -> Prediction:
        (output,) = (await record_run(inputs, timeout_seconds)).arrays
        return Prediction((OutputArray(output.name, np.ascontiguousarray(output.array[::-1])),))

    async def slow(inputs: ValidatedInputs, timeout_seconds: float) -> Prediction:
        if float(inputs.items[0].values[0]) == SLEEP:  # type: ignore[union-attr]
            await asyncio.sleep(3)  # more than a busy machine takes to ask whether the server is alive
        return await record_run(inputs, timeout_seconds)

    run: dict[str, Callable[[ValidatedInputs, float], Awaitable[Prediction]]] = {"other": other, "slow": slow}
    for name, one in run.items():
        contract = replace(RECORD, model=name)
        world.repository.models[name] = FakeModel(contract, FakeExecutor(contract, one))
    return world


@asynccontextmanager
async def over_http() -> AsyncIterator[RestSubject]:
    """Connect over HTTP, or skip where only gRPC is tested."""
    if not TARGET.url and not TARGET.is_ours:
        pytest.skip("BEDSIDE_CONFORMANCE_URL is not set")
    headers = {"authorization": f"Bearer {TARGET.token}"} if TARGET.token else {}
    if TARGET.url:
        verify: Any = ssl.create_default_context(cafile=TARGET.ca or None)
        client = httpx.AsyncClient(base_url=TARGET.url, headers=headers, verify=verify, timeout=PATIENCE)
    else:
        transport = httpx.ASGITransport(made_up_world().app)
        client = httpx.AsyncClient(base_url="http://test", headers=headers, transport=transport)
    async with client:
        yield RestSubject(client)


@asynccontextmanager
async def over_grpc(*, raw: bool = False) -> AsyncIterator[GrpcSubject]:
    """Connect over gRPC, or skip where only HTTP is tested."""
    if TARGET.is_ours:
        async with station(made_up_world()) as running:
            yield GrpcSubject(running.channel, raw=raw)
        return
    if not TARGET.grpc:
        pytest.skip("BEDSIDE_CONFORMANCE_GRPC is not set")
    ca = Path(TARGET.ca).read_bytes() if TARGET.ca else None  # noqa: ASYNC240 - before anything runs
    credentials = grpc.ssl_channel_credentials(ca)
    secure = TARGET.ca or TARGET.url.startswith("https")
    channel = grpc.aio.secure_channel(TARGET.grpc, credentials) if secure else grpc.aio.insecure_channel(TARGET.grpc)
    async with channel:
        yield GrpcSubject(channel, raw=raw)
