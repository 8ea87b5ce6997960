"""Calls of one model that work when pasted: shell for ``predict``, a JSON document for ``infer``.

The shell expects ``$URL`` and ``$TOKEN``; it makes its own input files, so that it runs anywhere.
"""

import base64
import shlex
from collections.abc import Iterator
from math import prod
from typing import Any

import orjson

from bedside.bundle.contract import Contract, InputSpec
from bedside.bundle.datatypes import OF_NUMPY
from bedside.bundle.example import ExampleFile, example_file, example_value
from bedside.bundle.sample import sample_record

_LINE = 120


def predict_shell(contract: Contract) -> str:
    """Return lines of shell that call ``predict`` with a made-up item and save the answer."""
    needed = [spec for spec in contract.inputs if not spec.optional]
    files = {spec.name: example_file(spec) for spec in needed if spec.kind in {"image", "tensor"}}
    lines = [line for file in files.values() for line in _written(file)]
    call = 'curl -sf -H "Authorization: Bearer $TOKEN"'
    body = " \\\n  ".join([call, *_body(contract, needed, files), f"$URL/v1/models/{contract.model}/predict -o answer"])
    return "\n".join([*lines, body])


def infer_document(contract: Contract) -> dict[str, Any]:
    """Return the Open Inference Protocol's request for a made-up item."""
    return {"inputs": [tensor for spec in contract.inputs if not spec.optional for tensor in _tensors(spec)]}


def predict_document(contract: Contract) -> dict[str, Any] | None:
    """Return the JSON body of ``predict`` where the whole item can be one."""
    if contract.record is not None:
        return dict(sample_record(contract.record).record) if len(contract.inputs) == 1 else None
    if not contract.takes_document:
        return None
    return {spec.name: example_value(spec) for spec in contract.inputs if not spec.optional}


def _written(file: ExampleFile) -> Iterator[str]:
    encoded = base64.b64encode(file.data).decode()
    yield f"base64 -d > {file.name} <<'END'"
    yield from (encoded[start : start + _LINE] for start in range(0, len(encoded), _LINE))
    yield "END"


def _body(contract: Contract, needed: list[InputSpec], files: dict[str, ExampleFile]) -> Iterator[str]:
    document = predict_document(contract)
    if document is not None:
        yield f"-H 'Content-Type: application/json' -d {shlex.quote(_text(document))}"
    elif len(needed) == 1 and needed[0].files in {1, None}:
        file = files[needed[0].name]
        yield f"-H 'Content-Type: {file.media_type}' --data-binary @{file.name}"
    else:
        yield from (field for spec in needed for field in _fields(spec, files))


def _fields(spec: InputSpec, files: dict[str, ExampleFile]) -> Iterator[str]:
    file = files.get(spec.name)
    if file is not None:
        yield from [f"-F {shlex.quote(f'{spec.name}=@{file.name};type={file.media_type}')}"] * (spec.files or 1)
        return
    value = sample_record(spec).record if spec.kind == "record" else example_value(spec)
    yield f"--form-string {shlex.quote(f'{spec.name}={_text(value)}')}"  # -F would read ';' and '@' in it


def _tensors(spec: InputSpec) -> Iterator[dict[str, Any]]:
    if spec.kind == "record":
        for name, value in sample_record(spec).record.items():
            yield {"name": name, "shape": [1], "datatype": "FP64", "data": [value]}
    elif spec.kind == "value":
        yield {"name": spec.name, "shape": [1], "datatype": "BYTES", "data": [_text(example_value(spec))]}
    elif spec.kind == "tensor":
        yield _zeros(spec)
    else:
        file = example_file(spec)
        count = spec.files or 1
        yield {
            "name": spec.name,
            "shape": [count],
            "datatype": "BYTES",
            "parameters": {"content_type": file.media_type},
            "data": [base64.b64encode(file.data).decode()] * count,
        }


def _zeros(spec: InputSpec) -> dict[str, Any]:
    shape = [1 if length == -1 else length for length in spec.shape] or [1]
    return {
        "name": spec.name,
        "shape": shape,
        "datatype": OF_NUMPY.get(spec.dtype, "FP32"),
        "data": [0] * prod(shape),
    }


def _text(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()
