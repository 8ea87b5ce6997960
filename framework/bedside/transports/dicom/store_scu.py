"""Results to an archive by C-STORE (DICOM PS3.4 §B), for archives without DICOMweb."""

import asyncio
import io
from collections.abc import Sequence
from typing import Any

from pynetdicom import AE
from pynetdicom.association import Association

from bedside.codecs.dicom import RELATED, files_of
from bedside.codecs.dicom.library import pydicom
from bedside.dicom_settings import DicomDestination
from bedside.errors import DeliveryFailed
from bedside.jobs.records import Job
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

    async def __call__(self, job: Job, media_type: str, data: bytes) -> None:  # noqa: ARG002 - the signature is Deliver's
        """Return once the archive has confirmed every instance. Raises DeliveryFailed.

        What a failed attempt has stored is sent again with the same SOP Instance UIDs.
        """
        if not media_type.startswith(RELATED):
            raise DeliveryFailed("only DICOM results are delivered")
        await asyncio.to_thread(self._send, RawPart(None, media_type, data))

    def _send(self, result: RawPart) -> None:
        instances = [pydicom.dcmread(io.BytesIO(file)) for file in files_of(result, self._limits)]
        association = self._associate(sorted({instance.SOPClassUID for instance in instances}))
        try:
            for instance in instances:
                _store(association, instance)
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
