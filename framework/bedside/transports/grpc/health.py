"""``grpc.health.v1.Health/Check``: what a kubelet asks in a gRPC probe."""

from typing import Any

from google.protobuf.message import DecodeError

from bedside.errors import MalformedPayload, ModelNotFound
from bedside.transports.grpc.exchange import Exchange
from bedside.transports.grpc.messages import INFERENCE_SERVICE, HealthCheckRequest, HealthCheckResponse
from bedside.transports.grpc.parts import Parts

_MESSAGE_BYTES = 1024
_READINESS = ("", "readiness", INFERENCE_SERVICE)
_LIVENESS = "liveness"


class Health:
    """Answers probes; open to all, as ``/livez`` and ``/readyz`` are."""

    def __init__(self, parts: Parts) -> None:
        self._lifecycle = parts.lifecycle
        self._repository = parts.repository
        self._seconds = parts.settings.limits.body_seconds

    async def check(self, exchange: Exchange) -> Any:
        """Return SERVING for ``liveness`` while the process answers, else only while every model would answer."""
        try:
            service = HealthCheckRequest.FromString(await exchange.read(_MESSAGE_BYTES, self._seconds)).service
        except DecodeError:
            raise MalformedPayload("not an encoded HealthCheckRequest", field="message") from None
        if service == _LIVENESS:
            return HealthCheckResponse(status="SERVING")
        if service not in _READINESS:
            # doc/health-checking.md: "If the service name is not registered, the server returns a NOT_FOUND"
            raise ModelNotFound("no such service; ask for '', 'readiness' or 'liveness'", field="service")
        ready = self._lifecycle.ready(self._repository)
        return HealthCheckResponse(status="SERVING" if ready else "NOT_SERVING")
