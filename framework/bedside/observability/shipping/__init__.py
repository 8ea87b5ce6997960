"""Log lines and audit records straight to Elasticsearch (docs/decisions/0126, 0129)."""

import sqlite3

from bedside.errors import ConfigurationError
from bedside.observability.logging import Log, configure
from bedside.observability.metrics import Metrics
from bedside.observability.shipping.content import data_stream
from bedside.observability.shipping.shipper import Sender, Shipper
from bedside.observability.shipping.spool import Spool
from bedside.observability.shipping.trail import Trail
from bedside.observability.writer import ByteStream
from bedside.settings import Settings


def open_log(settings: Settings, metrics: Metrics, stream: ByteStream | None = None) -> Log:
    """Configure the log and start what ships it, where ``log.sink`` asks for that; ``log.close`` ends both.

    Args:
        settings: ``log`` and ``elastic``.
        metrics: count what is shipped and lost.
        stream: takes the place of standard output.

    Raises:
        ConfigurationError: the spool cannot be used, or the extra is missing.
    """
    if settings.log.sink == "stdout":
        log = configure(settings, stream=stream)
    else:
        shipper, spool = _open_shipper(settings)
        log = configure(settings, stream=stream, spool=spool)
        log.closed = shipper.close
        metrics.show_shipping(lambda: shipper.shipped, lambda: shipper.refused, lambda: spool.waiting_lines)
        shipper.start()
    metrics.count_lost_lines(lambda: log.lost_lines)
    return log


def open_trail(settings: Settings, metrics: Metrics) -> Shipper:
    """Start what ships the audit trail; its ``close`` comes after that of the trail.

    Raises:
        ConfigurationError: the folder cannot be written, or the extra is missing.
    """
    sender = _sender(settings, "audit", "audit.ship")
    try:
        trail = Trail(settings.audit.folder_in(settings.runtime.state_dir))
    except OSError as error:
        raise ConfigurationError(f"it cannot be written ({type(error).__name__})", field="audit.folder") from None
    shipper = Shipper(trail, sender, settings.elastic, "bedside.shipping.audit")
    metrics.show_audit_shipping(
        lambda: shipper.shipped, lambda: shipper.refused, lambda: trail.missed, lambda: trail.waiting_bytes
    )
    shipper.start()
    return shipper


def _sender(settings: Settings, kind: str, setting: str) -> Sender:
    try:
        from bedside.observability.shipping.bulk import BulkClient  # noqa: PLC0415 - needs an extra
    except ModuleNotFoundError:
        raise ConfigurationError(
            "shipping to Elasticsearch needs pip install 'bedside[elastic]'", field=setting
        ) from None
    elastic = settings.elastic
    try:
        return BulkClient(elastic, data_stream(kind, elastic.namespace))
    except (OSError, ValueError):
        raise ConfigurationError("elastic.ca_certificates cannot be read", field="elastic.ca_certificates") from None


def _open_shipper(settings: Settings) -> tuple[Shipper, Spool]:
    sender = _sender(settings, "inference", "log.sink")
    elastic = settings.elastic
    folder = elastic.spool_dir or settings.runtime.state_dir / "log-spool"
    try:
        spool = Spool(folder, elastic.spool_bytes, fsync=elastic.spool_fsync)
    except (OSError, sqlite3.Error):
        raise ConfigurationError(f"{folder} cannot hold the spool", field="elastic.spool_dir") from None
    return Shipper(spool, sender, elastic), spool
