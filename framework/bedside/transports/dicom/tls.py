"""TLS for DICOM (PS3.15 §B.9, BCP 195): 1.2 and 1.3, certificates checked."""

import ssl
from pathlib import Path

from bedside.dicom_settings import DicomSettings
from bedside.errors import ConfigurationError


def client_context(authorities: Path | None) -> ssl.SSLContext:
    """Return a context that checks who is called. Raises ConfigurationError."""
    try:
        return ssl.create_default_context(cafile=authorities)
    except OSError as error:
        raise ConfigurationError("cannot be read as PEM certificates", field="dicom.destinations") from error


def server_context(settings: DicomSettings) -> ssl.SSLContext | None:
    """Return the context of the port, None where it speaks no TLS. Raises ConfigurationError."""
    if settings.tls_certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # the default, spelled out: BCP 195 §3.1.1
    try:
        context.load_cert_chain(settings.tls_certificate, settings.tls_key)
        if settings.tls_client_authorities is not None:
            context.load_verify_locations(settings.tls_client_authorities)
            context.verify_mode = ssl.CERT_REQUIRED
    except OSError as error:
        raise ConfigurationError("certificate or key cannot be read as PEM", field="dicom.tls_certificate") from error
    return context
