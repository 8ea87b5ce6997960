"""Where what is read and delivered goes: to the configured address, by no way that others read along."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.unit.transports.web_archive import Answer, WebArchive, web_archive

from bedside.bundle.contract import InputSpec
from bedside.cli.server import connected
from bedside.dicom_settings import DicomSource
from bedside.errors import ArchiveUnavailable
from bedside.reference_settings import ReferenceBucket, ReferenceSettings
from bedside.settings import LimitSettings
from bedside.transports.buckets import Bucket
from bedside.transports.dicom.pull import ArchiveStudies
from bedside.transports.references import BucketReference, DicomwebReference
from bedside.transports.room import Room

SPEC = InputSpec("image", "image")
ONCE = ReferenceSettings(attempts=1)
SERIES = Answer(media_type="multipart/related; type=application/dicom; boundary=cut", body=b"x")
Ask = Callable[[WebArchive], Awaitable[Any]]


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"ACCESS_KEY_ID": "x", "SECRET_ACCESS_KEY": "x", "DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    for name in ("no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


async def of_an_archive(server: WebArchive) -> Any:
    """Take a series."""
    studies = ArchiveStudies(DicomSource(url=server.url, token="secret"), LimitSettings(), ONCE)
    with Room(1, 1 << 20, 1).hold("pacs") as hold:
        return await studies(DicomwebReference(dicomweb="pacs", study="1.2", series="1.2.3"), SPEC, hold)


async def of_a_bucket(server: WebArchive) -> Any:
    """Take an object."""
    settings = ReferenceBucket(url="s3://models", endpoint=server.url.removesuffix("/dicom-web/"))
    with Room(1, 1 << 20, 1).hold("research") as hold:
        bucket = Bucket(settings, LimitSettings(), ONCE)
        return await bucket(BucketReference(s3="research", path="scan.nii.gz"), SPEC, hold)


async def of_the_command_line(server: WebArchive) -> Any:
    """Ask with a token."""
    with connected(server.url, "secret", None, 10) as client:
        return client.get("").raise_for_status()


@pytest.mark.parametrize("ask", [of_an_archive, of_a_bucket, of_the_command_line])
async def test_no_proxy_gets_what_stays_on_this_machine(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """``http://`` is allowed on loopback as nobody else reads it; a site's HTTP_PROXY would get patients and tokens."""
    with web_archive(lambda _: SERIES) as server, web_archive(lambda _: SERIES) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        await ask(server)
    assert server.asked
    assert not proxy.asked


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("ask", [of_an_archive, of_a_bucket])
async def test_redirects_lead_nowhere(ask: Ask, status: int) -> None:
    """Credentials and patients' UIDs go to the configured address alone, and it is not asked again and again."""
    with web_archive(lambda _: SERIES) as elsewhere:
        there = Answer(status, fields=(("Location", f"{elsewhere.url}latest/meta-data"),))
        with web_archive(lambda _: there) as server, pytest.raises(ArchiveUnavailable):
            await ask(server)
    assert not elsewhere.asked
    assert len(server.asked) <= 2
