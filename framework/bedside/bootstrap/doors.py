"""Doors besides REST, and what is told when one opens."""

import asyncio
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from bedside.bootstrap.work import make_inbox
from bedside.dataplane.lifecycle import Door, Lifecycle, hold_open
from bedside.errors import ConfigurationError, DicomNotInstalled
from bedside.interfaces import BundleSource
from bedside.observability.events import Event
from bedside.observability.logging import EventLogger, Log, get_logger
from bedside.observability.metrics import Metrics
from bedside.observability.shipping import open_log
from bedside.settings import Settings
from bedside.transports.rest.parts import Parts


def listening(
    events: EventLogger, sources: Sequence[BundleSource], announce: Callable[[str], None]
) -> Callable[[str], None]:
    """Return what tells the log and whoever started the server where a door listens."""

    def on_listening(url: str) -> None:
        address = urlsplit(url)
        transport = next((name for name in ("grpc", "dicom") if address.scheme.startswith(name)), "rest")
        place = {"transport": transport, "host": address.hostname, "port": address.port}
        events.info(Event.SERVER_STARTED, **place)
        loading = f" and loads {', '.join(source.location for source in sources)}" if transport == "rest" else ""
        announce(f"Bedside listens on {url}{loading}")

    return on_listening


def add_doors(lifecycle: Lifecycle, parts: Parts, on_listening: Callable[[str], None]) -> None:
    """Have gRPC and DIMSE open and close with REST, where they are asked for. Raises ConfigurationError."""
    if parts.settings.server.grpc_port is not None:
        lifecycle.add(_grpc_door(parts, on_listening))
    if parts.settings.dicom.port is not None:
        lifecycle.add(_dicom_door(parts.settings, on_listening))


def _grpc_door(parts: Parts, on_listening: Callable[[str], None]) -> Door:
    # Imported where it is asked for: it takes 10 MB of memory.
    from bedside.transports.grpc.parts import Parts as GrpcParts  # noqa: PLC0415
    from bedside.transports.grpc.server import Server  # noqa: PLC0415

    shared = (parts.settings, parts.version, parts.lifecycle)
    return Server(GrpcParts(parts.dataplane, parts.repository, parts.gate, *shared, parts.auditor), on_listening)


def listen(settings: Settings, announce: Callable[[str], None]) -> None:
    """Receive DICOM until SIGTERM or SIGINT; servers that share the inbox make jobs of it.

    Raises:
        ConfigurationError: the port, the AE titles or the certificate cannot be used.
    """
    if settings.dicom.port is None:
        raise ConfigurationError("no port to listen on: give --port or set dicom.port", field="dicom.port")
    log = open_log(settings, Metrics())
    try:
        asyncio.run(hold_open(_dicom_door(settings, listening(get_logger("bedside.server"), (), announce))))
    finally:
        end(log)


def _dicom_door(settings: Settings, on_listening: Callable[[str], None]) -> Door:
    try:
        from bedside.transports.dicom.store_scp import StoreScp  # noqa: PLC0415 - needs an extra
    except ModuleNotFoundError:
        raise DicomNotInstalled("DIMSE needs pip install 'bedside[dicom-network]'", field="dicom.port") from None
    return StoreScp(make_inbox(settings), settings.dicom, on_listening)


def end(log: Log) -> None:
    """Write the last line of the log."""
    get_logger("bedside.server").info(Event.SERVER_STOPPED)
    log.close()
