"""The Open Inference Protocol beside ``infer``: metadata, readiness, and the model repository extension."""

from dataclasses import asdict
from typing import Any

from fastapi import FastAPI, Request, Response

from bedside.dataplane.catalogue import EXTENSIONS, answers, described, listed
from bedside.errors import MalformedPayload
from bedside.transports.rest.guard import Guard
from bedside.transports.rest.json_request import read_document
from bedside.transports.rest.json_response import json_response
from bedside.transports.rest.parts import Parts

_TAG = "Open Inference Protocol"
_REPOSITORY = "Model repository"


def add_protocol(app: FastAPI, parts: Parts, guard: Guard) -> None:
    """Add the routes of the protocol and its repository extension."""
    _add_server(app, parts, guard)
    _add_models(app, parts, guard)
    _add_repository(app, parts, guard)


def _add_server(app: FastAPI, parts: Parts, guard: Guard) -> None:
    @app.get("/v2", tags=[_TAG], summary="Server metadata")
    async def server_metadata(request: Request) -> Response:
        """Return name, version and extensions ($metadata_server_response)."""
        await guard.listing(request)
        extensions = list(EXTENSIONS)
        return json_response({"name": parts.settings.service_name, "version": parts.version, "extensions": extensions})


def _add_models(app: FastAPI, parts: Parts, guard: Guard) -> None:
    async def metadata(request: Request, model: str, version: str | None) -> Response:
        await guard.model(request, model)
        return json_response(described(parts.repository, model, version))

    async def ready(request: Request, model: str, version: str | None) -> Response:
        await guard.model(request, model)
        is_ready = answers(parts.repository, model, version)
        return json_response({"name": model, "ready": is_ready}, 200 if is_ready else 503)

    @app.get("/v2/models/{model}", tags=[_TAG], summary="Model metadata")
    async def model_metadata_latest(request: Request, model: str) -> Response:
        """Return the contract of a model's highest version ($metadata_model_response)."""
        return await metadata(request, model, None)

    @app.get("/v2/models/{model}/versions/{version}", tags=[_TAG], summary="Model version metadata")
    async def model_metadata_version(request: Request, model: str, version: str) -> Response:
        """Return the contract of one version of a model ($metadata_model_response)."""
        return await metadata(request, model, version)

    @app.get("/v2/models/{model}/ready", tags=[_TAG], summary="Model ready")
    async def model_ready(request: Request, model: str) -> Response:
        """Answer 200 when the model would answer now ($ready_model_response)."""
        return await ready(request, model, None)

    @app.get("/v2/models/{model}/versions/{version}/ready", tags=[_TAG], summary="Model version ready")
    async def model_version_ready(request: Request, model: str, version: str) -> Response:
        """Answer 200 when this version would answer now ($ready_model_response)."""
        return await ready(request, model, version)


def _add_repository(app: FastAPI, parts: Parts, guard: Guard) -> None:
    seconds = parts.settings.limits.body_seconds

    @app.post("/v2/repository/index", tags=[_REPOSITORY], summary="Models and their states")
    async def index(request: Request) -> Response:
        """Return every model that the caller may use, or with ``{"ready": true}`` those of them that answer.

        ($repository_index_response; ``bedside.admin`` lists all.)
        """
        visible = await guard.listing(request)
        only_ready = _flag(await read_document(request, seconds), "ready")
        models = [asdict(status) for status in listed(parts.repository, visible, only_ready=only_ready)]
        return json_response(models)

    @app.post("/v2/repository/models/{model}/load", tags=[_REPOSITORY], summary="Load a model")
    async def load(request: Request, model: str) -> Response:
        """Look at the sources again and load what is new or has changed of a model; needs ``bedside.admin``.

        Answers once it is ready; what answered before goes on until then. The parameter ``version`` chooses one.
        """
        await guard.admin(request)
        await parts.repository.load(model, _version(await read_document(request, seconds)))
        return json_response({})

    @app.post("/v2/repository/models/{model}/unload", tags=[_REPOSITORY], summary="Unload a model")
    async def unload(request: Request, model: str) -> Response:
        """Let a model finish its work and end it; needs the scope ``bedside.admin``.

        With the parameter ``version`` only that one; the next highest then answers for the name.
        """
        await guard.admin(request)
        await parts.repository.unload(model, _version(await read_document(request, seconds)))
        return json_response({})


def _version(document: dict[str, Any]) -> str | None:
    parameters = document.get("parameters") or {}
    value = parameters.get("version") if isinstance(parameters, dict) else 0
    if value is not None and not isinstance(value, str):
        raise MalformedPayload("must be an object; its 'version' must be a text", field="parameters")
    return value


def _flag(document: dict[str, Any], name: str) -> bool:
    value = document.get(name, False)
    if not isinstance(value, bool):
        raise MalformedPayload("must be true or false", field=name)
    return value
