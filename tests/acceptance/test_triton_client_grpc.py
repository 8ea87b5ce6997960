"""A client that is not ours: ``tritonclient.grpc`` against the running server, on every app."""

from collections.abc import Iterator
from typing import Any

import nibabel
import numpy as np
import orjson
import pytest
import tritonclient.grpc as triton
import tritonclient.http
from PIL import Image
from tests.acceptance.conftest import APPS, Served, golden_cases, golden_file
from tests.waiting import wait_until
from tritonclient.grpc import service_pb2, service_pb2_grpc

CHEST = APPS / "chest_xray_pneumonia" / "golden" / "grey8.png"
APP_NAMES = {root.name for root in APPS.iterdir() if (root / "configs").is_dir()}

Inference = tuple[Any, dict[str, str]]


@pytest.fixture
def inference(served: Served) -> Iterator[Inference]:
    """Return the client and the metadata that it must send."""
    client = triton.InferenceServerClient(served.grpc)
    yield client, {"authorization": f"Bearer {served.token('bedside.infer', 'bedside.admin')}"}
    client.close()


def _tensor(name: str, array: np.ndarray[Any, Any], datatype: str) -> Any:
    tensor = triton.InferInput(name, list(array.shape), datatype)
    tensor.set_data_from_numpy(array)
    return tensor


def _file(data: bytes) -> Any:
    return _tensor("image", np.array([data], dtype=object), "BYTES")


def _case(model: str) -> bytes:
    return next(golden_file(name, case) for name, case in golden_cases() if name == model)


def _pred(inference: Inference, model: str, *tensors: Any, **options: Any) -> np.ndarray[Any, Any]:
    client, headers = inference
    result: np.ndarray[Any, Any] = client.infer(model, list(tensors), headers=headers, **options).as_numpy("pred")
    return result


def test_server_and_models_are_ready(inference: Inference) -> None:
    """Health, metadata and the index, as the client reads them."""
    client, headers = inference

    assert client.is_server_live()
    assert client.is_server_ready()
    assert all(client.is_model_ready(name, headers=headers) for name in APP_NAMES)
    assert "model_repository" in client.get_server_metadata(headers=headers).extensions
    index = client.get_model_repository_index(headers=headers).models
    assert {(model.name, model.state) for model in index} == {(name, "READY") for name in APP_NAMES}


@pytest.mark.parametrize("model", sorted(APP_NAMES))
def test_metadata_equal_those_over_http(served: Served, inference: Inference, model: str) -> None:
    """One contract, in whichever way it is asked for."""
    client, headers = inference
    over_grpc = client.get_model_metadata(model, headers=headers)
    over_http = tritonclient.http.InferenceServerClient(served.url.removeprefix("http://")).get_model_metadata(
        model, headers=dict(headers)
    )

    def tensors(found: Any) -> list[tuple[str, str, list[int]]]:
        return [(tensor.name, tensor.datatype, list(tensor.shape)) for tensor in found]

    for part in ("inputs", "outputs"):
        expected = [(tensor["name"], tensor["datatype"], tensor["shape"]) for tensor in over_http[part]]
        assert tensors(getattr(over_grpc, part)) == expected
    assert [over_grpc.name, over_grpc.platform] == [over_http["name"], over_http["platform"]]
    assert list(over_grpc.versions) == over_http["versions"]


def test_records_named_and_packed(inference: Inference) -> None:
    """A tensor for each feature, or all in one: the same answer, several rows at once."""
    record: dict[str, float] = orjson.loads(_case("heart_disease"))
    named = [_tensor(name, np.array([value, value], np.float64), "FP64") for name, value in record.items()]
    packed = _tensor("features", np.array([list(record.values())] * 2, np.float64), "FP64")

    first, second = _pred(inference, "heart_disease", *named), _pred(inference, "heart_disease", packed)

    assert first.shape == (2, 2)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(first.sum(axis=1), 1, atol=1e-6)


def test_typed_equals_raw(served: Served, inference: Inference) -> None:
    """Typed contents, which the client library does not send, through its generated stub."""
    record: dict[str, float] = orjson.loads(_case("heart_disease"))
    client, headers = inference
    request = service_pb2.ModelInferRequest(model_name="heart_disease", id="7")
    request.inputs.add(name="features", datatype="FP64", shape=[1, len(record)])
    request.inputs[0].contents.fp64_contents.extend(record.values())

    answer = service_pb2_grpc.GRPCInferenceServiceStub(client._channel).ModelInfer(
        request, metadata=tuple(headers.items())
    )
    raw = _pred(inference, "heart_disease", _tensor("features", np.array([list(record.values())]), "FP64"))

    assert answer.id == "7"
    np.testing.assert_array_equal(np.array(answer.outputs[0].contents.fp32_contents, np.float32), raw.ravel())


