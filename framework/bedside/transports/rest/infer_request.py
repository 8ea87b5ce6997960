"""The request of ``POST /v2/models/{m}/infer``: Open Inference Protocol V2, JSON and binary tensor extension.

Strict about form: every member has its type, every raw tensor its bytes, nothing is left over. Datatypes, element
counts and values are looked at in stages 4 and 5 (``codecs.tensors``), for every transport alike.
"""

import json
from collections.abc import Mapping
from typing import Any

import orjson

from bedside.codecs.tensor_request import (
    InferRequest,
    RequestedOutput,
    check_outputs_once,
    check_parameter_names,
    check_shape,
)
from bedside.errors import BadParameter, MalformedPayload, PayloadTooLarge
from bedside.types import RawTensor

Object = Mapping[str, Any]


def parse_infer_request(data: bytes, header_length: int | None, json_limit: int) -> InferRequest:
    """Read the JSON object, and the raw tensors behind it where ``header_length`` says where it ends.

    Raises:
        MalformedPayload, PayloadTooLarge, BadParameter: naming the member.
    """
    length = len(data) if header_length is None else header_length
    if length > len(data):
        raise MalformedPayload("longer than the body", field="Inference-Header-Content-Length")
    if length > json_limit:
        raise PayloadTooLarge(f"the JSON has {length} bytes, the limit is {json_limit}", field="body")
    document = _document(data[:length] if length < len(data) else data)
    parameters = _parameters(document, "parameters")
    binary = _flag(parameters, "binary_data_output", "parameters", default=False)
    raw = _Binary(data, length, allowed=header_length is not None)
    inputs = [_input(item, f"inputs[{i}]", raw) for i, item in enumerate(_list(document, "inputs", "inputs"))]
    raw.finish()
    return InferRequest(_id(document), tuple(inputs), _outputs(document, default=binary) or None, binary)


def _document(data: bytes) -> Object:
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise MalformedPayload(f"not valid JSON at line {error.lineno}, column {error.colno}", field="body") from None
    if not isinstance(document, dict):
        raise MalformedPayload("must be a JSON object", field="body")
    # orjson keeps the last of two equal names, and two `data` have no meaning that we could choose (RFC 8259 §4). Each
    # member has a colon, the second of two as well; only where there are more is a closer look worth its time.
    if data.count(b":") != _members(document):
        try:
            json.loads(data, object_pairs_hook=_without_duplicates)
        except RecursionError:
            raise MalformedPayload("nested too deeply", field="body") from None
    return document


def _members(document: Object) -> int:
    """Count the members of a request's objects, at the places where the protocol has objects."""
    total = len(document)
    for value in document.values():
        for item in value if isinstance(value, list) else (value,):
            if isinstance(item, dict):
                parameters = item.get("parameters")
                total += len(item) + (len(parameters) if isinstance(parameters, dict) else 0)
    return total


def _without_duplicates(pairs: list[tuple[str, Any]]) -> Object:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise MalformedPayload("a member comes twice in one JSON object", field="body")
    return found


class _Binary:
    """The raw bytes behind the JSON object, handed out in the order of the tensors."""

    def __init__(self, data: bytes, start: int, *, allowed: bool) -> None:
        self._data = data
        self._at = start
        self._allowed = allowed

    def take(self, size: int, where: str) -> bytes:
        if not self._allowed:
            raise MalformedPayload(
                "binary tensors need the header field Inference-Header-Content-Length", field=f"{where}.parameters"
            )
        end = self._at + size
        if end > len(self._data):
            raise MalformedPayload("the body ends before this tensor does", field=f"{where}.parameters")
        taken, self._at = self._data[self._at : end], end
        return taken

    def finish(self) -> None:
        if self._at != len(self._data):
            raise MalformedPayload("bytes are left over behind the last tensor", field="body")


def _input(item: Any, where: str, binary: _Binary) -> RawTensor:
    if not isinstance(item, dict):
        raise MalformedPayload("must be an object", field=where)
    name, datatype = _string(item, "name", where), _string(item, "datatype", where)
    shape = check_shape(item.get("shape"), where)
    parameters = _parameters(item, f"{where}.parameters")
    size = parameters.get("binary_data_size")
    if size is None:
        return RawTensor(name, datatype, shape, _list(item, "data", f"{where}.data"), parameters)
    if "data" in item:
        raise MalformedPayload("must not be there beside binary_data_size", field=f"{where}.data")
    if type(size) is not int or size < 0:
        raise BadParameter("must be a whole number from 0 on", field=f"{where}.parameters.binary_data_size")
    rest = {key: value for key, value in parameters.items() if key != "binary_data_size"}
    return RawTensor(name, datatype, shape, binary.take(size, where), rest)


def _outputs(document: Object, *, default: bool) -> tuple[RequestedOutput, ...]:
    if document.get("outputs") is None:
        return ()
    items = enumerate(_list(document, "outputs", "outputs"))
    outputs = tuple(_output(item, f"outputs[{i}]", default) for i, item in items)
    check_outputs_once(outputs)
    return outputs


def _output(item: Any, where: str, default: bool) -> RequestedOutput:  # noqa: FBT001 - the request's own default
    if not isinstance(item, dict):
        raise MalformedPayload("must be an object", field=where)
    parameters = _parameters(item, f"{where}.parameters")
    return RequestedOutput(
        _string(item, "name", where), _flag(parameters, "binary_data", f"{where}.parameters", default=default)
    )


def _parameters(item: Object, where: str) -> Object:
    parameters = item.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise MalformedPayload("must be an object", field=where)
    check_parameter_names(parameters, where)
    # Lists are not the protocol's, but the plainest way to write an affine; decoding checks what it uses.
    if any(value is None or isinstance(value, dict) for value in parameters.values()):
        raise BadParameter("a parameter is a string, a number, a boolean or a list", field=where)
    return parameters


def _flag(parameters: Object, name: str, where: str, *, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise BadParameter("must be true or false", field=f"{where}.{name}")
    return value


def _id(document: Object) -> str | None:
    value = document.get("id")
    if value is not None and not isinstance(value, str):
        raise MalformedPayload("must be a string", field="id")
    return value


def _string(item: Object, name: str, where: str) -> str:
    value = item.get(name)
    if not isinstance(value, str) or not value:
        raise MalformedPayload("must be a string with at least one letter", field=f"{where}.{name}")
    return value


def _list(item: Object, name: str, where: str) -> list[Any]:
    value = item.get(name)
    if not isinstance(value, list):
        raise MalformedPayload("must be a list", field=where)
    return value
