"""``/openapi.json``: FastAPI's own routes, and for every model the paths that its contract makes."""

from collections.abc import Callable, Iterator
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi

from bedside.codecs.dicom import RELATED
from bedside.errors import Unavailable
from bedside.interfaces import ServedModel
from bedside.jobs.states import JobState
from bedside.transports.references import DicomwebReference, FileReference
from bedside.transports.rest.guard import Guard
from bedside.transports.rest.json_response import json_response
from bedside.transports.rest.model_paths import (
    PROBLEM_RESPONSE,
    V2_ERROR_RESPONSE,
    infer_path,
    jobs_path,
    predict_path,
    studies_path,
)
from bedside.transports.rest.parts import Parts
from bedside.transports.rest.problems import is_v2

_DESCRIPTION = (
    "MONAI bundles as authenticated services: files in, files out (`/v1`), and the Open Inference Protocol V2 "
    "(`/v2`). **Not a medical device.**"
)
_OPEN_PATHS = frozenset({"/livez", "/readyz", "/v2/health/live", "/v2/health/ready"})

_METRICS_RESPONSE = {
    "description": "the exposition",
    "content": {"text/plain": {"schema": {}}, "application/openmetrics-text": {"schema": {}}},
}

_TRUTH_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["request_id", "truth"],
                "additionalProperties": False,
                "properties": {
                    "request_id": {
                        "type": "string",
                        "description": "X-Request-ID of the answer, or the id of its job",
                    },
                    "row": {
                        "type": "integer",
                        "minimum": 0,
                        "default": 0,
                        "description": "which row of the request's tensors",
                    },
                    "truth": {
                        "description": "the class, or numbers by the names of the volumes or values answered",
                        "anyOf": [
                            {"type": "string"},
                            {"type": "object", "minProperties": 1, "additionalProperties": {"type": "number"}},
                        ],
                    },
                },
            }
        }
    },
}

