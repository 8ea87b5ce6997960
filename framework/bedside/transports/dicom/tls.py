"""TLS for DICOM (PS3.15 §B.9, BCP 195): 1.2 and 1.3, certificates checked."""

import ssl
from pathlib import Path

from bedside.errors import ConfigurationError


def client_context(authorities: Path | None) -> ssl.SSLContext:
    """Return a context that checks who is called. Raises ConfigurationError."""
    try:
        return ssl.create_default_context(cafile=authorities)
    except OSError as error:
        raise ConfigurationError("cannot be read as PEM certificates", field="dicom.destinations") from error
