"""Studies from an archive: series are found by QIDO-RS and taken by WADO-RS (DICOM PS3.18 §10.6, §10.4).

The body of the archive's answer is the input of the model as it is (``multipart/related``): it is bounded while it
comes, and parsed once, by the codec.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import orjson

from bedside.bundle.contract import InputSpec
from bedside.bundle.dicom_policy import DescribedSeries
from bedside.codecs.dicom import DICOM, RELATED, files_of
from bedside.codecs.encode import join_study
from bedside.dicom_settings import DicomSource
from bedside.errors import ArchiveUnavailable, NoMatchingSeries, PayloadTooLarge, ReferenceNotFound, TooManyInstances
from bedside.reference_settings import ReferenceSettings
from bedside.settings import LimitSettings
from bedside.transports.dicom.web import WebService
from bedside.transports.references import DicomwebReference
from bedside.transports.room import Hold
from bedside.types import RawPart

_UID = re.compile(r"[0-9](\.?[0-9]){0,63}")  # leading zeros are met; `..` would be a step up in an address
_MODALITY, _DESCRIPTION, _BODY_PART = "00080060", "0008103E", "00180015"
_SERIES_UID, _COUNT = "0020000E", "00201209"
_LISTED = {"Accept": "application/dicom+json", "Accept-Encoding": "identity"}
_TAKEN = {
    # As stored (§8.7.3.5.2): the archive need not decompress, and nothing is compressed twice.
    "Accept": f'{RELATED}; type="{DICOM}"; transfer-syntax=*',
    "Accept-Encoding": "identity",
}
_GONE = (404, 410)
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})


class ArchiveStudies:
    """Implements ``references.Fetch`` for one archive.

    Args:
        settings: address and credentials.
        limits: ``body_bytes`` and ``dicom_instances`` bound what is taken, ``json_bytes`` what is listed.
        retries: attempts and waits.

    Raises:
        ConfigurationError: patients' data would go over a network in the clear.
    """

    def __init__(self, settings: DicomSource, limits: LimitSettings, retries: ReferenceSettings) -> None:
        self._service = WebService(settings, "dicom.sources")
        self._limits = limits
        self._retries = retries

    async def __call__(self, reference: DicomwebReference, spec: InputSpec, hold: Hold) -> RawPart:
        """Return the series that is named, or those of the study that the bundle's rules may mean, as one input.

        Raises:
            ReferenceNotFound, NoMatchingSeries, PayloadTooLarge: the archive has answered.
            ArchiveUnavailable: it has not.
        """
        study = f"{self._service.url}/studies/{reference.study}"
        async with self._service.client() as client:
            wanted = [reference.series] if reference.series else await self._wanted(client, study, spec, hold)
            parts: list[RawPart] = []
            for uid in wanted:
                room = self._limits.body_bytes - sum(len(part.data) for part in parts)
                parts.append(await self._get(client, f"{study}/series/{uid}", _TAKEN, room, hold))
        return parts[0] if len(parts) == 1 else await hold.in_thread(self._joined, parts)

    async def _wanted(self, client: httpx.AsyncClient, study: str, spec: InputSpec, hold: Hold) -> list[str]:
        fields = "&".join(f"includefield={tag}" for tag in (_MODALITY, _DESCRIPTION, _BODY_PART, _COUNT))
        listed = await self._get(client, f"{study}/series?{fields}", _LISTED, self._limits.json_bytes, hold)
        hold.give(len(listed.data))
        found = list(_described(listed.data))
        if not found:
            raise ReferenceNotFound(field="source.study")
        wanted = spec.dicom.wanted(found, spec.name, planes=spec.is_plane)
        if not wanted:
            raise NoMatchingSeries(field="source.study")
        if sum(series.count or 0 for series in wanted) > self._limits.dicom_instances:
            raise TooManyInstances(field="source.study")
        return [series.uid for series in wanted]

    async def _get(
        self, client: httpx.AsyncClient, url: str, headers: Mapping[str, str], most: int, hold: Hold
    ) -> RawPart:
        wait = self._retries.retry_seconds
        for attempt in range(self._retries.attempts):
            if attempt:
                await asyncio.sleep(wait * 2 ** (attempt - 1))
            try:
                async with _answered(client, url, headers) as answer:
                    with hold.attempt():
                        return await _read(answer, headers["Accept"], most, hold)
            except (httpx.TransportError, _AskAgain):
                continue
        raise ArchiveUnavailable

    def _joined(self, parts: Iterable[RawPart]) -> RawPart:
        return join_study(data for part in parts for data in files_of(part, self._limits))


class _AskAgain(Exception):
    """The archive is busy."""


@asynccontextmanager
async def _answered(client: httpx.AsyncClient, url: str, headers: Mapping[str, str]) -> AsyncIterator[httpx.Response]:
    """Yield an answer that holds something. Raises ReferenceNotFound, ArchiveUnavailable, _AskAgain."""
    async with client.stream("GET", url, headers=dict(headers)) as answer:
        status = answer.status_code
        if status in _GONE:
            raise ReferenceNotFound(field="source.study")
        if status in _AGAIN:
            raise _AskAgain
        if status not in (httpx.codes.OK, httpx.codes.NO_CONTENT):
            raise ArchiveUnavailable(f"the archive answered with status {status}")
        yield answer


async def _read(answer: httpx.Response, accept: str, most: int, hold: Hold) -> RawPart:
    whole = answer.headers.get("content-type", "")
    media_type = whole.partition(";")[0].strip().lower()
    data, room = [], most
    async for chunk in answer.aiter_bytes():
        room -= len(chunk)
        if room < 0:
            raise PayloadTooLarge("the archive's answer is larger than the limits allow", field="source.study")
        hold.take(len(chunk))
        data.append(chunk)
    if data and media_type not in (accept.partition(";")[0], "application/json"):
        raise ArchiveUnavailable("the archive answered with another media type than was asked for")
    return RawPart(None, whole, b"".join(data))


def _described(data: bytes) -> Iterator[DescribedSeries]:
    """Yield what QIDO-RS answered (DICOM JSON, PS3.18 §F.2). Raises ArchiveUnavailable."""
    try:
        for item in orjson.loads(data or b"[]"):
            count = _value(item, _COUNT)
            yield DescribedSeries(
                _uid(_value(item, _SERIES_UID)),
                str(_value(item, _MODALITY) or ""),
                _text(_value(item, _DESCRIPTION)),
                _text(_value(item, _BODY_PART)),
                None if count is None else int(count),
            )
    except (ValueError, TypeError, AttributeError, LookupError):
        raise ArchiveUnavailable("the archive's list of series cannot be read") from None


def _uid(value: Any) -> str:
    if not isinstance(value, str) or not _UID.fullmatch(value):  # it becomes part of an address
        raise ValueError("no UID")
    return value


def _value(item: Any, tag: str) -> Any:
    values = item.get(tag, {}).get("Value")
    return values[0] if values else None


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
