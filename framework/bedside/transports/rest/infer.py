"""``POST /v2/models/{m}[/versions/{v}]/infer``: the Open Inference Protocol's own call."""

import asyncio
from functools import partial

from bedside.bundle.validation import check_outputs
from bedside.codecs.tensor_request import InferRequest
from bedside.dataplane.inference import INLINE_DECODE_BYTES, DataPlane
from bedside.errors import MalformedPayload, UnsupportedMediaType
from bedside.interfaces import ServedModel
from bedside.settings import LimitSettings
from bedside.transports.rest.exchange import Exchange
from bedside.transports.rest.head import Head
from bedside.transports.rest.infer_answer import infer_reply
from bedside.transports.rest.infer_request import parse_infer_request
from bedside.transports.rest.reply import Reply

_MEDIA_TYPES = ("", "application/json", "application/octet-stream")


class Infer:
    """Reads one inference request and answers with the tensors asked for."""

    def __init__(self, dataplane: DataPlane, limits: LimitSettings) -> None:
        self._dataplane = dataplane
        self._limits = limits

    async def __call__(self, exchange: Exchange, served: ServedModel) -> Reply:
        """Answer one request whose caller has been let in; see ``exchange.Operation``."""
        request = await self._read(exchange)
        check_outputs(served.contract, request.output_names or ())
        call = exchange.call
        rows = await self._dataplane.infer(call, served, request.inputs)
        return await self._dataplane.write(call, served, rows, partial(infer_reply, request))

    async def _read(self, exchange: Exchange) -> InferRequest:
        head, limits = exchange.head, self._limits
        if head.content_type[0] not in _MEDIA_TYPES:
            raise UnsupportedMediaType("send application/json or application/octet-stream", field="Content-Type")
        header_length = _header_length(head)
        limit = limits.json_bytes if header_length is None else limits.body_bytes
        data = await exchange.body.read(limit)
        exchange.call.input_bytes = len(data)
        if len(data) <= INLINE_DECODE_BYTES:
            return parse_infer_request(data, header_length, limits.json_bytes)
        return await asyncio.to_thread(parse_infer_request, data, header_length, limits.json_bytes)


def _header_length(head: Head) -> int | None:
    value = head.get(b"inference-header-content-length")
    if value is None:
        return None
    if not value.isdigit() or len(value) > 19:
        raise MalformedPayload("must be a number of bytes", field="Inference-Header-Content-Length")
    return int(value)
