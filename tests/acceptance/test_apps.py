"""Every golden case of every bundle in ``apps/``, over HTTP, as a client would send it."""

import gzip
import json
from typing import Any

import httpx
import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.acceptance.conftest import APPS, golden_cases, golden_file

from bedside.bundle.golden import GoldenCase
from bedside.types import OutputArray, RawPart, RawRecord

CASES = golden_cases()


def _send(client: httpx.Client, model: str, case: GoldenCase, accept: str) -> httpx.Response:
    body = golden_file(model, case)
    item = case.raw_inputs()[0]
    media = "application/json" if isinstance(item, RawRecord) else item.media_type
    headers = {"Content-Type": media, "Accept": accept}
    response = client.post(f"/v1/models/{model}/predict", content=body, headers=headers)
    assert response.status_code == httpx.codes.OK, response.text
    assert response.headers["content-type"].startswith(accept)
    return response


def _mask(response: httpx.Response) -> tuple[NDArray[Any], NDArray[Any]]:
    image = nibabel.Nifti1Image.from_bytes(gzip.decompress(response.content))
    return np.asanyarray(image.dataobj), image.affine


@pytest.mark.parametrize(("model", "case"), CASES, ids=[f"{model}-{case.name}" for model, case in CASES])
def test_golden_case_is_answered_as_expected(client: httpx.Client, model: str, case: GoldenCase) -> None:
    """What a bundle's author expects is what a caller gets."""
    masks = any("file" in wanted for wanted in case.expected.values())
    response = _send(client, model, case, "application/gzip" if masks else "application/json")

    if masks:
        array, affine = _mask(response)
        outputs, labels = {"pred": OutputArray("pred", array, affine)}, {}
    else:
        named = response.json()["probabilities"]
        outputs = {"pred": OutputArray("pred", np.array(list(named.values())))}
        labels = {"pred": dict(enumerate(named))}
    assert case.differences(outputs, labels) == []


@pytest.mark.parametrize(("model", "case"), [pair for pair in CASES if pair[0] == "hippocampus_mr"])
def test_mask_lies_on_the_grid_of_the_image(client: httpx.Client, model: str, case: GoldenCase) -> None:
    """The mask has the shape and the affine of what was sent."""
    item = case.raw_inputs()[0]
    assert isinstance(item, RawPart)
    sent = nibabel.Nifti1Image.from_bytes(item.data)

    array, affine = _mask(_send(client, model, case, "application/gzip"))

    assert array.shape == sent.shape
    np.testing.assert_allclose(affine, sent.affine, atol=1e-5)


@pytest.mark.parametrize(("model", "case"), [pair for pair in CASES if pair[0] == "hippocampus_mr"])
def test_volumes_are_counted_from_the_mask(client: httpx.Client, model: str, case: GoldenCase) -> None:
    """The JSON answer's volumes are the mask's voxels times the volume of one voxel."""
    array, affine = _mask(_send(client, model, case, "application/gzip"))
    voxel_ml = abs(float(np.linalg.det(affine[:3, :3]))) / 1000

    (output,) = _send(client, model, case, "application/json").json()["outputs"].values()

    for label in output["labels"]:
        assert label["volume_ml"] == pytest.approx(float((array == label["index"]).sum()) * voxel_ml, abs=1e-3)


@pytest.mark.parametrize(("model", "case"), [pair for pair in CASES if pair[0] == "heart_disease"])
def test_record_comes_back_augmented(client: httpx.Client, model: str, case: GoldenCase) -> None:
    """The same record comes back, with prediction, probability and the measured accuracy."""
    record = json.loads(golden_file(model, case))

    answer = _send(client, model, case, "application/json").json()

    assert {name: answer[name] for name in record} == record
    assert answer["probability"] == max(answer["probabilities"].values())
    assert answer["probabilities"][answer["prediction"]] == answer["probability"]
    metadata = json.loads((APPS / model / "configs" / "metadata.json").read_bytes())
    assert answer["accuracy"] == metadata["eval_metrics"]["accuracy"]
