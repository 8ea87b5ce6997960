"""C-STORE and C-ECHO SCP (DICOM PS3.4 §A, §B): what modalities and archives send to.

A sender is told "success" when the instance is on disk, and not before.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from pynetdicom import AE, _config, evt
from pynetdicom.sop_class import Verification

from bedside.codecs.dicom import received
from bedside.dicom_settings import DicomSettings
from bedside.errors import BedsideError, ConfigurationError, InvalidTag
from bedside.observability.accounting import slug
from bedside.observability.events import Event
from bedside.observability.logging import get_logger
from bedside.transports.dicom.conformance import ACCOMPANYING, PROCESSED, TRANSFER_SYNTAXES
from bedside.transports.dicom.inbox import Inbox
from bedside.transports.dicom.tls import server_context
from bedside.transports.intake import failure_reason

_SUCCESS = 0x0000

_log = get_logger("bedside.dicom")

# Its messages quote titles, addresses and UIDs; what matters is logged here, in our own words. Without
# the handlers that write them, receiving takes a quarter less of a processor.
logging.getLogger("pynetdicom").setLevel(logging.CRITICAL + 1)
_config.LOG_HANDLER_LEVEL = "none"


class StoreScp:
    """A ``lifecycle.Door``: listens while models load, and ends with the server.

    Args:
        inbox: where instances go.
        settings: port, AE titles, TLS, bounds.
        on_listening: told the address once the socket listens, with the port that was taken for port 0.
    """

    def __init__(
        self, inbox: Inbox, settings: DicomSettings, on_listening: Callable[[str], None] = lambda _address: None
    ) -> None:
        self._inbox = inbox
        self._settings = settings
        self._on_listening = on_listening
        self._ae: AE | None = None

    async def open(self) -> None:
        """Listen. Raises ConfigurationError."""
        await asyncio.to_thread(self._listen)

    async def close(self, seconds: float | None) -> None:  # noqa: ARG002 - what was not confirmed is sent again
        """End: associations are aborted, and senders repeat what they were not told to be stored."""
        if self._ae is not None:
            await asyncio.to_thread(self._ae.shutdown)

    def _listen(self) -> None:
        settings, ae = self._settings, _application_entity(self._settings)
        context = server_context(settings)
        handlers: list[Any] = [(evt.EVT_C_STORE, self._store)]
        try:
            server = ae.start_server(
                (settings.host, settings.port or 0), block=False, evt_handlers=handlers, ssl_context=context
            )
        except OSError as error:
            raise ConfigurationError(
                f"cannot listen on {settings.host}:{settings.port} for DICOM", field="dicom.port"
            ) from error
        self._ae = ae
        scheme = "dicom" if context is None else "dicoms"
        self._on_listening(f"{scheme}://{settings.host}:{server.server_address[1]}")

    def _store(self, event: Any) -> int:
        """Answer one C-STORE request (PS3.7 §9.1.1) with its status."""
        try:
            instance = received(event.encoded_dataset())
            if instance.uid != event.request.AffectedSOPInstanceUID:
                raise InvalidTag("SOP Instance UID of the command and of the data set differ")
            self._inbox.keep(event.assoc.requestor.ae_title.strip(), instance)
        except BedsideError as error:
            _log.warning(Event.INSTANCE_REFUSED, error_code=slug(type(error).__name__))
            return failure_reason(error)
        return _SUCCESS


def _application_entity(settings: DicomSettings) -> AE:
    ae = AE(ae_title=settings.ae_title)
    ae.require_called_aet = True
    ae.require_calling_aet = list(settings.calling_ae_titles)
    ae.maximum_associations = settings.associations
    ae.maximum_pdu_size = settings.pdu_bytes
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = settings.idle_seconds
    ae.add_supported_context(Verification)
    for sop_class in (*PROCESSED, *ACCOMPANYING):
        ae.add_supported_context(sop_class, list(TRANSFER_SYNTAXES))
    return ae
