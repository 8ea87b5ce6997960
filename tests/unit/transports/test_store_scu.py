"""Results to an archive by C-STORE, over a real association with an archive that answers as it is told."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.unit.transports.dicom_world import RELATED, maker, related

from bedside.dicom_settings import DicomDestination, DicomSettings
from bedside.errors import DeliveryFailed
from bedside.settings import LimitSettings
from bedside.transports.dicom.destinations import make_destinations
from bedside.transports.dicom.stow import StowDestination

pydicom = pytest.importorskip("pydicom", reason="pip install 'bedside[dicom]'")
pynetdicom = pytest.importorskip("pynetdicom", reason="pip install 'bedside[dicom-network]'")

RESULT = (f"{RELATED}; boundary=cut", related(maker.files(maker.series())))


@dataclass
class Archive:
    """A C-STORE SCP."""

    port: int = 0
    statuses: list[int] = field(default_factory=list)
    got: list[str] = field(default_factory=list)
    callers: set[str] = field(default_factory=set)

    def store(self, event: Any) -> int:
        """Answer with the next status, success where there is none."""
        self.got.append(str(event.request.AffectedSOPInstanceUID))
        self.callers.add(event.assoc.requestor.ae_title.strip())
        return self.statuses.pop(0) if self.statuses else 0


@pytest.fixture
def archive() -> Iterator[Archive]:
    """Run an archive that takes CT images."""
    archive = Archive()
    ae = pynetdicom.AE(ae_title="ARCHIVE")
    ae.require_called_aet = True
    ae.add_supported_context(maker.CT)
    handlers = [(pynetdicom.evt.EVT_C_STORE, archive.store)]
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    archive.port = server.server_address[1]
    yield archive
    ae.shutdown()


async def deliver(port: int, result: tuple[str, bytes] = RESULT, called: str = "ARCHIVE") -> None:
    """Deliver a result."""
    pacs = DicomDestination(ae_title=called, host="127.0.0.1", port=port, timeout_seconds=10)
    settings = DicomSettings(destinations={"pacs": pacs})
    await make_destinations(settings, LimitSettings())["pacs"](result[0], len(result[1]), iter([result[1]]))


async def test_every_instance_is_stored(archive: Archive) -> None:
    """Under our own AE title."""
    await deliver(archive.port)
    assert sorted(archive.got) == [f"{maker.SERIES}.{number}" for number in range(1, 5)]
    assert archive.callers == {"BEDSIDE"}


@pytest.mark.parametrize("status", [0xB000, 0xB007, 0x0111], ids=hex)
async def test_stored_with_a_remark_is_stored(archive: Archive, status: int) -> None:
    """Coercion, and what the archive has already."""
    archive.statuses = [status]
    await deliver(archive.port)
    assert len(archive.got) == 4


async def test_a_partial_failure_is_tried_again_with_the_same_uids(archive: Archive) -> None:
    """The archive keeps one of each."""
    archive.statuses = [0, 0xA700]
    with pytest.raises(DeliveryFailed):
        await deliver(archive.port)
    await deliver(archive.port)
    assert len(archive.got) == 6
    assert len(set(archive.got)) == 4


async def test_an_archive_that_takes_no_such_object(archive: Archive) -> None:
    """No presentation context is accepted."""
    other = related(maker.files(maker.mr()))
    with pytest.raises(DeliveryFailed):
        await deliver(archive.port, (RESULT[0], other))
    assert not archive.got


async def test_an_archive_that_is_not_called_so(archive: Archive) -> None:
    """The association is rejected."""
    with pytest.raises(DeliveryFailed):
        await deliver(archive.port, called="OTHER")


async def test_an_archive_that_is_away(archive: Archive) -> None:
    """Nobody listens."""
    with pytest.raises(DeliveryFailed):
        await asyncio.wait_for(deliver(1), 30)


async def test_only_dicom_is_delivered(archive: Archive) -> None:
    """A job whose answer is JSON has nothing for an archive."""
    with pytest.raises(DeliveryFailed):
        await deliver(archive.port, ("application/json", b"{}"))


def test_a_url_is_delivered_to_by_stow() -> None:
    """Which way it is, the settings say."""
    settings = DicomSettings.model_validate({"destinations": {"web": {"url": "https://pacs.example"}}})
    assert isinstance(make_destinations(settings, LimitSettings())["web"], StowDestination)
