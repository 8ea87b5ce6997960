"""Every bad input gets a 4xx problem that names the field, from the real server, and the server goes on."""

import gzip
import io
import json
from dataclasses import dataclass
from typing import Any

import httpx
import nibabel
import numpy as np
import pytest
from PIL import Image
from tests.acceptance.conftest import APPS, Served

from bedside.bundle.golden import read_golden
from bedside.types import RawRecord

JSON, GZIP, PNG = "application/json", "application/gzip", "image/png"


def _record(**changes: Any) -> bytes:
    item = read_golden(APPS / "heart_disease")[0].raw_inputs()[0]
    assert isinstance(item, RawRecord)
    values = {**item.values, **changes}
    return json.dumps({name: value for name, value in values.items() if value != "drop"}).encode()


def _nifti(array: np.ndarray[Any, Any]) -> bytes:
    return gzip.compress(nibabel.Nifti1Image(array, np.eye(4)).to_bytes())


def _png(size: tuple[int, int] = (64, 64)) -> bytes:
    stream = io.BytesIO()
    Image.new("L", size, 128).save(stream, "PNG")
    return stream.getvalue()


VOLUME = np.random.default_rng(0).normal(size=(20, 20, 20)).astype(np.float32)
NOT_A_NUMBER = VOLUME.copy()
NOT_A_NUMBER[3, 3, 3] = np.nan


@dataclass(frozen=True)
class Bad:
    """One bad request and what must come back."""

    name: str
    model: str
    media: str
    body: bytes
    status: int
    field: str | None


BAD = [
    Bad("feature_missing", "heart_disease", JSON, _record(chol="drop"), 422, "chol"),
    Bad("feature_unknown", "heart_disease", JSON, _record(cholesterol=1), 422, None),
    Bad("feature_text", "heart_disease", JSON, _record(age="old"), 422, "age"),
    Bad("feature_boolean", "heart_disease", JSON, _record(sex=True), 422, "sex"),
    Bad("feature_list", "heart_disease", JSON, _record(age=[63]), 422, "age"),
    Bad("feature_of_no_code", "heart_disease", JSON, _record(cp=9), 422, "cp"),
    Bad("feature_overflowing", "heart_disease", JSON, _record(chol=1e300), 422, "chol"),
    Bad("feature_without_finite_answer", "heart_disease", JSON, _record(ca=-3.4e38), 422, "ca"),
    Bad("record_with_nan", "heart_disease", JSON, _record(age="X").replace(b'"X"', b"NaN"), 400, None),
    Bad("record_cut_off", "heart_disease", JSON, _record()[:-5], 400, None),
    Bad("record_a_list", "heart_disease", JSON, b"[1, 2]", 400, None),
    Bad("record_empty", "heart_disease", JSON, b"", 400, None),
    Bad("record_wrong_media_type", "heart_disease", PNG, _png(), 415, None),
    Bad("volume_cut_off", "hippocampus_mr", GZIP, _nifti(VOLUME)[:-2000], 400, "image"),
    Bad("volume_not_gzip", "hippocampus_mr", GZIP, b"\x00" * 400, 400, "image"),
    Bad("volume_two_dimensional", "hippocampus_mr", GZIP, _nifti(VOLUME[:, :, 0]), 422, "image"),
    Bad("volume_two_channels", "hippocampus_mr", GZIP, _nifti(np.stack([VOLUME, VOLUME], -1)), 422, "image"),
    Bad("volume_with_nan", "hippocampus_mr", GZIP, _nifti(NOT_A_NUMBER), 422, "image"),
    Bad("volume_of_a_whole_head", "hippocampus_mr", GZIP, _nifti(np.ones((200, 20, 20), np.int16)), 422, "image"),
    Bad("volume_complex", "hippocampus_mr", GZIP, _nifti(VOLUME.astype(np.complex64)), 422, "image"),
    Bad("volume_bomb", "hippocampus_mr", GZIP, gzip.compress(bytes(65 << 20)), 413, "image"),
    Bad("volume_as_picture", "hippocampus_mr", PNG, _png(), 415, "image"),
    Bad("picture_cut_off", "chest_xray_pneumonia", PNG, _png()[:-20], 400, "image"),
    Bad("picture_is_text", "chest_xray_pneumonia", PNG, b"hello", 400, "image"),
    Bad("picture_is_record", "chest_xray_pneumonia", JSON, b"{}", 415, None),
    Bad("body_too_large", "chest_xray_pneumonia", PNG, bytes(9 << 20), 413, None),
]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_bad_input_is_refused_with_the_field_named(client: httpx.Client, bad: Bad) -> None:
    """A bad request gets an RFC 9457 problem, not an answer and not a 500."""
    response = client.post(f"/v1/models/{bad.model}/predict", content=bad.body, headers={"Content-Type": bad.media})

    problem = response.json()
    assert response.status_code == bad.status, problem
    assert response.headers["content-type"] == "application/problem+json"
    assert problem["status"] == bad.status
    assert problem["request_id"] == response.headers["x-request-id"]
    assert problem["detail"]
    if bad.field:
        assert bad.field in problem["field"]


