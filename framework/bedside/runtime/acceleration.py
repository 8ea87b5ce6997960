"""Quicker forms of a network: other layouts, other precisions, other engines (docs/decisions/0074).

Each is made anew, in the model's confined process, from the weights that were admitted; nothing is read from a file and
no program is started. Whether its answers are eager's is looked at before it is used (``acceleration_trial``).
"""

import copy
import io
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.utils import convert_to_dst_type

from bedside.runtime.record_pass import StaysInTorch

Quick = Callable[[torch.Tensor], torch.Tensor]

_FULL, _HALF = 1e-3, 5e-2
_OPSET = 17


class StaysEager(Exception):
    """A network runs as it is.

    Args:
        why: key of ``facts.WHY_EAGER``.
        detail: more, for whoever tunes; not for a log.
    """

    def __init__(self, why: str, detail: str = "") -> None:
        super().__init__(why)
        self.why, self.detail = why, detail


@dataclass(frozen=True, slots=True)
class Candidate:
    """A way of running a network.

    Attributes:
        make: returns the quick form of a network for inputs like the example. Raises StaysEager, or anything.
        apart: how far its numbers may be from eager's, as a part of the largest of them.
    """

    make: Callable[[torch.nn.Module, torch.Tensor], Quick]
    apart: float


class Accelerated(torch.nn.Module):
    """A network that runs its quick form on tensors like the one that was tried, in batches of any size.

    Whatever else it is given (another patch size, a second argument), the network itself gets.
    """

    def __init__(self, network: torch.nn.Module, quick: Quick, example: torch.Tensor) -> None:
        super().__init__()
        self.network = network
        self._quick = quick
        self._form = (example.shape[1:], example.dtype, example.device)

    def forward(self, *inputs: Any, **more: Any) -> Any:
        """Run the network."""
        if more or len(inputs) != 1 or not isinstance(inputs[0], torch.Tensor):
            return self.network(*inputs, **more)
        (tensor,) = inputs
        if (tensor.shape[1:], tensor.dtype, tensor.device) != self._form:
            return self.network(tensor)
        output = self._quick(plain(tensor))
        return convert_to_dst_type(output, tensor, dtype=output.dtype)[0]


class _OneTensor(torch.nn.Module):
    """A network without its further arguments: the exporter makes inputs of their defaults."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, tensor: torch.Tensor) -> Any:
        """Run the network."""
        return self.network(tensor)


def plain(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor without MONAI's geometry."""
    return tensor.as_tensor() if isinstance(tensor, MetaTensor) else tensor


def quicken(network: torch.nn.Module, name: str, example: torch.Tensor) -> Accelerated:
    """Return a network that runs as ``name`` says, once it has given eager's numbers on the example.

    Args:
        network: in evaluation mode.
        name: key of :data:`CANDIDATES`.
        example: what the network gets, batch first.

    Raises:
        StaysEager: it cannot be had here, or its numbers are others.
    """
    candidate = CANDIDATES[name]
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            quick = candidate.make(network, example)
            # The last windows of a volume are fewer than the others.
            for batch in (example, torch.cat([example, example[:1].flip(-1)])):
                _require_like(network(batch), quick(batch), candidate.apart)
    except StaysEager:
        raise
    except ImportError:
        raise StaysEager("not_installed", "pip install 'bedside[accelerate]'") from None
    except Exception as error:
        raise StaysEager("not_made", f"{type(error).__name__}: {error}"[:200]) from error
    return Accelerated(network, quick, example)


def _require_like(eager: Any, quick: Any, apart: float) -> None:
    if not isinstance(eager, torch.Tensor):
        raise StaysEager("not_one_tensor")
    if eager.shape != quick.shape or eager.dtype != quick.dtype:
        raise StaysEager("answers_differ", f"{list(quick.shape)} {quick.dtype} for {list(eager.shape)} {eager.dtype}")
    difference = float((eager - quick).abs().max() / eager.abs().max().clamp(min=torch.finfo(torch.float32).tiny))
    if not difference <= apart:  # NaN neither
        raise StaysEager("answers_differ", f"the network's numbers differ by {difference:.2g} of the largest")


