"""Runs the service on the server's event loop: port, TLS, bounds on connections, and an orderly end."""

from collections.abc import Callable
from pathlib import Path

import grpc

from bedside.errors import ConfigurationError
from bedside.observability.events import AuditAction
from bedside.settings import Settings
from bedside.transports.grpc.edge import Operation, as_method, audited
from bedside.transports.grpc.health import Health
from bedside.transports.grpc.infer import Infer
from bedside.transports.grpc.messages import HEALTH_SERVICE, INFERENCE_SERVICE
from bedside.transports.grpc.parts import Parts
from bedside.transports.grpc.protocol import Protocol

_ACTIONS = {
    "RepositoryModelLoad": AuditAction.MODEL_LOAD_REQUESTED,
    "RepositoryModelUnload": AuditAction.MODEL_UNLOAD_REQUESTED,
}

OnListening = Callable[[str], None]

RESERVED_CALLS = 32
"""Calls beyond ``limits.connections`` before gRPC itself refuses them, without a word of ours."""

_LARGEST_MESSAGE = 2**31 - 1  # protobuf.dev, "Proto Limits": 2 GiB
_IDENTITY_ONLY = 1  # GRPC_COMPRESS_NONE, as a bit set
_LEAST_PING_SECONDS = 10
_HEADER_BYTES = 65536
_HANDSHAKE_SECONDS = 10


class Server:
    """A ``lifecycle.Door``: listens while models load, and ends with the server.

    Args:
        parts: what it is built from.
        on_listening: told the address once the socket listens, with the port that was taken for port 0.
    """

    def __init__(self, parts: Parts, on_listening: OnListening = lambda _address: None) -> None:
        self._parts = parts
        self._settings = parts.settings
        self._on_listening = on_listening
        self._server: grpc.aio.Server | None = None

    async def open(self) -> None:
        """Listen. Raises ConfigurationError."""
        settings = self._settings
        server = grpc.aio.server(
            options=_options(settings), maximum_concurrent_rpcs=settings.limits.connections + RESERVED_CALLS
        )
        server.add_generic_rpc_handlers(_services(self._parts))
        address = _bind(server, settings)
        await server.start()
        self._server = server
        self._on_listening(address)

    async def close(self, seconds: float | None) -> None:
        """Refuse new calls; accepted ones have so many seconds to finish, then they are cancelled."""
        if self._server is not None:
            await self._server.stop(self._settings.server.drain_seconds if seconds is None else seconds)


def _services(parts: Parts) -> tuple[grpc.GenericRpcHandler, ...]:
    protocol = Protocol(parts)
    inference: dict[str, Operation] = {
        "ServerLive": protocol.server_live,
        "ServerReady": protocol.server_ready,
        "ModelReady": protocol.model_ready,
        "ServerMetadata": protocol.server_metadata,
        "ModelMetadata": protocol.model_metadata,
        "RepositoryIndex": protocol.repository_index,
        "RepositoryModelLoad": protocol.load,
        "RepositoryModelUnload": protocol.unload,
    }
    auditor = parts.auditor
    methods = {
        name: as_method(audited(auditor, operation, _ACTIONS.get(name))) for name, operation in inference.items()
    }
    methods["ModelInfer"] = as_method(Infer(parts))  # the spine accounts for it
    return (
        grpc.method_handlers_generic_handler(INFERENCE_SERVICE, methods),
        grpc.method_handlers_generic_handler(HEALTH_SERVICE, {"Check": as_method(Health(parts).check)}),
    )


def _options(settings: Settings) -> list[tuple[str, int]]:
    server, limits = settings.server, settings.limits
    return [
        ("grpc.max_receive_message_length", min(limits.body_bytes, _LARGEST_MESSAGE)),
        ("grpc.max_send_message_length", _LARGEST_MESSAGE),
        ("grpc.max_metadata_size", _HEADER_BYTES),
        ("grpc.max_concurrent_streams", server.grpc_streams),
        # Length is checked before a message is unpacked: a few kilobytes could become any size (decisions/0032, 0082).
        ("grpc.compression_enabled_algorithms_bitset", _IDENTITY_ONLY),
        # Two servers on one port would share its calls between them without a word.
        ("grpc.so_reuseport", 0),
        ("grpc.server_handshake_timeout_ms", _HANDSHAKE_SECONDS * 1000),
        ("grpc.max_connection_idle_ms", server.keep_alive_seconds * 1000),
        ("grpc.keepalive_time_ms", server.keep_alive_seconds * 1000),
        ("grpc.http2.min_ping_interval_without_data_ms", _LEAST_PING_SECONDS * 1000),
    ]


def _bind(server: grpc.aio.Server, settings: Settings) -> str:
    host, port = settings.server.host, settings.server.grpc_port or 0
    shown = f"[{host}]" if ":" in host else host
    try:
        credentials = _credentials(settings)
        if credentials is None:
            return f"grpc://{shown}:{server.add_insecure_port(f'{shown}:{port}')}"
        return f"grpcs://{shown}:{server.add_secure_port(f'{shown}:{port}', credentials)}"
    except RuntimeError as error:
        raise ConfigurationError(f"cannot listen on {shown}:{port} for gRPC", field="server.grpc_port") from error


def _credentials(settings: Settings) -> grpc.ServerCredentials | None:
    certificate, key = settings.server.tls_certificate, settings.server.tls_key
    if certificate is None or key is None:
        return None
    # gRPC offers TLS 1.2 and 1.3 only (RFC 9325 §3.1.1); certificate and key were tried by the HTTP server before.
    return grpc.ssl_server_credentials([(_pem(key), _pem(certificate))])


def _pem(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"cannot be read: {error.strerror}", field="server.tls_certificate") from error
