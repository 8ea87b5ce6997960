"""``/v1/models/{m}/truth`` takes the truth of an earlier answer; ``/accuracy`` tells how right the model was."""

import asyncio

from fastapi import FastAPI, Request, Response

from bedside.errors import ModelNotFound
from bedside.transports.rest.guard import Guard
from bedside.transports.rest.json_request import read_document
from bedside.transports.rest.json_response import json_response
from bedside.transports.rest.parts import Parts
from bedside.types import Principal

_TAG = "Models"


def add_truth(app: FastAPI, parts: Parts, guard: Guard) -> None:
    """Add the routes, where this server keeps jobs and so can keep predictions."""
    desk = parts.truth
    if desk is None:
        return

    async def admit(request: Request, model: str) -> Principal:
        principal = await guard.caller(request)
        parts.authorise_truth(principal, model)
        if not any(status.name == model for status in parts.repository.index()):
            raise ModelNotFound(field="model")
        return principal

    @app.post("/v1/models/{model}/truth", tags=[_TAG], summary="Tell the truth of an answer")
    async def truth(request: Request, model: str) -> Response:
        """Take what turned out to be so for an earlier answer, by its request id; needs the scope ``bedside.truth``.

        Where the request had several rows of tensors, ``row`` says which, counted from 0.

        Told again it changes nothing (``new`` is false); another truth for the same answer is refused with 409.
        """
        principal = await admit(request, model)
        document = await read_document(request, parts.settings.limits.body_seconds)
        predicted, new = await asyncio.to_thread(desk.tell, model, document, principal.owner)
        told = {name: document[name] for name in ("request_id", "row") if name in document}
        return json_response({**told, "model": model, "version": predicted.version, "new": new})

    @app.get("/v1/models/{model}/accuracy", tags=[_TAG], summary="Accuracy where the truth has come")
    async def accuracy(request: Request, model: str) -> Response:
        """Return for each version how right it was, of the answers that are kept; needs ``bedside.truth``."""
        await admit(request, model)
        return json_response({"model": model, "versions": await asyncio.to_thread(desk.accuracy, model)})
