"""The server: request ids, deadlines, callers who go, limits, TLS, and the end."""

import asyncio
import socket
from pathlib import Path
from typing import Any

import grpc
import pytest
from demo.certificate import make_certificate
from grpc import StatusCode
from tests.unit.transports.fakes import RECORD, FakeExecutor, FakeModel, make_world, record_run
from tests.unit.transports.grpc.station import (
    RAW_RECORD,
    USER,
    Station,
    bare,
    make_parts,
    raw_request,
    request,
    station,
)
from tests.waiting import until
from tritonclient.grpc import service_pb2, service_pb2_grpc

from bedside.dataplane.lifecycle import Lifecycle
from bedside.errors import ConfigurationError, RunFailed
from bedside.transports.grpc.server import Server
from bedside.types import Prediction, ValidatedInputs

UUID = "0b6f1d7e-6f0c-4c0e-9d57-3a9f8c1f2b11"


class Stuck:
    """A model that does not answer; remembers that it was let go."""

    def __init__(self, running: Station) -> None:
        self.started = asyncio.Event()
        self.stopped = asyncio.Event()
        self.release = asyncio.Event()
        self.timeout = 0.0
        running.world.repository.models["heart"] = FakeModel(RECORD, FakeExecutor(RECORD, self.run))

    async def run(self, inputs: ValidatedInputs, timeout_seconds: float) -> Prediction:
        """Wait until released."""
        self.timeout = timeout_seconds
        self.started.set()
        try:
            await self.release.wait()
        finally:
            self.stopped.set()
        return await record_run(inputs, timeout_seconds)


async def test_request_id_comes_back(heart: Station) -> None:
    """The caller's id where it names nobody, else a new one; in the account and in the trailing metadata."""
    call = heart.stub.ModelInfer(request(), metadata=(*USER, ("x-request-id", UUID)))
    await call
    named = heart.stub.ModelInfer(request(), metadata=(*USER, ("x-request-id", "DOE^JOHN")))
    await named

    assert dict(await call.trailing_metadata())["x-request-id"] == UUID
    assert "DOE" not in dict(await named.trailing_metadata())["x-request-id"]
    assert [account.request_id == UUID for account in heart.world.sink.calls] == [True, False]


async def test_a_failed_call_has_its_request_id(heart: Station) -> None:
    """As a header field has it over HTTP."""
    error = await heart.refused(request(model="nope"), (*USER, ("x-request-id", UUID)))

    assert dict(error.trailing_metadata())["x-request-id"] == UUID


async def test_a_call_is_accounted_for_once(heart: Station) -> None:
    """Same facts as over HTTP, with the transport's name."""
    await heart.infer(raw_request())

    call = heart.world.sink.only
    assert (call.transport, call.operation, call.model, call.rows) == ("grpc", "infer", "heart", 1)
    assert call.principal is not None
    assert call.input_bytes > len(RAW_RECORD)
    assert call.output_bytes > 0
    assert {"authenticate", "decode", "run", "encode"} <= set(call.stages)
    assert call.error is None


async def test_a_deadline_bounds_the_run(heart: Station) -> None:
    """The model is told how long the caller waits, and is let go when the time is over."""
    stuck = Stuck(heart)

    error = await heart.refused(request(), timeout=2.0)
    await stuck.stopped.wait()
    await until(lambda: bool(heart.world.sink.calls))

    assert error.code() is StatusCode.DEADLINE_EXCEEDED
    assert stuck.timeout == pytest.approx(2.0, abs=0.5)  # gRPC rounds what it sends
    assert type(heart.world.sink.only.error).__name__ == "DeadlineExceeded"


async def test_without_a_deadline_the_servers_holds(heart: Station) -> None:
    """``limits.request_seconds``, as over HTTP."""
    stuck = Stuck(heart)
    stuck.release.set()

    await heart.infer(request())

    assert 290 < stuck.timeout <= 300


async def test_a_caller_who_goes_stops_the_model(heart: Station) -> None:
    """Cancelling reaches the run."""
    stuck = Stuck(heart)
    call = heart.stub.ModelInfer(request(), metadata=USER)
    await stuck.started.wait()

    call.cancel()
    await stuck.stopped.wait()
    await until(lambda: bool(heart.world.sink.calls))

    assert type(heart.world.sink.only.error).__name__ == "ClientGone"


