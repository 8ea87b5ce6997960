"""The request of ``ModelInfer``: tensors as raw bytes, or as lists of their type, never both in one request."""

from typing import Any, NamedTuple

from google.protobuf.message import DecodeError

from bedside.codecs.tensor_request import InferRequest, RequestedOutput, check_outputs_once, check_shape
from bedside.errors import MalformedPayload
from bedside.transports.grpc.messages import ModelInferRequest
from bedside.transports.grpc.parameters import read_parameters
from bedside.transports.grpc.wire import split_raw
from bedside.types import RawTensor

CONTENTS = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""Where ``InferTensorContents`` has the elements of a datatype; FP16 and BF16 go as raw bytes only."""


class Asked(NamedTuple):
    """A parsed message; ``version`` is None for the highest, ``typed_bytes`` the size of what is no raw tensor."""

    model: str
    version: str | None
    message: Any
    raw: list[bytes]
    typed_bytes: int


def parse_message(data: bytes, typed_limit: int) -> Asked:
    """Decode the message.

    Raises:
        MalformedPayload: not a ModelInferRequest.
        PayloadTooLarge: more than ``typed_limit`` bytes beside the raw tensors.
    """
    rest, raw = split_raw(data, typed_limit)
    try:
        message = ModelInferRequest.FromString(rest)
    except DecodeError:
        raise MalformedPayload("not an encoded ModelInferRequest", field="message") from None
    return Asked(message.model_name, message.model_version or None, message, raw, len(rest))


def infer_request(asked: Asked) -> InferRequest:
    """Return the request. Raises MalformedPayload, BadParameter, naming the field."""
    message, raw = asked.message, asked.raw
    read_parameters(message.parameters, "parameters")
    if raw and len(raw) != len(message.inputs):
        raise MalformedPayload(
            f"must hold one element for each of the {len(message.inputs)} inputs; {len(raw)} came",
            field="raw_input_contents",
        )
    inputs = tuple(
        _tensor(tensor, f"inputs[{index}]", raw[index] if raw else None) for index, tensor in enumerate(message.inputs)
    )
    outputs = tuple(_output(output, f"outputs[{i}]", binary=bool(raw)) for i, output in enumerate(message.outputs))
    check_outputs_once(outputs)
    return InferRequest(message.id or None, inputs, outputs or None, bool(raw))


def _tensor(tensor: Any, where: str, raw: bytes | None) -> RawTensor:
    name, datatype = _name(tensor.name, f"{where}.name"), _name(tensor.datatype, f"{where}.datatype")
    shape = check_shape(tuple(tensor.shape), where)
    parameters = read_parameters(tensor.parameters, f"{where}.parameters")
    filled = [field.name for field, _ in tensor.contents.ListFields()]
    if raw is not None:
        if filled:
            raise MalformedPayload("must be empty beside raw_input_contents", field=f"{where}.contents")
        return RawTensor(name, datatype, shape, raw, parameters)
    wanted = CONTENTS.get(datatype)
    # A datatype that nobody has is refused where datatypes are known, in stage 4.
    if wanted is not None and any(field != wanted for field in filled):
        raise MalformedPayload(f"elements of {datatype} belong into {wanted}", field=f"{where}.contents")
    if wanted is None and datatype in ("FP16", "BF16"):
        raise MalformedPayload(f"{datatype} goes in raw_input_contents only", field=f"{where}.contents")
    elements = getattr(tensor.contents, wanted) if wanted else ()
    return RawTensor(name, datatype, shape, list(elements), parameters)


def _output(output: Any, where: str, *, binary: bool) -> RequestedOutput:
    read_parameters(output.parameters, f"{where}.parameters")
    return RequestedOutput(_name(output.name, f"{where}.name"), binary)


def _name(value: str, where: str) -> str:
    if not value:
        raise MalformedPayload("must be a string with at least one letter", field=where)
    return value
