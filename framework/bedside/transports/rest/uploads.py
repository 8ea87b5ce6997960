"""``POST /v1/uploads``: where to put an input that is too large to be sent (docs/api.md#large-inputs)."""

from typing import Any

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bedside.errors import BadParameter
from bedside.transports.rest.guard import Guard
from bedside.transports.rest.json_request import read_document
from bedside.transports.rest.json_response import json_response
from bedside.transports.rest.parts import Parts


class Upload(BaseModel):
    """What is to be uploaded."""

    model_config = ConfigDict(extra="forbid", strict=True)

    bytes: int = Field(gt=0, description="its exact size")
    media_type: str = Field(default="application/octet-stream", max_length=128, description="as Content-Type would say")


_BODY = {"required": True, "content": {"application/json": {"schema": Upload.model_json_schema()}}}


def add_uploads(app: FastAPI, parts: Parts, guard: Guard) -> None:
    """Add the route, where the site has a bucket for it."""
    uploads = parts.uploads
    if uploads is None:
        return
    seconds = parts.settings.limits.body_seconds

    @app.post("/v1/uploads", tags=["Uploads"], summary="Upload a large input", openapi_extra={"requestBody": _BODY})
    async def upload(request: Request) -> Response:
        """Return an address for one PUT of exactly so many bytes, and the reference that names them in a request."""
        principal = await guard.caller(request)  # FastAPI would read a body of its own before anybody is let in
        wanted = _wanted(await read_document(request, seconds))
        offered = uploads.offer(principal, wanted.bytes, wanted.media_type)
        request.state.upload = offered["source"]  # for the audit trail
        return json_response(offered)


def _wanted(document: dict[str, Any]) -> Upload:
    try:
        return Upload.model_validate(document)
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0])
        # The name of a member that is not ours may be anything, a patient's too.
        field = name if name in Upload.model_fields else "body"
        raise BadParameter("is not of the type that the interface describes", field=field) from None
