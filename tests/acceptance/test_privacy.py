"""Planted names, in every place where a caller can put one, reach neither log nor metrics nor an error's text."""

import gzip
from pathlib import Path

import httpx
import nibabel
import numpy as np
import pytest
from tests.acceptance.conftest import APPS, start, stop

NAMES = ("DOE^JOHN", "Mustermann", "MRN-4711-0815", "jane.doe@example.org")


def _nifti_with(name: str) -> bytes:
    image = nibabel.Nifti1Image(np.ones((16, 16, 16), np.float32), np.eye(4))
    image.header["descrip"] = name.encode()
    image.header["aux_file"] = name.encode()[:23]
    return gzip.compress(image.to_bytes())


def _calls(client: httpx.Client, name: str) -> list[httpx.Response]:
    json_type = {"Content-Type": "application/json"}
    quoted = httpx.QueryParams({"patient": name})
    record = f'{{"{name}": 1, "age": "{name}"}}'.encode()
    file = {"image": (f"{name}.nii.gz", _nifti_with(name), "application/gzip")}
    wrong = {name: (f"{name}.nii.gz", _nifti_with(name), "application/gzip")}
    return [
        client.post("/v1/models/heart_disease/predict", content=record, headers=json_type),
        client.post(f"/v1/models/heart_disease/predict?{quoted}", content=record, headers=json_type),
        client.post(f"/v1/models/{name}/predict", content=record, headers=json_type),
        client.post("/v1/models/heart_disease/predict", content=record, headers={"Content-Type": f"text/{name}"}),
        client.post("/v1/models/heart_disease/predict", content=record, headers={**json_type, "X-Request-ID": name}),
        client.post("/v1/models/heart_disease/predict", content=record, headers={**json_type, "User-Agent": name}),
        client.post("/v1/models/hippocampus_mr/predict", files=file),
        client.post("/v1/models/hippocampus_mr/predict", files=wrong),
        client.post("/v1/models/hippocampus_mr/predict", content=_nifti_with(name)[:-40], headers={"Accept": name}),
        client.post("/v2/models/heart_disease/infer", json={"id": name, "inputs": [{"name": name, "data": [name]}]}),
        client.post("/v2/models/heart_disease/infer", content=name.encode(), headers=json_type),
        client.get(f"/v2/models/{name}"),
        client.get(f"/{name}", params={"q": name}),
        client.post("/v1/models/heart_disease/predict", headers={"Authorization": f"Bearer {name}"}, content=record),
    ]


@pytest.mark.parametrize("level", ["info", "debug"])
def test_planted_names_stay_out_of_every_sink(tmp_path: Path, level: str) -> None:
    """Log (at every level), metrics and problem bodies hold none of the names that were planted."""
    bundles = [APPS / "heart_disease", APPS / "hippocampus_mr"]
    served = start(bundles, tmp_path, BEDSIDE_LOG__LEVEL=level)
    try:
        with served.client() as client:
            answers = [response for name in NAMES for response in _calls(client, name)]
            metrics = client.get("/metrics").text
    finally:
        stop(served)

    log = served.log.read_text()
    # The V2 protocol returns the caller's own `id` to the caller; that is no sink.
    bodies = "\n".join(answer.text for answer in answers if answer.is_error)
    assert log.count("inference_completed") >= len(NAMES) * 8
    for name in NAMES:
        for sink, text in (("log", log), ("metrics", metrics), ("problem", bodies)):
            assert name.lower() not in text.lower(), f"{name} reached the {sink}"