def _tensor(**changes: Any) -> dict[str, Any]:
    tensor = {"name": "features", "datatype": "FP32", "shape": [1, 13], "data": [1.0] * 13}
    return {"inputs": [{**tensor, **changes}]}


_GOLDEN: dict[str, float] = json.loads(_record())
_EXTREME = _tensor(data=[*({**_GOLDEN, "ca": -3.4e38}).values()])


@pytest.mark.parametrize(
    ("request_body", "word"),
    [
        (_tensor(name="nope"), "nope"),
        (_tensor(datatype="INT99"), "datatype"),
        (_tensor(datatype="BYTES", data=["a"] * 13), "features"),
        (_tensor(shape=[1, 12], data=[1.0] * 12), "features"),
        (_tensor(shape=[1, 14]), "features"),
        (_tensor(shape=[13]), "features"),
        (_tensor(shape=[-1, 13]), "shape"),
        (_tensor(data=[1.0] * 12), "features"),
        (_tensor(data=[1.0] * 12 + ["x"]), "features"),
        (_EXTREME, "ca is outside"),
        ({**_EXTREME, "parameters": {"binary_data_output": True}}, "ca is outside"),
        ({"inputs": []}, "features"),
        ({}, "inputs"),
    ],
    ids=[
        "name",
        "datatype",
        "bytes",
        "narrow",
        "wide",
        "rank",
        "negative",
        "short",
        "text",
        "extreme",
        "binary",
        "none",
        "no_inputs",
    ],
)
def test_bad_tensor_is_refused_in_v2_form(client: httpx.Client, request_body: dict[str, Any], word: str) -> None:
    """The Open Inference Protocol's paths answer ``{"error": …}`` with a 400 that names what is wrong."""
    response = client.post("/v2/models/heart_disease/infer", json=request_body)

    assert response.status_code == 400
    assert list(response.json()) == ["error"]
    assert word in response.json()["error"]


def test_server_answers_after_all_that(client: httpx.Client) -> None:
    """Bad input does no lasting harm."""
    response = client.post("/v1/models/heart_disease/predict", content=_record(), headers={"Content-Type": JSON})

    assert response.status_code == 200


@pytest.mark.parametrize(
    ("headers", "status", "challenge"),
    [
        ({}, 401, "Bearer"),
        ({"Authorization": "Bearer nonsense"}, 401, 'error="invalid_token"'),
        ({"Authorization": "Basic dGVzdDp0ZXN0"}, 401, "Bearer"),
    ],
    ids=["no_token", "no_jwt", "basic"],
)
def test_without_a_good_token_there_is_a_challenge(
    served: Served, headers: dict[str, str], status: int, challenge: str
) -> None:
    """401 says how to authenticate (RFC 6750 §3)."""
    response = httpx.post(f"{served.url}/v1/models/heart_disease/predict", content=_record(), headers=headers)

    assert response.status_code == status
    assert challenge in response.headers["www-authenticate"]


def test_scope_of_another_model_is_not_enough(served: Served) -> None:
    """403 and 401 are told apart, and the missing scope is named."""
    with served.client("bedside.infer:chest_xray_pneumonia") as other:
        refused = other.post("/v1/models/heart_disease/predict", content=_record(), headers={"Content-Type": JSON})
        allowed = other.post("/v1/models/chest_xray_pneumonia/predict", content=_png(), headers={"Content-Type": PNG})

    assert refused.status_code == 403
    assert 'error="insufficient_scope"' in refused.headers["www-authenticate"]
    assert allowed.status_code == 200


def test_model_of_no_such_name_is_not_repeated(client: httpx.Client) -> None:
    """A made-up model name may be a person's: it comes back nowhere."""
    response = client.post("/v1/models/DOE%5EJOHN/predict", content=_record(), headers={"Content-Type": JSON})

    assert response.status_code == 404
    assert "DOE" not in response.text