async def test_one_deadline_does_not_touch_the_others(heart: Station) -> None:
    """Of three callers one runs out of time; two get their answers."""
    stuck = Stuck(heart)
    patient = [asyncio.ensure_future(heart.infer(request())) for _ in range(2)]
    error = await heart.refused(request(), timeout=0.2)
    stuck.release.set()

    assert error.code() is StatusCode.DEADLINE_EXCEEDED
    assert all(answer.outputs for answer in await asyncio.gather(*patient))


async def test_unexpected_errors_say_nothing(heart: Station, caplog: pytest.LogCaptureFixture) -> None:
    """INTERNAL with the request id; the text stays inside."""

    async def run(inputs: ValidatedInputs, timeout_seconds: float) -> Prediction:
        raise ValueError("DOE^JOHN")

    heart.world.repository.models["heart"] = FakeModel(RECORD, FakeExecutor(RECORD, run))

    error = await heart.refused(request())

    assert error.code() is StatusCode.INTERNAL
    assert heart.world.sink.only.request_id in (error.details() or "")
    assert "DOE" not in (error.details() or "")
    assert [record.getMessage() for record in caplog.records] == ["request_error_unexpected"]


async def test_an_operation_of_no_call_may_fail_unexpectedly(heart: Station) -> None:
    """The last line of defence is there for metadata too."""
    heart.world.repository.index = None  # type: ignore[assignment,method-assign]

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await heart.stub.RepositoryIndex(service_pb2.RepositoryIndexRequest(), metadata=USER)

    assert caught.value.code() is StatusCode.INTERNAL
    assert "NoneType" not in (caught.value.details() or "")


async def test_a_models_failure_keeps_its_text_inside(heart: Station) -> None:
    """Only the advice goes out."""

    async def run(inputs: ValidatedInputs, timeout_seconds: float) -> Prediction:
        raise RunFailed(cause="ValueError", where="DOE.py:1")

    heart.world.repository.models["heart"] = FakeModel(RECORD, FakeExecutor(RECORD, run))

    error = await heart.refused(request())

    assert error.code() is StatusCode.INTERNAL
    assert "DOE" not in (error.details() or "")


async def test_too_many_calls() -> None:
    """Beyond ``limits.connections``: UNAVAILABLE with the time to come back."""
    async with station(limits={"connections": 1}) as running:
        stuck = Stuck(running)
        first = asyncio.ensure_future(running.infer(request()))
        await stuck.started.wait()
        error = await running.refused(request())
        stuck.release.set()
        await first

    assert error.code() is StatusCode.UNAVAILABLE
    assert dict(error.trailing_metadata())["retry-after"] == "1"


async def test_messages_beyond_the_limit() -> None:
    """GRPC refuses them by the announced length, before they have come."""
    async with station(limits={"body_bytes": 4096}) as running:
        error = await running.refused(request(bare(), raw=[bytes(8192)]))
        await running.infer(request())

    assert error.code() is StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate], ids=lambda c: c.name)
async def test_compressed_messages_are_not_unpacked(heart: Station, compression: Any) -> None:
    """A kilobyte could become a megabyte; files may be compressed themselves."""
    error = await heart.refused(request(bare(), raw=[bytes(1 << 20)]), compression=compression)

    assert error.code() is StatusCode.UNIMPLEMENTED


async def test_a_message_that_does_not_come() -> None:
    """Who has a token and sends nothing is not waited for longer than ``limits.body_seconds``."""
    async with station(limits={"body_seconds": 0.05}) as running:
        call = running.channel.stream_unary("/inference.GRPCInferenceService/ModelInfer")(metadata=USER)
        assert await call.code() is StatusCode.DEADLINE_EXCEEDED
        await until(lambda: bool(running.world.sink.calls))

    assert type(running.world.sink.only.error).__name__ == "RequestTimeout"


