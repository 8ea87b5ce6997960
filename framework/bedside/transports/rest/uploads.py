"""``POST /v1/uploads``: where to put an input that is too large to be sent (docs/api.md#large-inputs)."""

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from bedside.transports.rest.guard import Guard
from bedside.transports.rest.json_response import json_response
from bedside.transports.rest.parts import Parts


class Upload(BaseModel):
    """What is to be uploaded."""

    model_config = ConfigDict(extra="forbid", strict=True)

    bytes: int = Field(gt=0, description="its exact size")
    media_type: str = Field(default="application/octet-stream", max_length=128, description="as Content-Type would say")


def add_uploads(app: FastAPI, parts: Parts, guard: Guard) -> None:
    """Add the route, where the site has a bucket for it."""
    uploads = parts.uploads
    if uploads is None:
        return

    @app.post("/v1/uploads", tags=["Uploads"], summary="Upload a large input")
    async def upload(request: Request, wanted: Upload) -> Response:
        """Return an address for one PUT of exactly so many bytes, and the reference that names them in a request."""
        principal = await guard.caller(request)
        return json_response(uploads.offer(principal, wanted.bytes, wanted.media_type))
