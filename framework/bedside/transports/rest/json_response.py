"""JSON answers of the FastAPI side, without models."""

from typing import Any

import orjson
from fastapi import Response

from bedside.transports.rest.reply import Reply


def json_response(document: Any, status: int = 200) -> Response:
    """Return a document as ``application/json``."""
    return Response(orjson.dumps(document), status, media_type="application/json")


def as_response(reply: Reply) -> Response:
    """Return an edge's answer as Starlette's."""
    response = Response(
        reply.body, reply.status, headers={"content-type": reply.media_type} if reply.media_type else {}
    )
    for name, value in reply.headers:
        response.headers[name.decode("latin-1")] = value.decode("latin-1")
    return response
