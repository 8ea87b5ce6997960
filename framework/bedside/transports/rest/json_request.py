"""JSON bodies of the FastAPI side, read after the caller has been let in."""

import asyncio
from typing import Any

from fastapi import Request

from bedside.codecs.record import parse_object
from bedside.errors import RequestTimeout
from bedside.transports.rest.body import Body
from bedside.transports.rest.head import Head

_BYTES = 65536


async def read_document(request: Request, seconds: float) -> dict[str, Any]:
    """Return the JSON object of the body, empty where there is none.

    Raises:
        MalformedPayload, PayloadTooLarge, RequestTimeout.
    """
    try:
        async with asyncio.timeout(seconds):
            data = await Body(request.receive, Head(request.scope)).read(_BYTES)
    except TimeoutError:
        raise RequestTimeout from None
    return dict(parse_object(data, "body")) if data else {}
