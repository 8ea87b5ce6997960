"""Inputs from a real bucket (SeaweedFS): an object is a file, what lies below a name is a study."""

import logging
from typing import Any

import httpx
import pytest
from tests.integration.conftest import Store
from tests.unit.transports.dicom_world import maker

from bedside.bundle.contract import InputSpec
from bedside.codecs.dicom import files_of
from bedside.errors import (
    ArchiveUnavailable,
    BadParameter,
    ConfigurationError,
    PayloadTooLarge,
    ReferenceNotFound,
    TooManyInstances,
)
from bedside.reference_settings import ReferenceBucket, ReferenceSettings
from bedside.settings import LimitSettings
from bedside.transports.buckets import Bucket
from bedside.transports.references import BucketReference
from bedside.transports.room import Room
from bedside.types import RawPart

SPEC = InputSpec("image", "image")
PATIENT = "DOE^JANE"


def opened(url: str = "s3://models/research", **limits: int) -> Bucket:
    """Return the allowed part of the bucket."""
    settings = ReferenceBucket(url=url, timeout_seconds=5)
    return Bucket(settings, LimitSettings(**limits), ReferenceSettings(attempts=1))


async def read(path: str, url: str = "s3://models/research", **limits: int) -> RawPart:
    """Read what lies below the prefix."""
    with Room(1, 1 << 30, 1).hold("research") as hold:
        return await opened(url, **limits)(BucketReference(s3="research", path=path), SPEC, hold)


def put(client: Any, **objects: bytes) -> None:
    """Put objects below the allowed prefix, and a secret beside it."""
    for key, data in {**objects, "../research-secret/scan.nii.gz": b"secret"}.items():
        place = f"research/{key}" if not key.startswith("../") else key[3:]
        client.put_object(Bucket="models", Key=place, Body=data)


async def test_an_object_is_a_file(bucket: Any) -> None:
    """Its suffix tells the media type; with or without a prefix in the settings."""
    put(bucket, **{f"{PATIENT}/scan.nii.gz": b"scan"})
    assert await read(f"{PATIENT}/scan.nii.gz") == RawPart(None, "application/gzip", b"scan")
    assert (await read(f"research/{PATIENT}/scan.nii.gz", "s3://models")).data == b"scan"


async def test_what_lies_below_a_name_is_a_study(bucket: Any) -> None:
    """All of it, in the order of the keys; neither what only begins so, nor DICOMDIR, nor a console's empty folders."""
    files = maker.files(maker.series())
    study = {f"case/{'a/' if place % 2 else ''}{place}.dcm": data for place, data in enumerate(files)}
    put(bucket, **study, **{"case/DICOMDIR": b"x", "case/empty/": b"", "case-2/0.dcm": b"x", "case.json": b"{}"})
    assert sorted(map(bytes, files_of(await read("case"), LimitSettings()))) == sorted(files)


@pytest.mark.parametrize(
    "path", ["../research-secret/scan.nii.gz", "/case", "case//x", "case/", "./case", "case\\x", "case\0"]
)
async def test_paths_that_lead_elsewhere(bucket: Any, path: str) -> None:
    """Are refused by their form: some stores keep objects as files, and would follow them."""
    put(bucket)
    with pytest.raises(BadParameter) as caught:
        await read(path)
    assert caught.value.field == "source.path"


async def test_what_is_not_there(bucket: Any) -> None:
    """Is told as such; a bucket that is not there is the site's matter, and may come."""
    put(bucket)
    with pytest.raises(ReferenceNotFound) as caught:
        await read(f"{PATIENT}/scan.nii.gz")
    assert caught.value.field == "source.path"
    with pytest.raises(ArchiveUnavailable):
        await read("case", "s3://absent")


@pytest.mark.parametrize(
    ("limits", "error"),
    [({"body_bytes": 7}, PayloadTooLarge), ({"dicom_instances": 2}, TooManyInstances)],
)
async def test_no_more_is_read_than_a_request_may_hold(bucket: Any, limits: Any, error: type[Exception]) -> None:
    """Counted and added up before anything is fetched."""
    put(bucket, **{"case/1": b"1234", "case/2": b"1234", "case/3": b"1234"})
    with pytest.raises(error) as caught:
        await read("case", **limits)
    assert getattr(caught.value, "field", "") == "source.path"


