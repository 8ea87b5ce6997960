"""``ModelInfer``: the protocol's own call, through the data plane's numbered stages."""

import asyncio
from functools import partial
from typing import Any

from bedside.bundle.validation import check_outputs
from bedside.codecs.tensor_request import InferRequest
from bedside.dataplane.call import Call
from bedside.dataplane.inference import INLINE_DECODE_BYTES
from bedside.errors import BedsideError, ClientGone, DeadlineExceeded, Draining, QueueFull
from bedside.observability.unexpected import report_unexpected
from bedside.transports.grpc.exchange import Exchange
from bedside.transports.grpc.infer_answer import infer_answer
from bedside.transports.grpc.infer_request import Asked, infer_request, parse_message
from bedside.transports.grpc.parts import Parts

_CLOCK_SECONDS = 0.1
"""A caller who goes this close to its own deadline went because of it: its clock began before ours."""


class Infer:
    """Answers inference requests, and accounts for each once."""

    def __init__(self, parts: Parts) -> None:
        self._dataplane = parts.dataplane
        self._gate = parts.gate
        self._lifecycle = parts.lifecycle
        self._limits = parts.settings.limits
        self._running = 0

    async def __call__(self, exchange: Exchange) -> Any:
        """Return the ``ModelInferResponse``; see ``edge.Operation``."""
        call = Call(exchange.request_id, "grpc", "infer", patience=exchange.patience, parent=exchange.parent)
        self._running += 1
        try:
            answer = await self._answer(call, exchange)
            call.output_bytes = answer.ByteSize()
            await self._dataplane.settle(call)
        except BedsideError as error:
            call.error = error
            raise
        except asyncio.CancelledError:
            # gRPC cancels what nobody waits for any more, and the work down to the model with it.
            call.error = self._why(call)
            raise
        except Exception as error:  # noqa: BLE001 - the last line of defence: nothing of it goes out
            call.error = report_unexpected(error, call.request_id)
            raise call.error from None
        finally:
            self._running -= 1
            # (9) account, in every case, once
            self._dataplane.account(call)
        return answer

    async def _answer(self, call: Call, exchange: Exchange) -> Any:
        if self._lifecycle.closing:
            raise Draining
        if self._running > self._limits.connections:
            raise QueueFull("more requests run than limits.connections allows")
        # (2) authenticate; the model's name is in the message, so whoever may use no model at all is refused here
        principal = await self._dataplane.authenticate(call, exchange.token)
        self._gate.authorise_listing(principal)
        asked = await self._read(call, exchange)
        # (2) authorise, (3) resolve
        served = self._dataplane.resolve(call, principal, asked.model, asked.version)
        request = await _request(asked)
        check_outputs(served.contract, request.output_names or ())
        # (4) to (7)
        rows = await self._dataplane.infer(call, served, request.inputs)
        # (8) encode
        return await self._dataplane.write(call, served, rows, partial(infer_answer, request))

    async def _read(self, call: Call, exchange: Exchange) -> Asked:
        limits = self._limits
        data = await exchange.read(limits.body_bytes, limits.body_seconds)
        call.input_bytes = len(data)
        if len(data) <= INLINE_DECODE_BYTES:
            return parse_message(data, limits.json_bytes)
        return await asyncio.to_thread(parse_message, data, limits.json_bytes)

    def _why(self, call: Call) -> BedsideError:
        if self._lifecycle.closing:
            return Draining("the server ended before the answer was ready")
        return DeadlineExceeded() if call.seconds >= call.patience - _CLOCK_SECONDS else ClientGone()


async def _request(asked: Asked) -> InferRequest:
    if asked.typed_bytes <= INLINE_DECODE_BYTES:
        return infer_request(asked)
    return await asyncio.to_thread(infer_request, asked)
