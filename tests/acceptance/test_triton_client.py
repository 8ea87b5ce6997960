"""A client that is not ours: ``tritonclient[http]`` against the running server, JSON and binary tensors."""

from collections.abc import Iterator
from typing import Any

import nibabel
import numpy as np
import pytest
import tritonclient.http as triton
from PIL import Image
from tests.acceptance.conftest import APPS, Served

from bedside.bundle.golden import PackageMissing, read_golden
from bedside.types import RawPart, RawRecord

BOTH = pytest.mark.parametrize("binary", [False, True], ids=["json", "binary"])


@pytest.fixture
def inference(served: Served) -> Iterator[tuple[Any, dict[str, str]]]:
    """Return the client and the headers that it must send."""
    client = triton.InferenceServerClient(served.url.removeprefix("http://"))
    yield client, {"Authorization": f"Bearer {served.token()}"}
    client.close()


def _record() -> dict[str, float]:
    item = read_golden(APPS / "heart_disease")[0].raw_inputs()[0]
    assert isinstance(item, RawRecord)
    return dict(item.values)


def _tensor(name: str, array: np.ndarray[Any, Any], datatype: str, *, binary: bool) -> Any:
    tensor = triton.InferInput(name, list(array.shape), datatype)
    tensor.set_data_from_numpy(array, binary_data=binary)
    return tensor


def _infer(inference: tuple[Any, dict[str, str]], model: str, tensors: list[Any], *, binary: bool) -> Any:
    client, headers = inference
    outputs = [triton.InferRequestedOutput("pred", binary_data=binary)]
    # The client writes into the headers that it is given: a copy, or the next call inherits them.
    return client.infer(model, tensors, outputs=outputs, headers=dict(headers))


def test_server_is_live_and_ready(inference: tuple[Any, dict[str, str]]) -> None:
    """Health needs no token."""
    client, _ = inference

    assert client.is_server_live()
    assert client.is_server_ready()


def test_repository_lists_the_apps(inference: tuple[Any, dict[str, str]]) -> None:
    """The repository extension names every bundle and its state."""
    client, headers = inference

    index = client.get_model_repository_index(headers=headers)

    assert {entry["name"] for entry in index} == {root.name for root in APPS.iterdir() if (root / "configs").is_dir()}
    assert {entry["state"] for entry in index} == {"READY"}


@BOTH
def test_named_features(inference: tuple[Any, dict[str, str]], *, binary: bool) -> None:
    """A tabular model takes one tensor per feature, several rows at once."""
    record = _record()
    rows = np.array([[value, value] for value in record.values()], dtype=np.float64)
    tensors = [_tensor(name, row, "FP64", binary=binary) for name, row in zip(record, rows, strict=True)]

    pred = _infer(inference, "heart_disease", tensors, binary=binary).as_numpy("pred")

    assert pred.shape == (2, 2)
    np.testing.assert_allclose(pred.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(pred[0], pred[1])


@BOTH
def test_packed_features_equal_named_ones(inference: tuple[Any, dict[str, str]], *, binary: bool) -> None:
    """The packed tensor is the same request in another form."""
    record = _record()
    packed = _tensor("features", np.array([list(record.values())], dtype=np.float32), "FP32", binary=binary)
    named = [
        _tensor(name, np.array([value], dtype=np.float32), "FP32", binary=binary) for name, value in record.items()
    ]

    first = _infer(inference, "heart_disease", [packed], binary=binary).as_numpy("pred")
    second = _infer(inference, "heart_disease", named, binary=binary).as_numpy("pred")

    np.testing.assert_array_equal(first, second)


@BOTH
def test_encoded_image_as_bytes(inference: tuple[Any, dict[str, str]], *, binary: bool) -> None:
    """An image goes in as BYTES, the encoded file."""
    data = (APPS / "chest_xray_pneumonia" / "golden" / "grey8.png").read_bytes()
    tensor = triton.InferInput("image", [1], "BYTES")
    tensor.set_data_from_numpy(np.array([data], dtype=object), binary_data=True)

    pred = _infer(inference, "chest_xray_pneumonia", [tensor], binary=binary).as_numpy("pred")

    assert pred.size == 2
    assert float(pred.sum()) == pytest.approx(1, abs=1e-5)


@BOTH
def test_decoded_picture_equals_its_file(inference: tuple[Any, dict[str, str]], *, binary: bool) -> None:
    """The decoded array gives the answer of the file that it came from."""
    path = APPS / "chest_xray_pneumonia" / "golden" / "grey8.png"
    file = triton.InferInput("image", [1], "BYTES")
    file.set_data_from_numpy(np.array([path.read_bytes()], dtype=object))
    array = _tensor("image", np.asarray(Image.open(path)), "UINT8", binary=binary)

    first = _infer(inference, "chest_xray_pneumonia", [file], binary=binary).as_numpy("pred")
    second = _infer(inference, "chest_xray_pneumonia", [array], binary=binary).as_numpy("pred")

    np.testing.assert_allclose(first, second, atol=1e-6)


@BOTH
def test_volume_as_array_with_affine_equals_its_file(inference: tuple[Any, dict[str, str]], *, binary: bool) -> None:
    """A volume with its affine gives the mask of the NIfTI file that it came from."""
    try:
        item = read_golden(APPS / "hippocampus_mr")[0].raw_inputs()[0]
    except PackageMissing as missing:
        pytest.skip(str(missing))
    assert isinstance(item, RawPart)
    image = nibabel.Nifti1Image.from_bytes(item.data)
    file = triton.InferInput("image", [1], "BYTES")
    file.set_data_from_numpy(np.array([item.data], dtype=object))
    array = _tensor("image", np.asarray(image.dataobj, dtype=np.float32), "FP32", binary=binary)
    array._parameters["affine"] = image.affine.ravel().tolist()  # the client offers no other way to set one

    first = _infer(inference, "hippocampus_mr", [file], binary=binary).as_numpy("pred")
    second = _infer(inference, "hippocampus_mr", [array], binary=binary).as_numpy("pred")

    assert first.shape == image.shape
    np.testing.assert_array_equal(first, second)


def test_wrong_name_is_refused(inference: tuple[Any, dict[str, str]]) -> None:
    """A tensor of a made-up name gets a 4xx that names it."""
    tensor = _tensor("nope", np.zeros((1, 13), dtype=np.float32), "FP32", binary=False)

    with pytest.raises(triton.InferenceServerException, match="nope"):
        _infer(inference, "heart_disease", [tensor], binary=False)
