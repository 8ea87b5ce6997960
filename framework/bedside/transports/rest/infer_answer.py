"""The answer of ``infer``: ``$inference_response`` as JSON, with raw tensors behind it where they were asked for."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from bedside.bundle.contract import Contract
from bedside.codecs.answer_tensors import AnswerTensor, answer_tensors
from bedside.codecs.cautions import cautions_by_row
from bedside.codecs.report import encode_json
from bedside.dataplane.inference import Row
from bedside.errors import RunFailed
from bedside.transports.rest.infer_request import InferRequest
from bedside.transports.rest.reply import Reply


def infer_reply(contract: Contract, request: InferRequest, rows: Sequence[Row]) -> Reply:
    """Encode the results of all rows: those asked for in the order asked for, else all.

    Raises:
        RunFailed: a result is missing, does not fit between rows, or cannot be said in the protocol.
    """
    outputs: list[Mapping[str, Any]] = []
    raw: list[bytes] = []
    for tensor, binary in _wanted(request, answer_tensors(contract, [row.prediction for row in rows])):
        if binary:
            described, data = tensor.to_binary()
            raw.append(data)
        else:
            described = tensor.to_json()
        outputs.append(_with_plain_parameters(described))
    document: dict[str, Any] = {"model_name": contract.model, "model_version": contract.version, "outputs": outputs}
    if request.id is not None:
        document["id"] = request.id
    warnings = cautions_by_row(contract, [row.inputs for row in rows])
    if warnings:
        # JSON text, as labels: a parameter of the protocol is a text, a number or a truth value.
        document["parameters"] = {"warnings": orjson.dumps(warnings).decode()}
    text = encode_json(document)
    if not raw:
        return Reply(200, "application/json", text)
    length = ((b"inference-header-content-length", b"%d" % len(text)),)
    return Reply(200, "application/octet-stream", b"".join((text, *raw)), length)


def _wanted(request: InferRequest, tensors: Sequence[AnswerTensor]) -> list[tuple[AnswerTensor, bool]]:
    if request.outputs is None:
        return [(tensor, request.binary) for tensor in tensors]
    by_name = {tensor.name: tensor for tensor in tensors}
    try:
        return [(by_name[output.name], output.binary) for output in request.outputs]
    except KeyError:
        raise RunFailed("the model gave no result of a name that its contract has") from None


def _with_plain_parameters(described: Mapping[str, Any]) -> Mapping[str, Any]:
    # "$parameters_value = $string | $number | $boolean": a list goes as JSON text, as it may come in a request.
    parameters = described.get("parameters")
    if not parameters:
        return described
    plain = {
        name: orjson.dumps(value).decode() if isinstance(value, list) else value for name, value in parameters.items()
    }
    return {**described, "parameters": plain}
