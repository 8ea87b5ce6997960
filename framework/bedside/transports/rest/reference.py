"""``/v1/models/{m}/reference``: what drift is measured against, and how it is begun anew; for administrators."""

import asyncio

from fastapi import FastAPI, Request, Response

from bedside.transports.rest.guard import Guard
from bedside.transports.rest.json_response import json_response
from bedside.transports.rest.parts import Parts

_TAG = "Models"


def add_reference(app: FastAPI, parts: Parts, guard: Guard) -> None:
    """Add the routes, where this server watches answers."""
    desk = parts.reference
    if desk is None:
        return

    @app.get("/v1/models/{model}/reference", tags=[_TAG], summary="What drift is measured against")
    async def reference(request: Request, model: str, version: str | None = None) -> Response:
        """Return the reference of the version that answers, or of one, as ``golden/reference.json`` has it."""
        await guard.admin(request)
        return json_response(await asyncio.to_thread(desk.read, model, version))

    @app.post("/v1/models/{model}/reference/renew", tags=[_TAG], summary="Begin the reference of drift anew")
    async def renew(request: Request, model: str, version: str | None = None) -> Response:
        """Have the next answers be what later ones are compared with: what has shifted was looked at, and is accepted.

        There is no way back to what was; read it before.
        """
        await guard.admin(request)
        return json_response(await asyncio.to_thread(desk.renew, model, version))
