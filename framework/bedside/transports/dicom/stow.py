"""Results to an archive by STOW-RS (DICOM PS3.18 §10.5).

A result is the body of such a request already: it goes out byte for byte as it was kept, without being parsed again.
"""

import base64
from typing import Any
from urllib.parse import urlsplit

import httpx

from bedside.codecs.dicom import RELATED
from bedside.dicom_settings import DicomDestination
from bedside.errors import ConfigurationError, DeliveryFailed
from bedside.jobs.records import Job
from bedside.storage.hosts import is_loopback
from bedside.transports.dicom.tls import client_context

_FAILED, _REASON = "00081198", "00081197"
_DUPLICATE = 0x0111
"""Failure Reason (PS3.7 §C.5.9): the archive has this very instance. UIDs of results hang on what they hold."""

_STORED = (200, 202)


class StowDestination:
    """Implements ``courier.Deliver``.

    Args:
        settings: address and credentials.

    Raises:
        ConfigurationError: patients' data would go over a network in the clear.
    """

    def __init__(self, settings: DicomDestination) -> None:
        address = urlsplit(settings.url)
        if address.scheme == "http" and not settings.allow_http and not is_loopback(address.hostname or ""):
            raise ConfigurationError(
                "results go over http:// to this machine only; set allow_http where that is meant",
                field="dicom.destinations",
            )
        self._url = f"{settings.url.rstrip('/')}/studies"
        self._headers = {"Accept": "application/dicom+json", **_authorization(settings)}
        self._tls = client_context(settings.ca_certificates)
        self._seconds = settings.timeout_seconds

    async def __call__(self, job: Job, media_type: str, data: bytes) -> None:  # noqa: ARG002 - the signature is Deliver's
        """Return once the archive has confirmed every instance. Raises DeliveryFailed, httpx.HTTPError."""
        if not media_type.startswith(RELATED):
            raise DeliveryFailed("only DICOM results are delivered")
        headers = {**self._headers, "Content-Type": media_type}
        async with httpx.AsyncClient(verify=self._tls, timeout=self._seconds) as client:
            answer = await client.post(self._url, content=data, headers=headers)
        if answer.status_code not in (*_STORED, 409):
            raise DeliveryFailed(f"the archive answered with status {answer.status_code}")
        failed = _failures(answer)
        if any(reason != _DUPLICATE for reason in failed) or (answer.status_code == 409 and not failed):
            raise DeliveryFailed("the archive has not stored every instance")


def _authorization(settings: DicomDestination) -> dict[str, str]:
    if settings.token is not None:
        return {"Authorization": f"Bearer {settings.token.get_secret_value()}"}
    if settings.username:
        password = "" if settings.password is None else settings.password.get_secret_value()
        pair = base64.b64encode(f"{settings.username}:{password}".encode()).decode()
        return {"Authorization": f"Basic {pair}"}
    return {}


def _failures(answer: httpx.Response) -> list[int]:
    """Return the failure reasons; an archive may send an empty sequence where nothing failed.

    Raises:
        DeliveryFailed: 202 says that something may have failed, and the answer cannot be read.
    """
    try:
        items = answer.json().get(_FAILED, {}).get("Value") or []
        return [_reason(item) for item in items]
    except (ValueError, AttributeError, TypeError):
        if answer.status_code == httpx.codes.OK:
            return []  # PS3.18 §10.5.3.1: all were stored; some archives say no more
        raise DeliveryFailed("the archive's answer cannot be read") from None


def _reason(item: Any) -> int:
    values = item.get(_REASON, {}).get("Value") or [0]
    return int(values[0])
