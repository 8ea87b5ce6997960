"""``POST /v1/uploads``: where to put an input that is too large to be sent."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import orjson
import pytest
from tests.unit.transports.fakes import Trail, make_world

from bedside.bootstrap.work import make_references
from bedside.errors import CallerLimitReached, ConfigurationError
from bedside.reference_settings import ReferenceSettings
from bedside.security.scopes import RETRIEVE
from bedside.settings import Settings
from bedside.transports.rest.app import create_app
from bedside.transports.uploads import Uploads
from bedside.types import Principal

pytest.importorskip("boto3", reason="pip install 'bedside[s3]'")

URL = "/v1/uploads"
BUCKETS = {"inbox": {"url": "s3://uploads/in", "endpoint": "https://s3.hospital.example"}}
REFERENCES: dict[str, Any] = {"uploads": "inbox", "upload_seconds": 300, "input_bytes": 1000, "buckets": BUCKETS}


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have credentials; an address is signed without the store."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "for-tests")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")


def client(
    *, may: bool = True, most: int = 100, audit: Trail | None = None
) -> AbstractAsyncContextManager[httpx.AsyncClient]:
    """Return a client of a server with a bucket, whose callers may use it."""
    world = make_world(references=REFERENCES | {"uploads_open": most}, limits={"body_bytes": 100}, audit=audit)
    references, uploads = make_references(world.settings, lambda _call: None)
    scopes = frozenset({"bedside.infer", *([RETRIEVE] if may else [])})

    async def authenticate(token: Any) -> Principal:
        return Principal(token, "issuer", scopes, 2e9)

    gate = replace(world.parts.gate, authenticate=authenticate)
    parts = replace(world.parts, references=references, uploads=uploads, gate=gate)
    return replace(world, app=create_app(parts)).client()


async def test_an_upload_is_offered() -> None:
    """For so many bytes, for so long, under a name that says the media type alone; the reference names it."""
    async with client() as caller:
        answers = [
            (await caller.post(URL, json={"bytes": 1000, "media_type": "application/gzip"})).json() for _ in range(2)
        ]
    first, second = answers
    address = urlsplit(first["url"])
    query = parse_qs(address.query)
    assert first["method"] == "PUT"
    assert first["source"]["s3"] == "inbox"
    assert address.path == f"/uploads/in/{first['source']['path']}"
    assert first["source"]["path"].endswith(".nii.gz")
    assert query["X-Amz-Expires"] == ["300"] == [str(first["expires_seconds"])]
    assert "content-length" in query["X-Amz-SignedHeaders"][0]
    assert first["source"]["path"] != second["source"]["path"]


async def test_the_audit_trail_tells_which_place_was_offered() -> None:
    """By the keyed hash of its reference, which a job that names it is recorded with; where none was, by nothing."""
    trail = Trail()
    async with client(audit=trail) as caller:
        offered = (await caller.post(URL, json={"bytes": 7})).json()
        await caller.post(URL, json={"bytes": 1001})
    hashes = [facts.get("input_hash") for _, _, facts in trail.kept]
    assert hashes == [orjson.dumps(offered["source"]).hex(), None]


async def test_a_caller_has_so_many_addresses_at_one_time() -> None:
    """Those of others are not counted with them; the answer tells when the next one is to be had."""
    async with client(most=2) as caller:
        answers = [await caller.post(URL, json={"bytes": 7}) for _ in range(3)]
        other = await caller.post(URL, json={"bytes": 7}, headers={"authorization": "Bearer other"})
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert 295 <= int(answers[-1].headers["retry-after"]) <= 300
    assert other.status_code == 200


def test_an_address_that_has_expired_makes_room() -> None:
    """And nothing is kept of it; a refusal costs no place."""

    class Signer:
        def offer(self, step: str, _size: int, _seconds: int) -> str:
            return step

    now = 0.0
    settings = ReferenceSettings(uploads_open=1, upload_seconds=300)
    signer: Any = Signer()
    uploads = Uploads("inbox", signer, lambda *_: None, settings, 1000, lambda: now)
    who = Principal("somebody", "issuer", frozenset(), 2e9)
    uploads.offer(who, 7, "image/png")
    for now, refused in ((299.5, True), (300.0, False), (300.5, True)):
        if refused:
            with pytest.raises(CallerLimitReached) as caught:
                uploads.offer(who, 7, "image/png")
            assert caught.value.retry_after_seconds == (1 if now < 300 else 300)
        else:
            uploads.offer(who, 7, "image/png")
    assert len(uploads._open) == 1


@pytest.mark.parametrize(
    ("document", "status", "field"),
    [
        ({"bytes": 1001}, 413, "bytes"),
        ({"bytes": 0}, 422, "bytes"),
        ({"bytes": "7"}, 422, "bytes"),
        ({"bytes": 7, "path": "../DOE^JANE"}, 422, "body"),
        ({"bytes": 7, "DOE^JANE": 1}, 422, "body"),
        ({}, 422, "bytes"),
    ],
)
async def test_what_is_not_offered(document: dict[str, Any], status: int, field: str) -> None:
    """More than would be read, nothing, and a name of the caller's own; values are not repeated."""
    async with client() as caller:
        answer = await caller.post(URL, json=document)
    assert (answer.status_code, answer.json()["field"]) == (status, field)
    assert "DOE" not in answer.text


async def test_without_the_scope_of_the_bucket() -> None:
    """Who may not have it read gets no place in it."""
    async with client(may=False) as caller:
        answer = await caller.post(URL, json={"bytes": 7})
    assert (answer.status_code, answer.json()["scope"]) == (403, RETRIEVE)


async def test_nothing_of_a_stranger_is_read() -> None:
    """A body is asked for once its caller is let in, and then up to 64 KiB."""
    asked = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal asked
        while asked < 1000:
            asked += 1
            yield b" " * 1024

    async with client() as caller:
        stranger = await caller.post(URL, content=endless(), headers={"authorization": ""})
        of_strangers, asked = asked, 0
        known = await caller.post(URL, content=endless())
    assert (stranger.status_code, of_strangers) == (401, 0)
    assert known.status_code == 413
    assert asked <= 65


async def test_a_body_that_is_too_large_is_told_the_way() -> None:
    """For an image; a record has no other way, and a server without a bucket knows none."""
    async with client() as caller:
        image = await caller.post("/v1/models/mask/predict", content=b"x" * 101, headers={"content-type": "image/png"})
    async with make_world(limits={"body_bytes": 100}).client() as caller:
        alone = await caller.post("/v1/models/mask/predict", content=b"x" * 101, headers={"content-type": "image/png"})
        nothing = await caller.post(URL, json={"bytes": 7})
    assert [answer.status_code for answer in (image, alone, nothing)] == [413, 413, 404]
    assert URL in image.json()["detail"]
    assert URL not in alone.json()["detail"]


def test_a_bucket_that_is_not_configured() -> None:
    """Ends the server at its start."""
    with pytest.raises(ConfigurationError) as caught:
        make_references(Settings(references={"uploads": "inbox"}), lambda _call: None)
    assert caught.value.field == "references.uploads"