_SCHEMAS: dict[str, Any] = {
    "Problem": {
        "type": "object",
        "description": "RFC 9457 problem details",
        "required": ["type", "title", "status", "detail", "request_id"],
        "properties": {
            "type": {"type": "string", "format": "uri"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "request_id": {"type": "string"},
            "field": {"type": "string", "description": "the input, feature or header field to correct"},
            "available": {"type": "array", "items": {"type": "string"}, "description": "of 406: what there is"},
            "scope": {"type": "string", "description": "of 403: the scope that is missing"},
        },
    },
    "V2Error": {
        "type": "object",
        "description": "Open Inference Protocol error",
        "required": ["error"],
        "properties": {"error": {"type": "string"}},
    },
    "Job": {
        "type": "object",
        "description": "docs/jobs.md",
        "required": ["id", "state", "model", "version", "attempt", "created", "deadline"],
        "properties": {
            "id": {"type": "string"},
            "state": {"enum": [str(state) for state in JobState]},
            "model": {"type": "string"},
            "version": {"type": "string"},
            "attempt": {"type": "integer"},
        },
    },
    "Reference": {
        "type": "object",
        "description": "an input that lies in a source of this server (docs/api.md#references)",
        "required": ["source"],
        "additionalProperties": False,
        "properties": {"source": {"anyOf": [kind.model_json_schema() for kind in (DicomwebReference, FileReference)]}},
    },
    "StoreInstances": {
        "type": "object",
        "description": "Store Instances Response Module (DICOM PS3.18 §I.2) as DICOM JSON (§F.2)",
        "properties": {
            tag: {"type": "object", "description": name, "required": ["vr"]}
            for tag, name in (
                ("00081190", "Retrieve URL"),
                ("00081198", "Failed SOP Sequence"),
                ("00081199", "Referenced SOP Sequence"),
                ("0008119A", "Other Failures Sequence"),
            )
        },
    },
    "Parameters": {
        "type": "object",
        "additionalProperties": {"type": ["string", "number", "boolean"]},
    },
}


def add_openapi(app: FastAPI, parts: Parts, guard: Guard) -> None:
    """Add ``/openapi.json``, made anew on each request: the models that are ready may have changed."""

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi(request: Request) -> Response:
        """Answer with the document."""
        visible = await guard.documents(request)
        return json_response(openapi_document(app, parts, visible))


def openapi_document(app: FastAPI, parts: Parts, visible: Callable[[str], bool]) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of what is served now, with the models whose names are ``visible``."""
    document = get_openapi(
        title="Bedside", version=parts.version, description=_DESCRIPTION, routes=app.routes, openapi_version="3.1.0"
    )
    schemes = _security_schemes(parts)
    _complete_own(document["paths"], parts, schemes)
    for served in filter(lambda served: visible(served.name), _ready_models(parts)):
        contract, available = served.contract, parts.dataplane.available(served)
        refers = parts.references.expected(contract.only)
        document["paths"][f"/v1/models/{contract.model}/predict"] = predict_path(contract, available, refers=refers)
        if parts.jobs is not None:
            document["paths"][f"/v1/models/{contract.model}/jobs"] = jobs_path(contract, refers=refers)
        if parts.jobs is not None and RELATED in available:
            document["paths"][f"/dicomweb/models/{contract.model}/studies"] = studies_path(contract)
        document["paths"][f"/v2/models/{contract.model}/infer"] = infer_path(contract)
    components = document.setdefault("components", {})
    components.setdefault("schemas", {}).update(_SCHEMAS)
    components["securitySchemes"] = schemes
    document["security"] = [{name: []} for name in schemes]
    return document


def _ready_models(parts: Parts) -> Iterator[ServedModel]:
    for name in dict.fromkeys(status.name for status in parts.repository.index()):
        try:
            yield parts.repository.resolve(name, None)
        except Unavailable:
            continue


def _security_schemes(parts: Parts) -> dict[str, Any]:
    schemes: dict[str, Any] = {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}
    issuer = parts.settings.auth.issuer
    if issuer:
        url = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
        schemes["oidc"] = {"type": "openIdConnect", "openIdConnectUrl": url}
    return schemes


def _complete_own(paths: dict[str, Any], parts: Parts, schemes: dict[str, Any]) -> None:
    # FastAPI describes what its models check, and these routes have none: the problems and the security are ours.
    is_open = _OPEN_PATHS | ({"/metrics"} if parts.settings.auth.metrics_access == "open" else frozenset())
    for path, item in paths.items():
        for operation in item.values():
            done = _METRICS_RESPONSE if path == "/metrics" else operation["responses"]["200"]
            operation["responses"] = {"200": done, **_own_responses(path, is_open=path in is_open)}
            operation["security"] = [] if path in is_open else [{name: []} for name in schemes]
            if path.startswith("/v2/repository"):
                operation["requestBody"] = _repository_body(path)
            if path.endswith("/truth"):
                operation["requestBody"] = _TRUTH_BODY


def _own_responses(path: str, *, is_open: bool) -> dict[str, Any]:
    error = V2_ERROR_RESPONSE if is_v2(path) else PROBLEM_RESPONSE
    codes = [] if is_open else ["400", "401", "403"]
    if "{model}" in path:
        codes += ["404", "503"]
    if path.startswith("/v2/repository") or path == "/v1/uploads":
        codes += ["413"]
    if path == "/v1/uploads":
        codes += ["422", "503"]
    if path.startswith(("/v1/jobs", "/v1/deliveries")):
        codes += ["404", "503"] if "{job_id}" in path else ["422"]
    if path.endswith("/truth"):
        codes += ["413", "422"]
    if path.endswith(("/load", "/result", "/redrive", "/truth")):
        codes += ["409"]
    if path in {"/readyz", "/v2/health/ready"}:
        return {"503": {"description": "not ready", "content": {"application/json": {"schema": {"type": "object"}}}}}
    return dict.fromkeys(codes, error)


def _repository_body(path: str) -> dict[str, Any]:
    properties: dict[str, Any] = {"ready": {"type": "boolean", "default": False}} if path.endswith("/index") else {}
    properties |= {} if properties else {"parameters": {"$ref": "#/components/schemas/Parameters"}}
    return {
        "required": False,
        "content": {"application/json": {"schema": {"type": "object", "properties": properties}, "example": {}}},
    }
