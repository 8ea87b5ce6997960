"""The answer of ``infer``: ``$inference_response`` as JSON, with raw tensors behind it where they were asked for."""

from collections.abc import Mapping, Sequence
from typing import Any

from bedside.bundle.contract import Contract
from bedside.codecs.answer_tensors import answer_parameters, answer_tensors, wanted_tensors
from bedside.codecs.cautions import require_finite
from bedside.codecs.report import encode_json
from bedside.codecs.tensor_request import InferRequest
from bedside.codecs.turning import results_as_sent
from bedside.dataplane.inference import Row
from bedside.transports.rest.reply import Reply


def infer_reply(request: InferRequest, contract: Contract, rows: Sequence[Row]) -> Reply:
    """Encode the results of all rows: those asked for in the order asked for, else all.

    Raises:
        RunFailed: a result is missing, does not fit between rows, or cannot be said in the protocol.
        InputNotProcessable: see ``require_finite``.
    """
    inputs = [row.inputs for row in rows]
    predictions = [results_as_sent(contract, row.inputs, row.prediction) for row in rows]
    require_finite(contract, inputs, predictions)
    outputs: list[Mapping[str, Any]] = []
    raw: list[bytes] = []
    for tensor, binary in wanted_tensors(request, answer_tensors(contract, predictions)):
        if binary:
            described, data = tensor.to_binary()
            raw.append(data)
        else:
            described = tensor.to_json()
        outputs.append(described)
    document: dict[str, Any] = {"model_name": contract.model, "model_version": contract.version, "outputs": outputs}
    if request.id is not None:
        document["id"] = request.id
    parameters = answer_parameters(contract, inputs)
    if parameters:
        document["parameters"] = parameters
    text = encode_json(document)
    if not raw:
        return Reply(200, "application/json", text)
    length = ((b"inference-header-content-length", b"%d" % len(text)),)
    return Reply(200, "application/octet-stream", b"".join((text, *raw)), length)