def test_a_record_without_a_finite_answer_names_its_features(inference: Inference) -> None:
    """So far outside the training data that the network overflows: never NaN as an answer."""
    record: dict[str, float] = {**orjson.loads(_case("heart_disease")), "ca": -3.4e38}
    with pytest.raises(
        triton.InferenceServerException, match="ca: the model has no finite answer: ca is outside 0 to 3"
    ) as refused:
        _pred(inference, "heart_disease", _tensor("features", np.array([list(record.values())]), "FP64"))
    assert refused.value.status() == "StatusCode.INVALID_ARGUMENT"


def test_picture_as_file_and_as_array(inference: Inference) -> None:
    """The encoded file, or its pixels."""
    file = _pred(inference, "chest_xray_pneumonia", _file(CHEST.read_bytes()))
    array = _pred(inference, "chest_xray_pneumonia", _tensor("image", np.asarray(Image.open(CHEST)), "UINT8"))

    assert float(file.sum()) == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(file, array, atol=1e-6)


def test_volume_as_file_and_as_array(inference: Inference) -> None:
    """The NIfTI file, or its voxels with their affine: the same mask."""
    data = _case("hippocampus_mr")
    image = nibabel.Nifti1Image.from_bytes(data)
    tensor = _tensor("image", np.asarray(image.dataobj, dtype=np.float32), "FP32")
    tensor._input.parameters["affine"].string_param = orjson.dumps(image.affine.ravel().tolist()).decode()

    mask = _pred(inference, "hippocampus_mr", _file(data))

    assert mask.shape == image.shape
    np.testing.assert_array_equal(mask, _pred(inference, "hippocampus_mr", tensor))


def test_the_answer_is_that_of_http(served: Served, inference: Inference) -> None:
    """Both transports end in one data plane."""
    tensor = tritonclient.http.InferInput("image", [1], "BYTES")
    tensor.set_data_from_numpy(np.array([CHEST.read_bytes()], dtype=object))
    client = tritonclient.http.InferenceServerClient(served.url.removeprefix("http://"))
    over_http = client.infer("chest_xray_pneumonia", [tensor], headers=dict(inference[1])).as_numpy("pred")

    np.testing.assert_array_equal(over_http, _pred(inference, "chest_xray_pneumonia", _file(CHEST.read_bytes())))


def test_a_deadline_that_cannot_be_kept(inference: Inference) -> None:
    """The caller is answered when its time is over, and the model answers the next one."""
    data = _case("hippocampus_mr")

    with pytest.raises(triton.InferenceServerException, match="DEADLINE_EXCEEDED"):
        _pred(inference, "hippocampus_mr", _file(data), client_timeout=0.05)

    assert _pred(inference, "hippocampus_mr", _file(data)).ndim == 3


def test_a_caller_who_cancels(inference: Inference) -> None:
    """An asynchronous call is taken back; the model answers the next one."""
    client, headers = inference
    data = _case("hippocampus_mr")
    told: list[Any] = []

    def finished(result: Any, error: Any) -> None:  # tritonclient passes them by position or by name
        told.append(error)

    call = client.async_infer("hippocampus_mr", [_file(data)], callback=finished, headers=headers)
    call.cancel()
    wait_until(lambda: told)  # by a thread of the client's

    assert "cancel" in str(told[0]).lower()
    assert _pred(inference, "hippocampus_mr", _file(data)).ndim == 3


def test_refusals_name_the_field(inference: Inference) -> None:
    """A wrong name, and a caller without a token."""
    client, headers = inference
    wrong = _tensor("nope", np.zeros((1, 13), np.float32), "FP32")

    with pytest.raises(triton.InferenceServerException, match=r"INVALID_ARGUMENT.*nope"):
        client.infer("heart_disease", [wrong], headers=headers)
    with pytest.raises(triton.InferenceServerException, match="UNAUTHENTICATED"):
        client.infer("heart_disease", [wrong])


def test_unload_and_load(inference: Inference) -> None:
    """An administrator takes a model away and brings it back, whatever else is served."""
    client, headers = inference

    client.unload_model("heart_disease", headers=headers)
    assert not client.is_model_ready("heart_disease", headers=headers)
    assert client.is_model_ready("chest_xray_pneumonia", headers=headers)
    client.load_model("heart_disease", headers=headers)

    assert client.is_model_ready("heart_disease", headers=headers)


def test_calls_are_logged_like_all_others(served: Served, inference: Inference) -> None:
    """One event a call, with the transport's name."""
    before = served.log.read_bytes().count(b'"grpc"')
    _pred(inference, "chest_xray_pneumonia", _file(CHEST.read_bytes()))

    wait_until(lambda: served.log.read_bytes().count(b'"grpc"') > before)  # lines are written together
