"""``GET /v2/models/{m}``: the contract in the words of the Open Inference Protocol ($metadata_model_response).

Parameters are strings, numbers and booleans only, as everywhere in the protocol; lists are joined by commas.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from bedside.bundle.contract import Contract, FeatureSpec, InputSpec, OutputSpec
from bedside.bundle.datatypes import NUMERIC, OF_NUMPY

PLATFORM = "monai_bundle"
UNKNOWN = "unknown"


def model_metadata(contract: Contract, versions: Sequence[str]) -> dict[str, Any]:
    """Return the metadata of one version of one model; ``versions`` are all that may be asked for."""
    inputs = [tensor for spec in contract.inputs for tensor in _inputs(spec)]
    has_rows = contract.record is not None
    return {
        "name": contract.model,
        "versions": list(versions),
        "platform": PLATFORM,
        "inputs": inputs,
        "outputs": [_output(spec, has_rows=has_rows) for spec in contract.outputs],
        "parameters": {
            "version": contract.version,
            "digest": contract.digest,
            "task": contract.task,
            "notice": "Not a medical device.",
        },
    }


def _inputs(spec: InputSpec) -> Iterable[dict[str, Any]]:
    if spec.kind == "record":
        return (_feature(spec, feature) for feature in spec.features)
    described = {"image": _image, "value": _value, "tensor": _array}[spec.kind](spec)
    if spec.optional:
        described["parameters"]["optional"] = True
    return (described,)


def _value(spec: InputSpec) -> dict[str, Any]:
    parameters: dict[str, Any] = {
        "content": "one JSON value as text per row",
        "media_types": ",".join(spec.media_types),
    }
    if spec.example is not None:
        parameters["example"] = _text(spec.example)
    return {"name": spec.name, "datatype": "BYTES", "shape": [-1], "parameters": parameters}


def _array(spec: InputSpec) -> dict[str, Any]:
    parameters: dict[str, Any] = {"content": "one array", "tensor_datatypes": ",".join(NUMERIC)}
    datatype = OF_NUMPY.get(spec.dtype)
    if datatype is None:
        parameters["datatype"] = UNKNOWN
    if not spec.shape:
        parameters["shape"] = UNKNOWN
    shape = list(spec.shape) or [-1]
    return {"name": spec.name, "datatype": datatype or "FP32", "shape": shape, "parameters": parameters}


def _feature(spec: InputSpec, feature: FeatureSpec) -> dict[str, Any]:
    parameters: dict[str, Any] = {
        "nullable": feature.nullable,
        # The same numbers may come as one tensor, in the order of this list.
        "packed_input": spec.name,
        "packed_shape": f"[-1,{len(spec.features)}]",
    }
    told = {"description": feature.description, "unit": feature.unit, "codes": feature.codes, "seen": feature.seen}
    for name, value in told.items():
        if value:
            parameters[name] = value if isinstance(value, str) else _text(value)
    return {"name": feature.name, "datatype": "FP64", "shape": [-1], "parameters": parameters}


def _image(spec: InputSpec) -> dict[str, Any]:
    axes = spec.spatial_dims
    parameters: dict[str, Any] = {
        "content": _files(spec),
        "media_types": ",".join(spec.media_types) or UNKNOWN,
        "spatial_dims": axes if axes is not None else UNKNOWN,
        "channels": ",".join(map(str, spec.channels)) or UNKNOWN,
        # The alternative to a file: the decoded array, spatial axes first, with its geometry as parameters.
        "tensor_datatypes": ",".join(NUMERIC),
        "tensor_shape": f"[{','.join(['-1'] * axes)}]" if axes else UNKNOWN,
    }
    if spec.extent_mm is not None:
        parameters["extent_mm"] = f"{spec.extent_mm[0]:g} to {spec.extent_mm[1]:g} along each axis"
    if spec.channel_names:
        parameters["channel_names"] = ",".join(spec.channel_names)
    shape = [-1] if spec.files in {1, None} else [spec.files]
    return {"name": spec.name, "datatype": "BYTES", "shape": shape, "parameters": parameters}


def _files(spec: InputSpec) -> str:
    if spec.files == 1:
        return "one encoded file per row"
    return f"{spec.files or 'any number of'} encoded files of one item"


def _output(spec: OutputSpec, *, has_rows: bool) -> dict[str, Any]:
    parameters: dict[str, Any] = {"kind": spec.kind}
    if spec.kind in {"value", "file"}:
        parameters["content_type"] = spec.media_type or "application/json"
        return {"name": spec.name, "datatype": "BYTES", "shape": [-1], "parameters": parameters}
    datatype = OF_NUMPY.get(spec.dtype or "")
    if datatype is None:
        parameters["datatype"] = UNKNOWN
    if spec.shape is None:
        parameters["shape"] = UNKNOWN
    if spec.labels:
        # as in the answer: names by index, as JSON text
        names = [spec.labels.get(index, "") for index in range(max(spec.labels) + 1)]
        parameters["labels"] = _text(names)
    if spec.like_input:
        parameters["like_input"] = spec.like_input
    # The protocol has no scalars; a record model's results have the rows on their first axis.
    shape = list(spec.shape or ()) if spec.shape is not None else [-1]
    shape = [-1, *shape] if has_rows and spec.shape is not None else shape or [1]
    return {"name": spec.name, "datatype": datatype or "FP32", "shape": shape, "parameters": parameters}


def _text(value: Any) -> str:
    # A parameter is a string, a number or a boolean: anything larger goes as JSON text.
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()
