"""Results to an archive by STOW-RS (DICOM PS3.18 §10.5).

A result is the body of such a request already: it goes out byte for byte as it was kept, without being parsed again.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx

from bedside.codecs.dicom import RELATED
from bedside.dicom_settings import DicomDestination
from bedside.errors import DeliveryFailed
from bedside.transports.dicom.web import WebService

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
        self._service = WebService(settings, "dicom.destinations")

    async def __call__(self, media_type: str, size: int, chunks: Iterator[bytes]) -> None:
        """Return once the archive has confirmed every instance. Raises DeliveryFailed, httpx.HTTPError."""
        if not media_type.startswith(RELATED):
            raise DeliveryFailed("only DICOM results are delivered")
        headers = {"Accept": "application/dicom+json", "Content-Type": media_type, "Content-Length": str(size)}
        async with self._service.client() as client:
            answer = await client.post(f"{self._service.url}/studies", content=_sent(chunks), headers=headers)
        if answer.status_code not in (*_STORED, 409):
            raise DeliveryFailed(f"the archive answered with status {answer.status_code}")
        failed = _failures(answer)
        if any(reason != _DUPLICATE for reason in failed) or (answer.status_code == 409 and not failed):
            raise DeliveryFailed("the archive has not stored every instance")


async def _sent(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    while chunk := await asyncio.to_thread(next, chunks, b""):
        yield chunk


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
