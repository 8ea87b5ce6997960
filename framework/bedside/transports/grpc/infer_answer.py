"""The answer of ``ModelInfer``: raw where the request was raw, else typed."""

from collections.abc import Sequence
from typing import Any

from bedside.bundle.contract import Contract
from bedside.codecs.answer_tensors import (
    AnswerTensor,
    answer_parameters,
    answer_tensors,
    wanted_tensors,
)
from bedside.codecs.cautions import require_finite
from bedside.codecs.tensor_request import InferRequest
from bedside.codecs.turning import results_as_sent
from bedside.dataplane.inference import Row
from bedside.transports.grpc.infer_request import CONTENTS
from bedside.transports.grpc.messages import ModelInferResponse
from bedside.transports.grpc.parameters import write_parameters


def infer_answer(request: InferRequest, contract: Contract, rows: Sequence[Row]) -> Any:
    """Return a ``ModelInferResponse`` with the results of all rows: those asked for in the order asked for, else all.

    Raises:
        RunFailed: a result is missing, does not fit between rows, or cannot be said in the protocol.
        InputNotProcessable: see ``require_finite``.
    """
    inputs = [row.inputs for row in rows]
    predictions = [results_as_sent(contract, row.inputs, row.prediction) for row in rows]
    require_finite(contract, inputs, predictions)
    tensors = [tensor for tensor, _ in wanted_tensors(request, answer_tensors(contract, predictions))]
    response = ModelInferResponse(model_name=contract.model, model_version=contract.version, id=request.id or "")
    write_parameters(response.parameters, answer_parameters(contract, inputs))
    # One form for the whole answer; FP16 has no typed one.
    raw = request.binary or any(tensor.datatype not in CONTENTS for tensor in tensors)
    for tensor in tensors:
        _add(response, tensor, raw=raw)
    return response


def _add(response: Any, tensor: AnswerTensor, *, raw: bool) -> None:
    output = response.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
    write_parameters(output.parameters, tensor.parameters)
    if raw:
        response.raw_output_contents.append(tensor.to_bytes())
    else:
        getattr(output.contents, CONTENTS[tensor.datatype]).extend(tensor.array.ravel().tolist())
