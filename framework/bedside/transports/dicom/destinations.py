"""Every configured archive as something that delivers, or that studies are pulled from."""

from collections.abc import Awaitable, Callable, Iterator

from bedside.dicom_settings import DicomDestination, DicomSettings
from bedside.errors import DicomNotInstalled
from bedside.settings import LimitSettings, Settings
from bedside.transports.dicom.pull import ArchiveStudies
from bedside.transports.dicom.stow import StowDestination

Deliver = Callable[[str, int, Iterator[bytes]], Awaitable[None]]
"""``courier.Deliver``."""


def make_destinations(settings: DicomSettings, limits: LimitSettings) -> dict[str, Deliver]:
    """Return how to deliver, by the destination's name. Raises ConfigurationError, DicomNotInstalled."""
    return {name: _deliver(found, settings, limits) for name, found in settings.destinations.items()}


def make_studies(settings: Settings) -> dict[str, ArchiveStudies]:
    """Return how studies are pulled, by the source's name. Raises ConfigurationError."""
    sources, limits, retries = settings.dicom.sources, settings.limits, settings.references
    return {name: ArchiveStudies(source, limits, retries) for name, source in sources.items()}


def _deliver(destination: DicomDestination, settings: DicomSettings, limits: LimitSettings) -> Deliver:
    if destination.url:
        return StowDestination(destination)
    try:
        from bedside.transports.dicom.store_scu import StoreDestination  # noqa: PLC0415 - needs an extra
    except ModuleNotFoundError:
        raise DicomNotInstalled("C-STORE needs pip install 'bedside[dicom-network]'", field="dicom") from None
    return StoreDestination(destination, settings.ae_title, limits)
