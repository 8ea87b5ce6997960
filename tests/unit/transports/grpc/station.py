"""The gRPC transport over the made-up world of the REST tests, called through tritonclient's generated stubs."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
from tests.unit.transports.fakes import World, make_world
from tritonclient.grpc import service_pb2, service_pb2_grpc

from bedside.transports.grpc.parts import Parts
from bedside.transports.grpc.server import Server

USER = (("authorization", "Bearer user"),)
ADMIN = (("authorization", "Bearer admin"),)


@dataclass
class Station:
    """A server that listens.

    Attributes:
        world: everything behind it.
        server: the transport.
        address: ``host:port``.
        channel: a connection to it.
        stub: tritonclient's ``GRPCInferenceServiceStub`` on that connection.
    """

    world: World
    server: Server
    address: str
    channel: Any
    stub: Any

    async def infer(self, request: Any, metadata: Sequence[tuple[str, str]] = USER, **options: Any) -> Any:
        """Send an inference request."""
        return await self.stub.ModelInfer(request, metadata=metadata, **options)

    async def refused(
        self, request: Any, metadata: Sequence[tuple[str, str]] = USER, **options: Any
    ) -> grpc.aio.AioRpcError:
        """Send an inference request that fails; return the error."""
        try:
            await self.infer(request, metadata, **options)
        except grpc.aio.AioRpcError as error:
            return error
        raise AssertionError("the request was answered")

    async def send(self, data: bytes, metadata: Sequence[tuple[str, str]] = USER) -> bytes:
        """Send bytes as they are to ``ModelInfer``."""
        call = self.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        answer: bytes = await call(data, metadata=metadata)
        return answer


def make_parts(world: World) -> Parts:
    """Return the transport's collaborators in a made-up world."""
    rest = world.parts
    return Parts(rest.dataplane, rest.repository, rest.gate, rest.settings, rest.version, rest.lifecycle, rest.auditor)


@asynccontextmanager
async def station(world: World | None = None, **settings: Any) -> AsyncIterator[Station]:
    """Start a server on a free port; ``settings`` are the nested dictionaries of :class:`Settings`."""
    world = world or make_world(**{**settings, "server": {"grpc_port": 0, **settings.get("server", {})}})
    said: list[str] = []
    server = Server(make_parts(world), said.append)
    await server.open()
    address = said[0].removeprefix("grpc://")
    try:
        async with grpc.aio.insecure_channel(address) as channel:
            yield Station(world, server, address, channel, service_pb2_grpc.GRPCInferenceServiceStub(channel))
    finally:
        await server.close(0)


def typed(name: str = "features", shape: Sequence[int] = (1, 2), datatype: str = "FP32", **contents: Any) -> Any:
    """Return an input tensor with typed contents, by default one packed record."""
    tensor = service_pb2.ModelInferRequest.InferInputTensor(name=name, datatype=datatype, shape=shape)
    for field, values in (contents or {"fp32_contents": [63, 233]}).items():
        getattr(tensor.contents, field).extend(values)
    return tensor


def bare(name: str = "features", shape: Sequence[int] = (1, 2), datatype: str = "FP32") -> Any:
    """Return an input tensor whose elements are in raw_input_contents."""
    return service_pb2.ModelInferRequest.InferInputTensor(name=name, datatype=datatype, shape=shape)


def request(*inputs: Any, raw: Sequence[bytes] = (), model: str = "heart", **fields: Any) -> Any:
    """Return an inference request, by default one packed record, typed."""
    return service_pb2.ModelInferRequest(
        model_name=model, inputs=inputs or (() if raw else (typed(),)), raw_input_contents=raw, **fields
    )


RAW_RECORD = np.array([63, 233], "<f4").tobytes()


def raw_request(**fields: Any) -> Any:
    """Return one packed record as raw bytes."""
    return request(bare(), raw=[RAW_RECORD], **fields)


def volume_request(shape: Sequence[int] = (2, 2, 2), size: int | None = None) -> Any:
    """Return a volume as raw FP32 with a spacing; ``size`` is the number of bytes, where it is to be wrong."""
    tensor = bare("image", shape)
    tensor.parameters["spacing"].string_param = "[1, 1, 1]"
    data = bytes(4 * int(np.prod(shape)) if size is None else size)
    return request(tensor, raw=[data], model="mask")
