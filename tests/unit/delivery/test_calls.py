"""How far two answers agree, and what a golden case is as a request."""

import gzip
import json
from pathlib import Path
from typing import Any

import httpx
import nibabel
import numpy as np
import pytest

from bedside.bundle.golden import GoldenCase
from bedside.delivery.calls import Call, Reply, agree, ask, call_of


def reply(document: Any) -> Reply:
    """Return an answer in JSON."""
    return Reply(200, 0.0, "application/json", json.dumps(document).encode())


def mask(array: Any) -> Reply:
    """Return a mask as NIfTI in gzip."""
    image = nibabel.Nifti1Image(np.asarray(array, np.uint8), np.eye(4))
    return Reply(200, 0.0, "application/gzip", gzip.compress(image.to_bytes()))


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        ({"p": 0.50, "version": "1"}, {"p": 0.55, "version": "2"}, True),
        ({"p": 0.5}, {"p": 0.7}, False),
        ({"ml": 100.0}, {"ml": 109.0}, True),
        ({"ml": 100.0}, {"ml": 120.0}, False),
        ({"prediction": "yes"}, {"prediction": "no"}, False),
        ({"a": [1, 2]}, {"a": [1]}, False),
        ({"a": 1}, {"b": 1}, False),
        ({"a": True}, {"a": 1}, True),
        ({"a": None}, {"a": 0}, False),
        ([1.0], [1.05], True),
    ],
)
def test_documents_agree_within_a_tolerance(left: Any, right: Any, *, same: bool) -> None:
    """Words and shape exactly, numbers by a tenth; what tells of the model is left out."""
    assert agree(reply(left), reply(right), 0.1) is same


def test_masks_agree_where_they_overlap() -> None:
    """By the least Dice of any label; another shape is no overlap, and neither is what is no mask."""
    whole, half = np.ones((4, 4, 4)), np.ones((4, 4, 4))
    half[:2] = 0
    nearly = np.ones((4, 4, 4))
    nearly[0, 0, 0] = 0
    assert agree(mask(whole), mask(nearly), 0.1)
    assert not agree(mask(whole), mask(half), 0.1)
    assert not agree(mask(whole), mask(np.ones((2, 4, 4))), 0.1)
    assert not agree(mask(whole), Reply(200, 0.0, "application/gzip", b"no gzip"), 0.1)
    assert agree(mask(np.zeros((2, 2, 2))), mask(np.zeros((2, 2, 2))), 0.1)


def test_other_answers_agree_to_the_byte_and_kinds_never() -> None:
    """A page of a proxy is no document, and broken JSON is none either."""
    assert agree(Reply(200, 0.0, "image/png", b"a"), Reply(200, 0.0, "image/png", b"a"), 0.1)
    assert not agree(reply({}), Reply(200, 0.0, "text/html", b"{}"), 0.1)
    broken = Reply(200, 0.0, "application/json", b"{")
    assert not agree(reply({}), broken, 0.1)
    assert not agree(broken, broken, 0.1)
    assert not agree(Reply(200, 0.0, "application/json", b"[" * 100_000), broken, 0.1)


def test_a_record_is_sent_as_json_and_files_as_parts(tmp_path: Path) -> None:
    """With the input's name in place of a file's."""
    (tmp_path / "scan.nii.gz").write_bytes(b"content")
    record = call_of(GoldenCase("a", {"features": {"age": 1}}, {}, tmp_path), "m", "secret")
    assert json.loads(record.body) == {"age": 1}
    assert record.path == "/v1/models/m/predict"
    assert record.headers == {"authorization": "Bearer secret", "content-type": "application/json"}
    files = call_of(GoldenCase("a", {"image": "scan.nii.gz"}, {}, tmp_path), "m", "secret")
    assert b'name="image"; filename="image"' in files.body
    assert files.headers["content-type"].startswith("multipart/form-data; boundary=")


def test_a_golden_mask_is_compared_over_http(tmp_path: Path) -> None:
    """As at each load of the model."""
    expected = np.zeros((4, 4, 4), np.uint8)
    expected[1:3] = 1
    nibabel.save(nibabel.Nifti1Image(expected, np.eye(4)), tmp_path / "mask.nii.gz")
    case = GoldenCase("a", {}, {"pred": {"file": "mask.nii.gz", "min_dice": 0.9}}, tmp_path)
    assert case.answered("application/gzip", mask(expected).body) == []
    (difference,) = case.answered("application/gzip", mask(1 - expected).body)
    assert "Dice of label 1 is 0.0000" in difference
    assert case.answered("application/gzip", b"no gzip") == ["the answer holds no mask and no probabilities"]


async def test_no_answer_is_an_answer() -> None:
    """A gate must know of it, and go on."""

    def refuse(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    async with httpx.AsyncClient(transport=httpx.MockTransport(refuse), base_url="http://server") as client:
        answer = await ask(client, Call("/", {}, b""))
    assert answer.status == 0
    assert not answer.ok
