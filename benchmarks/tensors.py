"""(f) Tensors over the wire: a volume of 64³ FP32 as JSON, as binary HTTP, and over gRPC, raw and typed.

Every model gives back what it gets (Bedside's bundle is ``torch.nn.Identity``), so that the way is measured and not the
model. One caller, one request at a time, servers and ways by turns; each way's first answer is compared with what was
sent. The least is what a way costs, the median what the machine made of it.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import tritonclient.grpc as triton
import tritonclient.http
from grpc import RpcError
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

from benchmarks import services
from benchmarks.bundles import identity_bundle
from benchmarks.contestants.heart_pipeline import IDENTITY as MODEL
from benchmarks.part import Options, Part, Raw
from benchmarks.services import Running, Workspace, bedside, start, wait_ready
from benchmarks.tables import table

EDGE = 64
AFFINE = "[1,0,0,0, 0,1,0,0, 0,0,1,0, 0,0,0,1]"
MOST_BYTES = 64 * 1024 * 1024

Volume = NDArray[np.float32]
Way = Callable[[], Volume]


JSON, BINARY, RAW, TYPED = "JSON", "HTTP binary", "gRPC raw", "gRPC typed"


BEDSIDE = services.with_grpc(
    bedside(
        services.BEDSIDE.name,
        lambda workspace: [identity_bundle(workspace.root / "tensors")],
        BEDSIDE_LIMITS__JSON_BYTES=str(MOST_BYTES),
    )
)
CONTESTANTS = (BEDSIDE, services.with_grpc(services.KSERVE), services.with_grpc(services.MLSERVER))


def over_http(client: Any, volume: Volume, headers: dict[str, str], affine: str, *, binary: bool) -> Way:
    """Return a call by HTTP."""
    tensor = tritonclient.http.InferInput("image", list(volume.shape), "FP32")
    tensor.set_data_from_numpy(volume, binary_data=binary)
    if affine:
        tensor._parameters["affine"] = affine  # noqa: SLF001 - the client offers no other way to set one
    outputs = [tritonclient.http.InferRequestedOutput("pred", binary_data=binary)]

    def call() -> Volume:
        answer: Volume = client.infer(MODEL, [tensor], outputs=outputs, headers=dict(headers)).as_numpy("pred")
        return answer

    return call


def over_grpc(client: Any, volume: Volume, headers: dict[str, str], affine: str) -> Way:
    """Return a call by gRPC, raw."""

    def call() -> Volume:
        tensor = triton.InferInput("image", list(volume.shape), "FP32")
        tensor.set_data_from_numpy(volume)
        if affine:
            tensor._input.parameters["affine"].string_param = affine  # noqa: SLF001 - as above
        answer: Volume = client.infer(MODEL, [tensor], headers=headers).as_numpy("pred")
        return answer

    return call


def over_grpc_typed(client: Any, volume: Volume, headers: dict[str, str], affine: str) -> Way:
    """Return a call by gRPC, typed, which the client library does not send."""
    stub = service_pb2_grpc.GRPCInferenceServiceStub(client._channel)  # noqa: SLF001 - one connection for both

    def call() -> Volume:
        request = service_pb2.ModelInferRequest(model_name=MODEL)
        tensor = request.inputs.add(name="image", datatype="FP32", shape=volume.shape)
        if affine:
            tensor.parameters["affine"].string_param = affine
        tensor.contents.fp32_contents.extend(volume.ravel())
        (output,) = stub.ModelInfer(request, metadata=tuple(headers.items())).outputs
        return np.array(output.contents.fp32_contents, np.float32).reshape(output.shape)

    return call


def measure(workspace: Workspace, repeats: int, options: Options) -> dict[str, Any]:
    """Return milliseconds by server and way."""
    volume = np.random.default_rng(0).random((EDGE, EDGE, EDGE), np.float32)
    taken: dict[str, dict[str, list[float]]] = {}
    with ExitStack() as stack:
        ways: dict[str, dict[str, Way]] = {}
        for service in CONTESTANTS:
            if service.available(workspace) and options.only in service.name:
                running = start(service, workspace)
                stack.callback(running.server.end)
                wait_ready(running)
                ways[service.name] = _ways(running, volume, stack)
                taken[service.name] = {name: [] for name in ways[service.name]}
        for number in range(options.rounds):
            for service_name, found in ways.items():
                for name, call in found.items():
                    taken[service_name][name] += [_timed(call) for _ in range(repeats)]
            options.say(f"round {number + 1}")
    return {"edge": EDGE, "ms": taken}


def _ways(running: Running, volume: Volume, stack: ExitStack) -> dict[str, Way]:
    """Return the ways that bring back what was sent."""
    headers = {"authorization": f"Bearer {running.tokens[0]}"} if running.tokens else {}
    affine = AFFINE if running.service is BEDSIDE else ""  # Bedside wants to know where a volume lies
    http = tritonclient.http.InferenceServerClient(f"127.0.0.1:{running.port}", network_timeout=60)
    options = [("grpc.max_receive_message_length", MOST_BYTES)]
    grpc = triton.InferenceServerClient(f"127.0.0.1:{running.port + 1}", channel_args=options)
    stack.callback(http.close)
    stack.callback(grpc.close)
    ways = {
        JSON: over_http(http, volume, headers, affine, binary=False),
        BINARY: over_http(http, volume, headers, affine, binary=True),
        RAW: over_grpc(grpc, volume, headers, affine),
        TYPED: over_grpc_typed(grpc, volume, headers, affine),
    }
    return {name: call for name, call in ways.items() if _brings_back(call, volume)}


def _brings_back(call: Way, volume: Volume) -> bool:
    try:
        answer = call()
    except (
        InferenceServerException,
        RpcError,
        ValueError,
    ):  # ValueError: an answer that holds less than its shape says
        return False
    return np.array_equal(answer.reshape(volume.shape), volume)


def _timed(call: Way) -> float:
    begin = perf_counter()
    call()
    return (perf_counter() - begin) * 1e3


def render(raw: Raw) -> str:
    """Return the section."""
    servers = raw["ms"]
    rows = [[way, *(_cell(ways.get(way)) for ways in servers.values())] for way in (JSON, BINARY, RAW, TYPED)]
    return f"""
## (f) Tensors: {raw["edge"]}³ FP32 there and back

{table(("ms, least; median", *servers), rows)}

A model that gives back what it gets; one caller, one request at a time, `tritonclient`. Bedside authenticates, checks
every tensor against the contract and runs the model in a process of its own; the others do neither. "-": refused, or
not the numbers that were sent.
"""


def _cell(found: Sequence[float] | None) -> str:
    return f"{min(found):.1f}; {median(found):.1f}" if found else "-"


def _run(workspace: Workspace, options: Options) -> dict[str, Any]:
    return measure(workspace, 2 if options.quick else 25, options)


PART = Part("tensors", _run, render)