def _channels_last(network: torch.nn.Module, example: torch.Tensor) -> Quick:
    layouts = {4: torch.channels_last, 5: torch.channels_last_3d}
    if example.dim() not in layouts:
        raise StaysEager("not_made", "neither pictures nor volumes")
    layout = layouts[example.dim()]
    changed: Any = copy.deepcopy(network).to(memory_format=layout)  # type: ignore[call-overload]
    return lambda tensor: changed(tensor.contiguous(memory_format=layout)).contiguous()


def _freeze(network: torch.nn.Module, example: torch.Tensor) -> Quick:
    _require_steady(network, example)
    graph: Any = torch.jit.freeze(torch.jit.trace(network, example))  # type: ignore[no-untyped-call]
    return torch.jit.optimize_for_inference(graph)


def _bf16(network: torch.nn.Module, example: torch.Tensor) -> Quick:
    def run(tensor: torch.Tensor) -> torch.Tensor:
        with torch.autocast(example.device.type, torch.bfloat16):
            return network(tensor).to(example.dtype)  # type: ignore[no-any-return]

    return run


def _onnxruntime(network: torch.nn.Module, example: torch.Tensor) -> Quick:
    import onnxruntime  # noqa: PLC0415 - an optional extra

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
    session = onnxruntime.InferenceSession(_exported(network, example), options, providers=["CPUExecutionProvider"])
    return lambda tensor: torch.from_numpy(session.run(None, {"x": _numpy(tensor)})[0])


def _openvino(precision: str) -> Callable[[torch.nn.Module, torch.Tensor], Quick]:
    def make(network: torch.nn.Module, example: torch.Tensor) -> Quick:
        import openvino  # noqa: PLC0415 - an optional extra

        core = openvino.Core()
        model = core.read_model(io.BytesIO(_exported(network, example)))
        options = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": torch.get_num_threads()}
        compiled = core.compile_model(model, "CPU", options)
        return lambda tensor: torch.from_numpy(compiled(_numpy(tensor))[0])  # a copy: share_outputs is off

    return make


def _exported(network: torch.nn.Module, example: torch.Tensor) -> bytes:
    """Return a network as ONNX, for batches of any size."""
    if example.device.type != "cpu":
        raise StaysEager("not_made", "offered on the CPU only")
    _require_steady(network, example)
    file = io.BytesIO()
    axes = {"x": {0: "n"}, "y": {0: "n"}}
    # The newer exporter would need onnxscript, and gives the same graph.
    names: Any = {"input_names": ["x"], "output_names": ["y"], "dynamic_axes": axes}
    torch.onnx.export(_OneTensor(network), (example,), file, dynamo=False, opset_version=_OPSET, **names)  # type: ignore[arg-type]
    return file.getvalue()


def _require_steady(network: torch.nn.Module, example: torch.Tensor) -> None:
    """Refuse a network that looks at its values: a recording keeps the branch that the example took. Sizes may."""
    with StaysInTorch():
        network(example)


def _numpy(tensor: torch.Tensor) -> Any:
    return np.ascontiguousarray(tensor.numpy())


CANDIDATES: Mapping[str, Candidate] = {
    "channels_last": Candidate(_channels_last, _FULL),
    "freeze": Candidate(_freeze, _FULL),
    "onnxruntime": Candidate(_onnxruntime, _FULL),
    "openvino": Candidate(_openvino("f32"), _FULL),
    "bf16": Candidate(_bf16, _HALF),
    "openvino_bf16": Candidate(_openvino("bf16"), _HALF),
}
"""By the name that ``runtime.acceleration`` and a tune file use."""
