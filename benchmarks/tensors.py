"""Tensors over the wire: a volume of 64³ FP32 as JSON, as binary HTTP, and over gRPC, raw and typed.

``python -m benchmarks.tensors [--edge 64] [--repeats 25] [--rounds 5]``

The bundle gives back what it gets (``torch.nn.Identity``), so that the way is measured and not the model. One caller,
one request at a time, the ways by turns; each way's first answer is compared with what was sent. Said are the least and
the median of all rounds: the least is what the way costs, the median what the machine made of it.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import tritonclient.grpc as triton
import tritonclient.http
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2, service_pb2_grpc

from benchmarks.services import Service, Workspace, bedside_tokens, free_port, start, wait_ready

MODEL = "identity"
AFFINE = "[1,0,0,0, 0,1,0,0, 0,0,1,0, 0,0,0,1]"
MOST_BYTES = 64 * 1024 * 1024

Volume = NDArray[np.float32]
Way = Callable[[], Volume]


@dataclass(frozen=True, slots=True)
class Timing:
    """What one way took, in milliseconds."""

    way: str
    least: float
    middle: float


def identity_bundle(folder: Path) -> Path:
    """Write a bundle that gives back the volume that it gets."""
    tensor: dict[str, Any] = {"type": "image", "format": "magnitude", "num_channels": 1, "spatial_shape": ["*"] * 3}
    tensor |= {"dtype": "float32", "value_range": [], "is_patch_data": False, "channel_def": {"0": "image"}}
    metadata = {
        "version": "1.0.0",
        "monai_version": "1.6.1",
        "pytorch_version": "2.13.0",
        "numpy_version": "2.4.6",
        "required_packages_version": {},
        "task": "Identity",
        "description": "Gives back the volume that it gets.",
        "authors": "Bedside maintainers",
        "copyright": "Bedside maintainers",
        "network_data_format": {"inputs": {"image": tensor}, "outputs": {"pred": tensor}},
    }
    transforms = [{"_target_": "LoadImaged", "keys": "image"}, {"_target_": "EnsureChannelFirstd", "keys": "image"}]
    config = {
        "bundle_root": ".",
        "device": "$torch.device('cpu')",
        "network": {"_target_": "torch.nn.Identity"},
        "preprocessing": {"_target_": "Compose", "transforms": transforms},
        "dataset": {"_target_": "Dataset", "data": [], "transform": "@preprocessing"},
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1},
        "inferer": {"_target_": "SimpleInferer"},
        "postprocessing": {"_target_": "Compose", "transforms": []},
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
        },
        "imports": ["$import torch"],
        "run": ["$@evaluator.run()"],
    }
    configs = folder / MODEL / "configs"
    configs.mkdir(parents=True)
    (configs / "metadata.json").write_text(json.dumps(metadata, indent=1))
    (configs / "inference.json").write_text(json.dumps(config, indent=1))
    return folder / MODEL


def service(bundle: Path, grpc_port: int) -> Service:
    """Return Bedside serving the bundle over both transports."""

    def command(workspace: Workspace, port: int) -> tuple[list[str], dict[str, str]]:
        arguments = [sys.executable, "-m", "bedside", "serve", str(bundle), "--port", str(port)]
        limits = {"BEDSIDE_LIMITS__JSON_BYTES": str(MOST_BYTES)}
        return [*arguments, "--grpc-port", str(grpc_port)], {**workspace.bedside_environment, **limits}

    return Service("Bedside tensors", command, "/readyz", bedside_tokens)


def over_http(client: Any, volume: Volume, headers: dict[str, str], *, binary: bool) -> Way:
    """Return a call by HTTP."""
    tensor = tritonclient.http.InferInput("image", list(volume.shape), "FP32")
    tensor.set_data_from_numpy(volume, binary_data=binary)
    tensor._parameters["affine"] = AFFINE  # noqa: SLF001 - the client offers no other way to set one
    outputs = [tritonclient.http.InferRequestedOutput("pred", binary_data=binary)]

    def call() -> Volume:
        answer: Volume = client.infer(MODEL, [tensor], outputs=outputs, headers=dict(headers)).as_numpy("pred")
        return answer

    return call


def over_grpc(client: Any, volume: Volume, headers: dict[str, str]) -> Way:
    """Return a call by gRPC, raw."""

    def call() -> Volume:
        tensor = triton.InferInput("image", list(volume.shape), "FP32")
        tensor.set_data_from_numpy(volume)
        tensor._input.parameters["affine"].string_param = AFFINE  # noqa: SLF001 - as above
        answer: Volume = client.infer(MODEL, [tensor], headers=headers).as_numpy("pred")
        return answer

    return call


def over_grpc_typed(client: Any, volume: Volume, headers: dict[str, str]) -> Way:
    """Return a call by gRPC, typed, which the client library does not send."""
    stub = service_pb2_grpc.GRPCInferenceServiceStub(client._channel)  # noqa: SLF001 - one connection for both

    def call() -> Volume:
        request = service_pb2.ModelInferRequest(model_name=MODEL)
        tensor = request.inputs.add(name="image", datatype="FP32", shape=volume.shape)
        tensor.parameters["affine"].string_param = AFFINE
        tensor.contents.fp32_contents.extend(volume.ravel())
        (output,) = stub.ModelInfer(request, metadata=tuple(headers.items())).outputs
        return np.array(output.contents.fp32_contents, np.float32).reshape(output.shape)

    return call


def measure(workspace: Workspace, edge: int, repeats: int, rounds: int) -> list[Timing]:
    """Return what each way takes."""
    volume = np.random.default_rng(0).random((edge, edge, edge), np.float32)
    grpc_port = free_port()
    with ExitStack() as stack:
        running = start(service(identity_bundle(workspace.root), grpc_port), workspace)
        stack.callback(running.server.end)
        wait_ready(running)
        headers = {"authorization": f"Bearer {running.tokens[0]}"}
        http = tritonclient.http.InferenceServerClient(f"127.0.0.1:{running.port}")
        options = [("grpc.max_receive_message_length", MOST_BYTES)]
        grpc = triton.InferenceServerClient(f"127.0.0.1:{grpc_port}", channel_args=options)
        stack.callback(http.close)
        stack.callback(grpc.close)
        ways = {
            "JSON": over_http(http, volume, headers, binary=False),
            "HTTP binary": over_http(http, volume, headers, binary=True),
            "gRPC raw": over_grpc(grpc, volume, headers),
            "gRPC typed": over_grpc_typed(grpc, volume, headers),
        }
        for name, call in ways.items():
            assert np.array_equal(call().reshape(volume.shape), volume), f"{name}: the answer is not what was sent"
        taken: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, call in ways.items():
                taken[name] += [_timed(call) for _ in range(repeats)]
    return [Timing(name, min(found), median(found)) for name, found in taken.items()]


def _timed(call: Way) -> float:
    begin = perf_counter()
    call()
    return (perf_counter() - begin) * 1e3


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tensors", description=__doc__)
    parser.add_argument("--edge", type=int, default=64, help="voxels along each axis (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=25, help="calls of each way in a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default: %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bedside-benchmarks-") as folder:
        root = Path(folder)
        timings = measure(Workspace(root, root), options.edge, options.repeats, options.rounds)
    print(f"| {options.edge}³ FP32, ms | least | median |\n|---|---|---|")
    for timing in timings:
        print(f"| {timing.way} | {timing.least:.1f} | {timing.middle:.1f} |")


if __name__ == "__main__":
    main()
