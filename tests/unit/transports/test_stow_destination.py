"""Results to an archive over HTTP: confirmed means stored, all else is tried again."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson
import pytest
from tests.loopback import Handler, http_server
from tests.unit.observability.test_tracing import PARENT

from bedside.dicom_settings import DicomDestination
from bedside.errors import ConfigurationError, DeliveryFailed
from bedside.observability.tracing import SpanKind, Tracer
from bedside.transports.dicom.stow import StowDestination

RESULT = ('multipart/related; type="application/dicom"; boundary=x', b"--x\r\n\r\nmask\r\n--x--\r\n")


@dataclass
class Archive:
    """An HTTP server that answers as it is told, and keeps what it got."""

    status: int = 200
    body: bytes = b"{}"
    got: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    url: str = ""

    def failing(self, status: int, *reasons: int) -> None:
        """Answer that instances failed."""
        items = [{"00081197": {"vr": "US", "Value": [reason]}} for reason in reasons]
        self.status, self.body = status, orjson.dumps({"00081198": {"vr": "SQ", "Value": items}})


@pytest.fixture
def archive() -> Iterator[Archive]:
    """Run an archive on a free port."""
    kept = Archive()

    class Stow(Handler):
        def answer(self) -> None:
            kept.got.append((self.path, self.fields, self.content()))
            self.reply(kept.status, kept.body)

    with http_server(Stow) as url:
        kept.url = f"{url}/dicom-web/"
        yield kept


async def deliver(archive: Archive, **settings: Any) -> None:
    """Deliver the result."""
    destination = StowDestination(DicomDestination(url=archive.url, **settings))
    media_type, data = RESULT
    await destination(media_type, len(data), iter([data[:9], data[9:]]))


async def test_a_result_goes_out_as_it_is(archive: Archive) -> None:
    """Byte for byte, to /studies, with the credentials."""
    await deliver(archive, username="bedside", password="secret")
    ((path, headers, body),) = archive.got
    assert (path, body, headers["content-type"]) == ("/dicom-web/studies", RESULT[1], RESULT[0])
    assert headers["authorization"] == "Basic YmVkc2lkZTpzZWNyZXQ="


async def test_the_archive_is_told_the_trace(archive: Archive) -> None:
    """Where the result belongs to one."""
    await deliver(archive)
    with Tracer().span("deliver ct", PARENT, SpanKind.CLIENT):
        await deliver(archive)
    assert [headers.get("traceparent") for _, headers, _ in archive.got] == [None, str(PARENT)]


async def test_a_token_is_sent(archive: Archive) -> None:
    """For archives behind an OIDC proxy."""
    await deliver(archive, token="t0ken")
    assert archive.got[0][1]["authorization"] == "Bearer t0ken"


@pytest.mark.parametrize(
    ("status", "reasons"), [(200, ()), (202, ()), (409, (0x0111,)), (202, (0x0111, 0x0111))], ids=str
)
async def test_stored_is_stored(archive: Archive, status: int, reasons: tuple[int, ...]) -> None:
    """An empty sequence of failures is none (Orthanc sends one), and what is there already is there."""
    archive.failing(status, *reasons)
    if (status, reasons) == (200, ()):
        archive.body = b'{"00081198": {"vr": "SQ"}}'
    await deliver(archive)
    assert len(archive.got) == 1


@pytest.mark.parametrize(
    ("status", "reasons"),
    [(200, (0xA700,)), (202, (0x0111, 0xA700)), (409, ()), (401, ()), (500, ()), (302, ())],
    ids=str,
)
async def test_not_stored_is_tried_again(archive: Archive, status: int, reasons: tuple[int, ...]) -> None:
    """The courier hears of it."""
    archive.failing(status, *reasons)
    with pytest.raises(DeliveryFailed):
        await deliver(archive)


async def test_200_without_details_is_enough(archive: Archive) -> None:
    """It says that all were stored."""
    archive.body = b"<html>"
    await deliver(archive)
    assert len(archive.got) == 1


async def test_202_without_details_is_not(archive: Archive) -> None:
    """Something may have failed, and nobody says what."""
    archive.status, archive.body = 202, b"<html>"
    with pytest.raises(DeliveryFailed):
        await deliver(archive)


async def test_an_archive_that_is_away(archive: Archive) -> None:
    """No connection is an error like any other."""
    archive.url = "http://127.0.0.1:1/dicom-web"
    with pytest.raises(httpx.TransportError):
        await deliver(archive)


async def test_only_dicom_is_delivered(archive: Archive) -> None:
    """A job whose answer is JSON has nothing for an archive."""
    destination = StowDestination(DicomDestination(url=archive.url))
    with pytest.raises(DeliveryFailed):
        await destination("application/json", 2, iter([b"{}"]))
    assert not archive.got


def test_patients_do_not_travel_in_the_clear() -> None:
    """Unless the site has said so."""
    with pytest.raises(ConfigurationError):
        StowDestination(DicomDestination(url="http://pacs.example/dicom-web"))
    StowDestination(DicomDestination(url="http://pacs.example/dicom-web", allow_http=True))
    StowDestination(DicomDestination(url="https://pacs.example/dicom-web"))


def test_authorities_must_be_readable(tmp_path: Any) -> None:
    """A file that is no certificate is found at start-up."""
    file = tmp_path / "ca.pem"
    file.write_text("nothing")
    with pytest.raises(ConfigurationError):
        StowDestination(DicomDestination(url="https://pacs.example", ca_certificates=file))