async def test_a_call_without_a_message(heart: Station) -> None:
    """The caller ended its side and sent none."""
    call = heart.channel.stream_unary("/inference.GRPCInferenceService/ModelInfer")(metadata=USER)
    await call.done_writing()

    assert await call.code() is StatusCode.INVALID_ARGUMENT


async def test_closing_refuses_new_calls_and_lets_accepted_ones_finish(heart: Station) -> None:
    """As the HTTP server does: UNAVAILABLE for the new, an answer for the old."""
    stuck = Stuck(heart)
    accepted = asyncio.ensure_future(heart.infer(request()))
    await stuck.started.wait()

    heart.world.lifecycle.close(30)
    error = await heart.refused(request())
    ending = asyncio.ensure_future(heart.server.close(30))
    stuck.release.set()

    assert (await accepted).outputs
    await ending
    assert error.code() is StatusCode.UNAVAILABLE


async def test_what_does_not_finish_in_time_is_ended(heart: Station) -> None:
    """The model is let go, and the account says why."""
    stuck = Stuck(heart)
    accepted = asyncio.ensure_future(heart.infer(request()))
    await stuck.started.wait()

    heart.world.lifecycle.close(0)
    await heart.server.close(0)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await accepted
    await until(lambda: bool(heart.world.sink.calls))

    assert caught.value.code() in (StatusCode.UNAVAILABLE, StatusCode.CANCELLED)
    assert type(heart.world.sink.only.error).__name__ == "Draining"


async def test_a_lifecycle_opens_and_closes_it() -> None:
    """The door opens before models load and closes before they end."""
    order: list[str] = []

    async def startup() -> None:
        order.append("models load")

    async def shutdown() -> None:
        order.append("models end")

    class Noted(Server):
        async def close(self, seconds: float | None) -> None:
            await super().close(seconds)
            order.append("closed")

    lifecycle = Lifecycle(startup, shutdown)
    world = make_world(started=False, lifecycle=lifecycle, server={"grpc_port": 0})
    lifecycle.add(Noted(make_parts(world), lambda _address: order.append("listens")))

    await lifecycle.start()
    await lifecycle.stop()

    assert lifecycle.failure is None
    assert order == ["listens", "models load", "closed", "models end"]


async def test_a_port_that_is_taken() -> None:
    """Another server's port is not shared in silence."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError) as caught:
            await Server(make_parts(make_world(server={"grpc_port": port}))).open()

    assert caught.value.field == "server.grpc_port"


async def test_closing_what_never_opened() -> None:
    """A start that failed still ends in order."""
    await Server(make_parts(make_world(server={"grpc_port": 0}))).close(0)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return certificate and key of 'localhost'."""
    return make_certificate(tmp_path_factory.mktemp("tls"))


async def test_tls_with_the_http_servers_certificate(certificate: tuple[Path, Path]) -> None:
    """Who trusts the certificate is answered; plain text is not."""
    chain, key = certificate
    said: list[str] = []
    world = make_world(server={"grpc_port": 0, "tls_certificate": chain, "tls_key": key})
    server = Server(make_parts(world), said.append)
    await server.open()
    address = said[0].removeprefix("grpcs://").replace("127.0.0.1", "localhost")
    credentials = grpc.ssl_channel_credentials(chain.read_bytes())
    try:
        async with grpc.aio.secure_channel(address, credentials) as channel:
            answer = await service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request(), metadata=USER)
        async with grpc.aio.insecure_channel(address) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await service_pb2_grpc.GRPCInferenceServiceStub(channel).ServerLive(service_pb2.ServerLiveRequest())
    finally:
        await server.close(0)

    assert answer.outputs
    assert caught.value.code() is StatusCode.UNAVAILABLE


async def test_a_certificate_that_cannot_be_used(tmp_path: Path) -> None:
    """Missing or no certificate at all: the setting is named."""
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate")
    for file in (broken, tmp_path / "missing.pem"):
        world = make_world(server={"grpc_port": 0, "tls_certificate": file, "tls_key": file})
        with pytest.raises(ConfigurationError) as caught:
            await Server(make_parts(world)).open()
        assert caught.value.field in ("server.tls_certificate", "server.grpc_port")
