"""One model's calls in OpenAPI, out of its contract: bodies, answers, examples that work when pasted."""

from collections.abc import Sequence
from typing import Any

from bedside.bundle.contract import Contract, FeatureSpec, InputSpec, OutputSpec
from bedside.bundle.model_metadata import model_metadata
from bedside.transports.rest.paste import infer_document, predict_document, predict_shell

PROBLEM_RESPONSE: dict[str, Any] = {
    "description": "what to correct (RFC 9457)",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
V2_ERROR_RESPONSE: dict[str, Any] = {
    "description": "what to correct",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/V2Error"}}},
}

_PREDICT_ERRORS = ("400", "401", "403", "404", "406", "408", "413", "415", "422", "500", "502", "503", "504")
_INFER_ERRORS = ("400", "401", "403", "404", "408", "413", "415", "500", "502", "503", "504")
_STUDIES_ERRORS = ("400", "401", "403", "404", "406", "408", "413", "415", "429", "500", "503", "504")
_DICOM_JSON = ("application/dicom+json", "application/json")
_BINARY: dict[str, Any] = {}  # OpenAPI 3.1: the media type says it all
_BINARY_REQUEST: dict[str, Any] = {
    "description": "the JSON object, then raw tensors; Inference-Header-Content-Length is the size of the first",
    "type": "string",
    "contentMediaType": "application/octet-stream",
}
_LARGEST = 3.4028234663852886e38  # float32's; beyond it a value would be infinite to the network
_TENSOR = ("name", "shape", "datatype")


def predict_path(contract: Contract, available: Sequence[str], *, refers: bool = False) -> dict[str, Any]:
    """Return the path item of ``predict``.

    Args:
        contract: of the model.
        available: the media types of the answer.
        refers: whether JSON may name the input instead (docs/api.md#references).
    """
    return {
        "post": {
            "tags": [contract.model],
            "summary": f"Predict with {contract.model}",
            "description": f"{_description(contract)}\n\n```sh\n{predict_shell(contract)}\n```",
            "operationId": f"predict_{contract.model}",
            "requestBody": _request_body(contract, refers=refers),
            "responses": {
                "200": {
                    "description": "the prediction; Accept chooses the form",
                    "content": {media: {"schema": _answer_schema(contract, media)} for media in available},
                },
                **dict.fromkeys(_PREDICT_ERRORS, PROBLEM_RESPONSE),
            },
        }
    }


def jobs_path(contract: Contract, *, refers: bool = False) -> dict[str, Any]:
    """Return the path item of ``jobs``; see :func:`predict_path`."""
    return {
        "post": {
            "tags": [contract.model],
            "summary": f"Hand in a job for {contract.model}",
            "description": "What `predict` takes, answered at once; `GET /v1/jobs/{job_id}` follows it.",
            "operationId": f"jobs_{contract.model}",
            "requestBody": _request_body(contract, refers=refers),
            "responses": {
                "202": {
                    "description": "the job, also where the same was handed in before",
                    "headers": {"Location": {"description": "where to ask for it", "schema": {"type": "string"}}},
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Job"}}},
                },
                **dict.fromkeys((*_PREDICT_ERRORS, "429"), PROBLEM_RESPONSE),
            },
        }
    }


def studies_path(contract: Contract) -> dict[str, Any]:
    """Return the path item of ``studies`` (STOW-RS, DICOM PS3.18 §10.5)."""
    stored = {media: {"schema": {"$ref": "#/components/schemas/StoreInstances"}} for media in _DICOM_JSON}
    text = {"schema": {"type": "string"}}
    headers = {
        "Location": {"description": "the job, where the request held one study", **text},
        "Link": {"description": 'every job, `rel="monitor"` (RFC 5989)', **text},
    }
    warning = {"Warning": {"description": "why instances are not kept: reason and advice (PS3.18 §10.5.3.2)", **text}}
    kept = {"content": stored, "headers": {**headers, **warning}}
    return {
        "post": {
            "tags": [contract.model],
            "summary": f"Store studies for {contract.model} (DICOM STOW-RS)",
            "description": "Each study becomes a job, whose results go to `dicom.results_to` (docs/pacs.md). Instances "
            "come as `application/dicom`; metadata with bulk data are not taken.",
            "operationId": f"studies_{contract.model}",
            "requestBody": {
                "required": True,
                "content": {
                    "multipart/related": {
                        "schema": {"type": "array", "items": _BINARY, "minItems": 1},
                        "encoding": {"*": {"contentType": "application/dicom"}},
                    }
                },
            },
            "responses": {
                "200": {"description": "every instance is kept", "content": stored, "headers": headers},
                "202": {"description": "some instances are kept", **kept},
                "409": {"description": "no instance is kept", "content": stored, "headers": warning},
                **dict.fromkeys(_STUDIES_ERRORS, PROBLEM_RESPONSE),
            },
        }
    }


def infer_path(contract: Contract) -> dict[str, Any]:
    """Return the path item of the Open Inference Protocol's ``infer``."""
    body: dict[str, Any] = {"schema": _request_schema(contract), "example": infer_document(contract)}
    return {
        "post": {
            "tags": [contract.model],
            "summary": f"Infer with {contract.model} (Open Inference Protocol V2)",
            "description": _description(contract),
            "operationId": f"infer_{contract.model}",
            "requestBody": {
                "required": True,
                "content": {"application/json": body, "application/octet-stream": {"schema": _BINARY_REQUEST}},
            },
            "responses": {
                "200": {
                    "description": "the tensors asked for",
                    "content": {
                        "application/json": {"schema": _response_schema(contract)},
                        "application/octet-stream": {"schema": _BINARY},
                    },
                },
                **dict.fromkeys(_INFER_ERRORS, V2_ERROR_RESPONSE),
            },
        }
    }


def _description(contract: Contract) -> str:
    lines = [contract.description, contract.intended_use and f"Intended use: {contract.intended_use}"]
    lines.append(f"Version {contract.version}, digest `{contract.digest}`. **Not a medical device.**")
    return "\n\n".join(line for line in lines if line)


def _request_body(contract: Contract, *, refers: bool) -> dict[str, Any]:
    bodies = _bodies(contract)
    if refers:
        bodies["application/json"] = {"schema": {"$ref": "#/components/schemas/Reference"}}
    return {"required": contract.needs_input, "content": bodies}


def _bodies(contract: Contract) -> dict[str, Any]:
    bodies: dict[str, Any] = {}
    only, document = contract.only, predict_document(contract)
    if only is not None and only.kind in {"image", "tensor"} and only.files in {1, None}:
        bodies |= {media: {"schema": _BINARY} for media in only.media_types or ("application/octet-stream",)}
    if document is not None:
        bodies["application/json"] = {"schema": _document_schema(contract), "example": document}
    if not contract.inputs:
        return bodies
    parts = {spec.name: _part_schema(spec) for spec in contract.inputs}
    needed = [spec.name for spec in contract.inputs if not spec.optional]
    form: dict[str, Any] = {"type": "object", "required": needed, "properties": parts}
    encoding = {spec.name: {"contentType": ", ".join(_of_part(spec))} for spec in contract.inputs if spec.media_types}
    bodies["multipart/form-data"] = {"schema": {**form, "additionalProperties": False}, "encoding": encoding}
    return bodies


def _of_part(spec: InputSpec) -> list[str]:
    return [media for media in spec.media_types if not media.startswith("multipart/")]  # no multipart in a part


def _part_schema(spec: InputSpec) -> dict[str, Any]:
    if spec.kind == "record":
        return _record_schema(spec)
    if spec.files == 1:
        return _BINARY  # of a value, too: any JSON
    counted = {} if spec.files is None else {"maxItems": spec.files}
    return {"type": "array", "items": _BINARY, "minItems": spec.files or 1, **counted}


def _document_schema(contract: Contract) -> dict[str, Any]:
    if contract.record is not None:
        return _record_schema(contract.record)
    values = [spec for spec in contract.inputs if spec.kind == "value"]
    return {
        "type": "object",
        "required": [spec.name for spec in values if not spec.optional],
        "properties": {spec.name: {} for spec in values},
        "additionalProperties": False,
    }


def _record_schema(spec: InputSpec) -> dict[str, Any]:
    return {
        "type": "object",
        "required": [feature.name for feature in spec.features],
        "properties": {feature.name: _feature_schema(feature) for feature in spec.features},
        "additionalProperties": False,
    }


def _feature_schema(feature: FeatureSpec) -> dict[str, Any]:
    described = {"description": _about(feature)} if _about(feature) else {}
    if feature.codes:
        missing = ["?", "", None] if feature.nullable else []
        return {"enum": [*feature.codes, *missing], **described}
    number = {"type": "number", "minimum": -_LARGEST, "maximum": _LARGEST}
    if not feature.nullable:
        return {**number, **described}
    return {"anyOf": [number, {"enum": ["?", "", None], "description": "missing"}], **described}


def _about(feature: FeatureSpec) -> str:
    parts = [feature.description, feature.unit and f"unit: {feature.unit}"]
    parts += [f"{code:g} = {meaning}" for code, meaning in feature.codes.items()]
    if feature.seen:
        parts.append(f"seen in training: {feature.seen[0]:g} to {feature.seen[1]:g}")
    return "; ".join(part for part in parts if part)


def _answer_schema(contract: Contract, media_type: str) -> dict[str, Any]:
    if media_type != "application/json":
        return _BINARY
    properties: dict[str, Any] = {name: {"type": "string"} for name in ("model", "version", "notice")}
    for spec in contract.outputs:
        if spec.kind == "probabilities" and spec.labels:
            properties |= _class_schema(spec)
    return {"type": "object", "properties": properties}


def _class_schema(spec: OutputSpec) -> dict[str, Any]:
    names = list(spec.labels.values())
    by_name = {"type": "object", "properties": {name: {"type": "number"} for name in names}}
    return {
        "prediction": {"type": "string", "enum": names},
        "probability": {"type": "number"},
        "probabilities": by_name,
        "accuracy": {"type": "number", "description": "the model's current measured accuracy"},
    }


def _request_schema(contract: Contract) -> dict[str, Any]:
    names = [spec.name for spec in contract.inputs]
    names += [feature.name for spec in contract.inputs for feature in spec.features]
    least = 1 if contract.needs_input else 0
    return {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": "string"},
            "parameters": {"$ref": "#/components/schemas/Parameters"},
            "inputs": {
                "type": "array",
                "minItems": least,
                "items": _tensor_schema(names, ["data"]),
            },
            "outputs": {"type": "array", "items": _requested_schema(contract)},
        },
    }


def _requested_schema(contract: Contract) -> dict[str, Any]:
    names = [spec.name for spec in contract.outputs]
    properties: dict[str, Any] = {"name": {"enum": names} if names else {"type": "string"}}
    properties["parameters"] = {"$ref": "#/components/schemas/Parameters"}
    return {"type": "object", "required": ["name"], "properties": properties}


def _tensor_schema(names: Sequence[str], more: Sequence[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": [*_TENSOR, *more],
        "properties": {
            "name": {"enum": list(names)} if names else {"type": "string"},
            "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
            "datatype": {"type": "string"},
            "parameters": {"$ref": "#/components/schemas/Parameters"},
            "data": {"type": "array"},
        },
    }


def _response_schema(contract: Contract) -> dict[str, Any]:
    names = [tensor["name"] for tensor in model_metadata(contract, ())["outputs"]]
    return {
        "type": "object",
        "required": ["model_name", "outputs"],
        "properties": {
            "model_name": {"const": contract.model},
            "model_version": {"const": contract.version},
            "id": {"type": "string"},
            "parameters": {"$ref": "#/components/schemas/Parameters"},
            "outputs": {"type": "array", "items": _tensor_schema(names, [])},
        },
    }
