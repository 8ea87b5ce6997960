"""``predict``: what comes in, in which form it may come, and what goes out."""

import gzip
import json
from typing import Any

import httpx
import nibabel
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.transports.fakes import RECORD_BODY, Wire, World, make_world

HEART = "/v1/models/heart/predict"
MASK = "/v1/models/mask/predict"
JSON = {"content-type": "application/json"}
FORM = {"content-type": "multipart/form-data; boundary=b"}


def volume() -> bytes:
    """Return a small NIfTI file."""
    return bytes(nibabel.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.eye(4)).to_bytes())


@pytest.fixture
def world() -> World:
    """One application."""
    return make_world()


async def post(world: World, path: str, content: bytes, **headers: str) -> httpx.Response:
    """Send a body."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    async with world.client() as client:
        return await client.post(path, content=content, headers=fields)


async def test_record_in_record_out(world: World) -> None:
    """The record comes back with the prediction, the probability and the accuracy."""
    answer = (await post(world, HEART, RECORD_BODY, content_type="application/json; charset=utf-8")).json()
    assert answer["age"] == 63
    assert answer["prediction"] == "present"
    assert answer["accuracy"] == 0.8


async def test_version_in_the_path(world: World) -> None:
    """A version may be named."""
    assert (await post(world, "/v1/models/heart/versions/1.0.0/predict", RECORD_BODY, **JSON)).status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b"", 400, "body"),
        (b"{", 400, "body"),
        (b"[1]", 400, "body"),
        (b'{"age": NaN, "chol": 1}', 400, "body"),
        (b'{"age": 1, "age": 2, "chol": 1}', 400, "age"),
        (b'{"age": 1}', 422, "chol"),
        (b'{"age": null, "chol": 1}', 422, "age"),
        (b'{"age": "1", "chol": 1}', 422, "age"),
        (b'{"age": true, "chol": 1}', 422, "age"),
        (b'{"age": 1, "chol": 1, "sex": 1}', 422, "sex"),
        (b'{"age": 1e300, "chol": 1}', 422, "age"),
        (b"[" * 100_000, 400, "body"),
    ],
)
async def test_bad_records(world: World, body: bytes, status: int, field: str) -> None:
    """Each gets a 4xx that names the field, and the model does not run."""
    response = await post(world, HEART, body, **JSON)
    assert (response.status_code, response.json()["field"]) == (status, field)
    assert response.headers["content-type"] == "application/problem+json"
    assert world.model("heart").executor.runs == 0
    assert world.sink.only.error is not None


async def test_file_in_file_out(world: World) -> None:
    """A NIfTI file is answered with one on its grid."""
    response = await post(world, MASK, volume(), content_type="application/x-nifti")
    assert response.headers["content-type"] == "application/gzip"
    assert "mask.nii.gz" in response.headers["content-disposition"]
    image = nibabel.Nifti1Image.from_bytes(gzip.decompress(response.content))
    assert image.shape == (2, 3, 4)
    assert world.sink.only.input_bytes == len(volume())


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("application/json", "application/json"),
        ("application/json;q=0.1, application/gzip", "application/gzip"),
        ("text/html, */*;q=0.1", "application/gzip"),
        ("multipart/mixed", "multipart/mixed"),
    ],
)
async def test_accept_chooses(world: World, accept: str, media_type: str) -> None:
    """Content negotiation (RFC 9110 §12.5.1)."""
    response = await post(world, MASK, volume(), content_type="application/x-nifti", accept=accept)
    assert response.headers["content-type"].partition(";")[0] == media_type


async def test_nothing_acceptable(world: World) -> None:
    """406 tells what there is, before the model runs."""
    response = await post(world, MASK, volume(), content_type="application/x-nifti", accept="text/html")
    assert response.status_code == 406
    assert "application/gzip" in response.json()["available"]
    assert world.model("mask").executor.runs == 0


@pytest.mark.parametrize("media_type", ["application/json", "application/x-www-form-urlencoded", "image/png"])
async def test_media_types_that_the_input_does_not_take(world: World, media_type: str) -> None:
    """415 says which ones it takes."""
    response = await post(world, MASK, b"{}", content_type=media_type)
    assert response.status_code == 415
    assert "application/x-nifti" in response.json()["detail"]


async def test_bytes_without_a_type_speak_for_themselves(world: World) -> None:
    """Curl --data-binary with an empty Content-Type works."""
    assert (await post(world, MASK, volume(), content_type="application/octet-stream")).status_code == 200


async def test_http_compression_is_refused(world: World) -> None:
    """415, with the way to send it (RFC 9110 §15.5.16: Accept-Encoding)."""
    body = gzip.compress(RECORD_BODY)
    response = await post(world, HEART, body, content_type="application/json", content_encoding="gzip")
    assert response.status_code == 415
    assert response.headers["accept-encoding"] == "identity"
    identity = await post(world, HEART, RECORD_BODY, content_type="application/json", content_encoding="identity")
    assert identity.status_code == 200


async def test_a_form_with_a_file(world: World) -> None:
    """One field per input; its file name is dropped."""
    async with world.client() as client:
        files = {"image": ("DOE^JOHN.nii", volume(), "application/x-nifti")}
        response = await client.post(MASK, files=files, headers={"accept": "application/json"})
    assert response.status_code == 200
    assert b"DOE" not in response.content


async def test_a_form_with_a_record(world: World) -> None:
    """A JSON part is a record; a part without a type is looked at."""
    async with world.client() as client:
        typed = await client.post(HEART, files={"features": ("r.json", RECORD_BODY, "application/json")})
    assert typed.json()["prediction"] == "present"
    untyped = form(b'Content-Disposition: form-data; name="features"', RECORD_BODY)
    assert (await post(world, HEART, untyped, **FORM)).status_code == 200


def form(head: bytes, body: bytes, times: int = 1) -> bytes:
    """Return a form with boundary ``b``."""
    return (b"--b\r\n" + head + b"\r\n\r\n" + body + b"\r\n") * times + b"--b--\r\n"


FEATURES = b'Content-Disposition: form-data; name="features"'


@pytest.mark.parametrize(
    ("content_type", "body", "status", "field"),
    [
        ("multipart/form-data", form(FEATURES, b"{}"), 400, "Content-Type"),
        ("multipart/form-data; boundary=" + "x" * 71, form(FEATURES, b"{}"), 400, "Content-Type"),
        ('multipart/form-data; boundary="\n"', form(FEATURES, b"{}"), 400, "Content-Type"),
        (FORM["content-type"], b"", 400, "body"),
        (FORM["content-type"], b"--b--\r\n", 422, "body"),
        (FORM["content-type"], form(FEATURES, RECORD_BODY)[:-10], 400, "body"),
        (FORM["content-type"], form(FEATURES, RECORD_BODY, 2), 400, "features"),
        (FORM["content-type"], form(b'Content-Disposition: form-data; name="DOE"', b"x"), 422, "part name"),
        (FORM["content-type"], form(b'Content-Disposition: form-data; filename="a"', b"x"), 422, "part name"),
        (FORM["content-type"], form(b"Content-Type: text/plain", b"x"), 400, "body"),
        (FORM["content-type"], form(FEATURES + b"\r\nX: " + b"x" * 10_000, b"{}"), 413, "body"),
        (FORM["content-type"], form(FEATURES + b"\r\nX: y" * 20, b"{}"), 413, "body"),
    ],
)
async def test_bad_forms(world: World, content_type: str, body: bytes, status: int, field: str) -> None:
    """Each gets a 4xx that names the place, and the model does not run."""
    wire = Wire(HEART, headers={"content-type": content_type, "content-length": str(len(body))}, chunks=[body])
    await wire.drive(world.app)
    assert (wire.status, world.sink.only.error and world.sink.only.error.field) == (status, field), wire.body
    assert world.model("heart").executor.runs == 0
    assert b"DOE" not in wire.body


async def test_a_form_in_pieces(world: World) -> None:
    """Delimiters that are split between chunks are found."""
    body = form(FEATURES + b"\r\nContent-Type: application/json", RECORD_BODY)
    chunks = [body[at : at + 3] for at in range(0, len(body), 3)]
    wire = Wire(HEART, headers={**FORM, "transfer-encoding": "chunked"}, chunks=chunks)
    assert (await wire.drive(world.app)).status == 200


async def test_a_form_beyond_the_limit() -> None:
    """limits.body_bytes holds for forms."""
    world = make_world(limits={"body_bytes": 100})
    wire = Wire(HEART, headers={**FORM, "transfer-encoding": "chunked"}, chunks=[form(FEATURES, b"x" * 200)])
    assert (await wire.drive(world.app)).status == 413


FRAGMENTS = st.sampled_from(
    [
        *(b"--b\r\n", b"--b--\r\n", b"\r\n", b"--b", b"\n", b"\r", FEATURES + b"\r\n\r\n", RECORD_BODY),
        *(b'Content-Disposition: form-data; name="', b'"', b"Content-Type: application/json\r\n", b";", b"\x00\xff"),
        *(b"Content-Disposition: form-data; name=\"%22\"; filename*=utf-8''%00\r\n", b": :\r\n", b"\xc3("),
    ]
)


@settings(max_examples=300, suppress_health_check=list(HealthCheck))
@given(st.lists(FRAGMENTS | st.binary(max_size=20), max_size=12), st.integers(1, 50))
async def test_forms_never_break_the_server(world: World, pieces: list[bytes], size: int) -> None:
    """Whatever comes, one after the other: 200 or 4xx, accounted for once."""
    world.sink.calls.clear()
    body = b"".join(pieces)
    chunks = [body[at : at + size] for at in range(0, len(body), size)] or [b""]
    wire = Wire(HEART, headers={**FORM, "content-length": str(len(body))}, chunks=chunks)
    await wire.drive(world.app)
    assert wire.status == 200 or 400 <= wire.status < 500
    assert len(world.sink.calls) == 1


JSONS: Any = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["age", "chol", "x"]), inner),
    max_leaves=6,
)


@settings(max_examples=200, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(st.sampled_from(["age", "chol", "x", "ÄÖ"]), JSONS) | JSONS)
async def test_records_never_break_the_server(world: World, record: Any) -> None:
    """Whatever JSON comes, one after the other: 200 or 4xx."""
    world.sink.calls.clear()
    body = json.dumps(record).encode()  # json, not orjson: it writes NaN and lone surrogates
    wire = await Wire(HEART, headers={**JSON, "content-length": str(len(body))}, chunks=[body]).drive(world.app)
    assert wire.status == 200 or 400 <= wire.status < 500
    assert len(world.sink.calls) == 1
