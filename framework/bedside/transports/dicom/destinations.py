"""Every configured archive as something that delivers."""

from collections.abc import Awaitable, Callable

from bedside.dicom_settings import DicomDestination, DicomSettings
from bedside.errors import DicomNotInstalled
from bedside.jobs.records import Job
from bedside.settings import LimitSettings
from bedside.transports.dicom.stow import StowDestination

Deliver = Callable[[Job, str, bytes], Awaitable[None]]
"""``courier.Deliver``."""


def make_destinations(settings: DicomSettings, limits: LimitSettings) -> dict[str, Deliver]:
    """Return how to deliver, by the destination's name. Raises ConfigurationError, DicomNotInstalled."""
    return {name: _deliver(found, settings, limits) for name, found in settings.destinations.items()}


def _deliver(destination: DicomDestination, settings: DicomSettings, limits: LimitSettings) -> Deliver:
    if destination.url:
        return StowDestination(destination)
    try:
        from bedside.transports.dicom.store_scu import StoreDestination  # noqa: PLC0415 - needs an extra
    except ModuleNotFoundError:
        raise DicomNotInstalled("C-STORE needs pip install 'bedside[dicom-network]'", field="dicom") from None
    return StoreDestination(destination, settings.ae_title, limits)
