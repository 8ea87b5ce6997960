"""The answer of ``infer``: ``$inference_response`` as JSON, with raw tensors behind it where they were asked for."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from bedside.bundle.contract import Contract
from bedside.dataplane.inference import Row
from bedside.errors import RunFailed
from bedside.transports.rest.datatypes import OF_NUMPY
from bedside.transports.rest.infer_request import InferRequest, RequestedOutput
from bedside.transports.rest.reply import Reply
from bedside.types import OutputArray


def infer_reply(contract: Contract, request: InferRequest, rows: Sequence[Row]) -> Reply:
    """Encode the results of all rows.

    A tabular model's results have the rows as their first axis, also for one row; an image model's have the shape of
    the single result, so that a mask lies on the grid of its image.

    Raises:
        RunFailed: a result is missing, differs in shape between rows, is not finite, or has no datatype of the
            protocol.
    """
    described: list[dict[str, Any]] = []
    raw: list[bytes] = []
    for wanted in _wanted(contract, request, rows):
        array, first = _stacked(contract, wanted.name, rows)
        item = _described(wanted.name, array, first)
        if wanted.binary:
            data = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
            item["parameters"]["binary_data_size"] = len(data)
            raw.append(data)
        else:
            item["data"] = np.ascontiguousarray(array).ravel()
        if not item["parameters"]:
            del item["parameters"]
        described.append(item)
    return _reply(contract, request, described, raw)


def _reply(contract: Contract, request: InferRequest, outputs: list[dict[str, Any]], raw: list[bytes]) -> Reply:
    document: dict[str, Any] = {"model_name": contract.model, "model_version": contract.version}
    if request.id is not None:
        document["id"] = request.id
    document["outputs"] = outputs
    text = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    if not raw:
        return Reply(200, "application/json", text)
    length = ((b"inference-header-content-length", b"%d" % len(text)),)
    return Reply(200, "application/octet-stream", b"".join((text, *raw)), length)


def _wanted(contract: Contract, request: InferRequest, rows: Sequence[Row]) -> Sequence[RequestedOutput]:
    if request.outputs is not None:
        return request.outputs
    names = [spec.name for spec in contract.outputs] or [array.name for array in rows[0].prediction.arrays]
    return [RequestedOutput(name, request.binary) for name in names]


def _stacked(contract: Contract, name: str, rows: Sequence[Row]) -> tuple[NDArray[Any], OutputArray]:
    found = [_named(row.prediction.arrays, name) for row in rows]
    arrays = [item.array for item in found]
    if any(array.shape != arrays[0].shape for array in arrays):
        raise RunFailed("the rows' results differ in shape", field=name)
    has_rows = contract.record is not None or len(arrays) > 1
    array = np.stack(arrays) if has_rows else arrays[0]
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise RunFailed("the model answered a number that is NaN or infinite", field=name)
    return array, found[0]


def _named(arrays: Sequence[OutputArray], name: str) -> OutputArray:
    for array in arrays:
        if array.name == name:
            return array
    raise RunFailed("the model gave no result of this name", field=name)


def _described(name: str, array: NDArray[Any], first: OutputArray) -> dict[str, Any]:
    datatype = OF_NUMPY.get(array.dtype.name)
    if datatype is None:
        raise RunFailed("the model's result has no datatype of the Open Inference Protocol", field=name)
    parameters: dict[str, Any] = {}
    if first.affine is not None:
        # A parameter is a string, a number or a boolean: the matrix goes as JSON text, row by row.
        parameters["affine"] = orjson.dumps(first.affine, option=orjson.OPT_SERIALIZE_NUMPY).decode()
    return {"name": name, "shape": list(array.shape), "datatype": datatype, "parameters": parameters}