async def test_an_object_that_is_too_large(bucket: Any) -> None:
    """Is left after the limit."""
    put(bucket, **{"scan.nii.gz": b"12345678"})
    assert (await read("scan.nii.gz", body_bytes=8)).data == b"12345678"
    with pytest.raises(PayloadTooLarge):
        await read("scan.nii.gz", body_bytes=7)


async def test_an_object_that_changes_meanwhile(bucket: Any) -> None:
    """Of two studies, none is made one: the attempt ends, and the next one lists anew."""
    put(bucket, **{"case/1": b"old", "case/2": b"old"})
    source = opened()
    listed = source._listed

    def then_changed(prefix: str) -> Any:
        yield from list(listed(prefix))
        put(bucket, **{"case/2": b"new"})

    source._listed = then_changed  # type: ignore[method-assign]
    with pytest.raises(ArchiveUnavailable), Room(1, 1 << 30, 1).hold("research") as hold:
        await source(BucketReference(s3="research", path="case"), SPEC, hold)


async def test_an_offer_takes_what_was_announced(bucket: Any) -> None:
    """Of that size and no other, without credentials; it is read as any object is."""
    put(bucket)
    url = opened().offer("5f.nii.gz", 4, 60)
    async with httpx.AsyncClient(trust_env=False) as caller:
        assert (await caller.put(url, content=b"12345")).status_code == httpx.codes.FORBIDDEN
        assert (await caller.put(url, content=b"scan")).status_code == httpx.codes.OK
    assert (await read("5f.nii.gz")).data == b"scan"


async def test_a_transfer_that_is_given_up(bucket: Any) -> None:
    """A job that is cancelled holds no thread until the end of a large object."""
    put(bucket, **{"scan.nii.gz": bytes(8 << 20)})
    source = opened()
    with Room(1, 1 << 30, 1).hold("research") as hold:
        assert source._get({"Key": "research/scan.nii.gz"}, None, hold)
    with pytest.raises(ArchiveUnavailable, match="given up"):
        source._get({"Key": "research/scan.nii.gz"}, None, hold)


async def test_a_store_with_a_certificate_of_the_hospitals_own(
    bucket: Any, s3: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AWS' library is told the authority as it always is; without, nothing is sent."""
    put(bucket, **{"scan.nii.gz": b"scan"})
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3.tls)
    with pytest.raises(ArchiveUnavailable, match="SSLError"):
        await read("scan.nii.gz")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(s3.authority))
    assert (await read("scan.nii.gz")).data == b"scan"


async def test_wrong_keys(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store's own code says what is wrong; the object's key stands nowhere."""
    put(bucket)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(ArchiveUnavailable, match="SignatureDoesNotMatch") as caught:
        await read(f"{PATIENT}.nii.gz")
    assert PATIENT not in str(caught.value)


async def test_no_key_is_told(bucket: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Neither by us nor, above debugging, by the library."""
    put(bucket, **{f"{PATIENT}/1.dcm": b"1"})
    caplog.set_level(logging.INFO)
    await read(PATIENT)
    with pytest.raises(ReferenceNotFound) as caught:
        await read(f"{PATIENT}/2.dcm")
    assert PATIENT not in caplog.text + repr(caught.value)


def test_patients_do_not_go_in_the_clear() -> None:
    """Unless the site says so."""
    address = {"url": "s3://models", "endpoint": "http://store.example"}
    with pytest.raises(ConfigurationError, match="clear"):
        Bucket(ReferenceBucket(**address), LimitSettings(), ReferenceSettings())
    Bucket(ReferenceBucket(**address, allow_http=True), LimitSettings(), ReferenceSettings())


def test_a_profile_that_is_not_there() -> None:
    """Is found out when the server starts."""
    with pytest.raises(ConfigurationError, match="ProfileNotFound"):
        Bucket(ReferenceBucket(url="s3://models", profile="nobody"), LimitSettings(), ReferenceSettings())


async def test_a_store_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job waits for it."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with pytest.raises(ArchiveUnavailable):
        await read("case")
