"""``/v1/models``: what is served here, for people and catalogues: versions, states, contracts, cards, licences."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response

from bedside.bundle.model_metadata import model_metadata
from bedside.errors import ModelNotFound, ModelVersionNotFound, Unavailable
from bedside.interfaces import ModelStatus
from bedside.transports.rest.guard import Guard
from bedside.transports.rest.json_response import json_response
from bedside.transports.rest.parts import Parts

_TAG = "Models"


def add_models(app: FastAPI, parts: Parts, guard: Guard) -> None:
    """Add the catalogue's routes."""
    _add_catalogue(app, parts, guard)
    _add_texts(app, parts, guard)


def _add_catalogue(app: FastAPI, parts: Parts, guard: Guard) -> None:
    @app.get("/v1/models", tags=[_TAG], summary="Models")
    async def models(request: Request) -> Response:
        """Return the models that the caller may use, each with its versions and their states."""
        visible = await guard.listing(request)
        index = [status for status in parts.repository.index() if visible(status.name)]
        names = dict.fromkeys(status.name for status in index)
        return json_response({"models": [_entry(name, index) for name in names]})

    @app.get("/v1/models/{model}", tags=[_TAG], summary="Model")
    async def model_default(request: Request, model: str) -> Response:
        """Return a model: its versions, and the contract of the one that answers where none is named."""
        await guard.model(request, model)
        index = parts.repository.index()
        if not any(status.name == model for status in index):
            raise ModelNotFound(field="model")
        return json_response({**_entry(model, index), **_description(parts, model, None)})

    @app.get("/v1/models/{model}/versions/{version}", tags=[_TAG], summary="Model version")
    async def model_version(request: Request, model: str, version: str) -> Response:
        """Return one version of a model: state, reason, digest, contract."""
        await guard.model(request, model)
        index = [status for status in parts.repository.index() if status.name == model]
        if not index:
            raise ModelNotFound(field="model")
        for status in index:
            if status.version == version:
                return json_response({**asdict(status), **_description(parts, model, version)})
        raise ModelVersionNotFound(field="version")


def _add_texts(app: FastAPI, parts: Parts, guard: Guard) -> None:
    async def text(request: Request, model: str, version: str | None, which: str) -> Response:
        await guard.model(request, model)
        content = parts.repository.text(model, version, which)
        if not content:
            raise HTTPException(404)
        media_type = "text/markdown" if which == "card" else "text/plain"
        return Response(content, headers={"content-type": f"{media_type}; charset=utf-8"})

    @app.get("/v1/models/{model}/card", tags=[_TAG], summary="Model card")
    async def card(request: Request, model: str) -> Response:
        """Return the bundle's ``docs/README.md``, as Markdown."""
        return await text(request, model, None, "card")

    @app.get("/v1/models/{model}/licence", tags=[_TAG], summary="Licence")
    async def licence(request: Request, model: str) -> Response:
        """Return the bundle's ``LICENSE``, as text."""
        return await text(request, model, None, "licence")

    @app.get("/v1/models/{model}/versions/{version}/card", tags=[_TAG], summary="Model card of a version")
    async def card_of_version(request: Request, model: str, version: str) -> Response:
        """Return the ``docs/README.md`` of one version, as Markdown."""
        return await text(request, model, version, "card")

    @app.get("/v1/models/{model}/versions/{version}/licence", tags=[_TAG], summary="Licence of a version")
    async def licence_of_version(request: Request, model: str, version: str) -> Response:
        """Return the ``LICENSE`` of one version, as text."""
        return await text(request, model, version, "licence")


def _entry(name: str, index: Iterable[ModelStatus]) -> dict[str, Any]:
    versions = [status for status in index if status.name == name]
    default = next((status for status in versions if status.default), None)
    return {
        "name": name,
        "state": default.state if default else "UNAVAILABLE",
        "default_version": default.version if default else None,
        "versions": [{key: value for key, value in asdict(status).items() if key != "name"} for status in versions],
    }


def _description(parts: Parts, model: str, version: str | None) -> dict[str, Any]:
    """Return what only a loaded bundle tells; nothing while it is not loaded, for the state says so."""
    try:
        contract = parts.repository.resolve(model, version).contract
    except Unavailable:
        return {}
    path = f"/v1/models/{model}/versions/{contract.version}"
    return {
        "description": contract.description,
        "task": contract.task,
        "intended_use": contract.intended_use,
        "metrics": dict(contract.metrics),
        "contract": model_metadata(contract, (contract.version,)),
        "links": {
            "predict": f"{path}/predict",
            "infer": f"/v2/models/{model}/versions/{contract.version}/infer",
            "card": f"{path}/card",
            "licence": f"{path}/licence",
        },
        "notice": "Not a medical device.",
    }
