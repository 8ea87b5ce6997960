"""Results to an archive by C-STORE (DICOM PS3.4 §B), for archives without DICOMweb."""

import asyncio
import io
from collections.abc import Iterator, Sequence
from typing import Any

from pynetdicom import AE
from pynetdicom.association import Association

from bedside.codecs.dicom import RELATED, files_of, received
from bedside.codecs.dicom.library import pydicom
from bedside.dicom_settings import DicomDestination
from bedside.errors import DeliveryFailed
from bedside.settings import LimitSettings
from bedside.transports.dicom.tls import client_context
from bedside.types import RawPart

SYNTAXES = (pydicom.uid.ExplicitVRLittleEndian, pydicom.uid.ImplicitVRLittleEndian)
"""Transfer syntaxes that are proposed; results are written in the first."""

_SUCCESS = 0x0000
_DUPLICATE = 0x0111  # PS3.7 §C.5.9: the archive has this very instance
_WARNINGS = range(0xB000, 0xC000)  # PS3.4 table B.2-1: stored, with a remark


class StoreDestination:
    """Implements ``courier.Deliver``.

    Args:
        settings: whom to call.
        ae_title: our own title.
        limits: bounds on what is read back from a result.
    """

    def __init__(self, settings: DicomDestination, ae_title: str, limits: LimitSettings) -> None:
        self._settings = settings
        self._ae_title = ae_title
        self._limits = limits
        self._tls = (client_context(settings.ca_certificates), settings.host) if settings.tls else None

    async def __call__(self, media_type: str, size: int, chunks: Iterator[bytes]) -> None:  # noqa: ARG002 - Deliver's signature
        """Return once the archive has confirmed every instance. Raises DeliveryFailed.

        What a failed attempt has stored is sent again with the same SOP Instance UIDs.
        """
        if not media_type.startswith(RELATED):
            raise DeliveryFailed("only DICOM results are delivered")
        await asyncio.to_thread(self._send, media_type, chunks)

    def _send(self, media_type: str, chunks: Iterator[bytes]) -> None:
        files = files_of(RawPart(None, media_type, b"".join(chunks)), self._limits)
        association = self._associate(sorted({received(file).sop_class for file in files}))
        try:
            for file in files:  # parsed one at a time: the objects of a result may be as large as its study
                _store(association, pydicom.dcmread(io.BytesIO(file)))
        finally:
            association.release()

    def _associate(self, classes: Sequence[str]) -> Association:
        settings = self._settings
        ae = AE(ae_title=self._ae_title)
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = ae.connection_timeout = settings.timeout_seconds
        for sop_class in classes:
            ae.add_requested_context(sop_class, list(SYNTAXES))
        association = ae.associate(settings.host, settings.port, ae_title=settings.ae_title, tls_args=self._tls)
        if not association.is_established:
            raise DeliveryFailed("the archive did not accept the association")
        return association


def _store(association: Association, instance: Any) -> None:
    try:
        status = association.send_c_store(instance)
    except (ValueError, RuntimeError) as error:  # no accepted presentation context, or the association has ended
        raise DeliveryFailed("the archive takes no such object, or has hung up") from error
    code = status.get("Status", None)
    if code not in (_SUCCESS, _DUPLICATE) and code not in _WARNINGS:
        raise DeliveryFailed("the archive has not stored every instance")
