"""An archive's DICOMweb service: who it is, how we show who we are, and that nothing goes there in the clear."""

import base64
from typing import Any
from urllib.parse import urlsplit

import httpx

from bedside.dicom_settings import DicomwebAccess
from bedside.errors import ConfigurationError
from bedside.loopback import direct, is_loopback
from bedside.observability.traceparent import outgoing_headers
from bedside.transports.dicom.tls import client_context


class WebService:
    """Makes clients of one service.

    Args:
        settings: address and credentials.
        field: of the settings, for errors.

    Raises:
        ConfigurationError: patients' data would go over a network in the clear.
    """

    def __init__(self, settings: DicomwebAccess, field: str) -> None:
        address = urlsplit(settings.url)
        if address.scheme == "http" and not settings.allow_http and not is_loopback(address.hostname):
            raise ConfigurationError(
                "http:// is for this machine only; set allow_http where patients' data may go in the clear", field=field
            )
        self.url = settings.url.rstrip("/")
        self._headers = _authorization(settings)
        self._tls = client_context(settings.ca_certificates)
        self._seconds = settings.timeout_seconds

    def client(self) -> httpx.AsyncClient:
        """Return a client that follows no redirection: credentials and patients' UIDs go to this service alone.

        What it asks for belongs to the trace of whoever opens it.
        """
        headers = {**self._headers, **outgoing_headers()}
        options: dict[str, Any] = {"headers": headers, "mounts": direct(self.url), "follow_redirects": False}
        return httpx.AsyncClient(verify=self._tls, timeout=self._seconds, **options)


def _authorization(settings: DicomwebAccess) -> dict[str, str]:
    if settings.token is not None:
        return {"Authorization": f"Bearer {settings.token.get_secret_value()}"}
    if settings.username:
        password = "" if settings.password is None else settings.password.get_secret_value()
        pair = base64.b64encode(f"{settings.username}:{password}".encode()).decode()
        return {"Authorization": f"Basic {pair}"}
    return {}
