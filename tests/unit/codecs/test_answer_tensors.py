"""Answers as the tensors of the Open Inference Protocol."""

import numpy as np
import orjson
import pytest
from tests.unit.codecs.answering import AFFINE, BOXES, CLASSIFIER, FOUND, MASK, SEGMENTER, TABULAR, f32

from bedside.codecs.answer_tensors import answer_tensors
from bedside.codecs.report import encode_json
from bedside.errors import RunFailed
from bedside.types import OutputArray, OutputFile, Prediction


def test_tensors_of_records_have_rows_first() -> None:
    """One row or many: the first axis is rows; labels by index."""
    for count in (1, 3):
        predictions = [Prediction((OutputArray("pred", f32([0.3, 0.7])),))] * count
        [tensor] = answer_tensors(TABULAR, predictions)
        assert (tensor.datatype, tensor.shape) == ("FP32", (count, 2))
        assert orjson.loads(encode_json(tensor.to_json())) == {
            "name": "pred",
            "datatype": "FP32",
            "shape": [count, 2],
            "parameters": {"labels": '["absence","presence"]'},
            "data": [0.3, 0.7] * count,
        }


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float16", "float32", ">f8"])
def test_tensors_of_images_keep_shape_and_geometry(dtype: str) -> None:
    """The array as it is, little-endian, with its affine."""
    array = MASK.astype(dtype)
    [tensor] = answer_tensors(SEGMENTER, [Prediction((OutputArray("pred", array, AFFINE),))])
    head, data = tensor.to_binary()
    np.testing.assert_array_equal(np.frombuffer(data, np.dtype(dtype).newbyteorder("<")).reshape(array.shape), array)
    assert head["shape"] == [8, 9, 10]
    assert orjson.loads(head["parameters"]["affine"]) == AFFINE.ravel().tolist()
    assert head["parameters"]["binary_data_size"] == len(data)


def test_tensors_that_cannot_be_said_are_a_failure() -> None:
    """NaN in JSON, complex numbers, rows of different shapes; a scalar gets one axis."""
    [nan] = answer_tensors(CLASSIFIER, [Prediction((OutputArray("pred", np.array(np.nan)),))])
    assert nan.shape == (1,)
    assert "parameters" not in answer_tensors(SEGMENTER, [Prediction((OutputArray("x", MASK),))])[0].to_json()
    with pytest.raises(RunFailed):
        nan.to_json()
    with pytest.raises(RunFailed):
        answer_tensors(CLASSIFIER, [Prediction((OutputArray("pred", np.array([1j])),))])
    rows = [Prediction((OutputArray("pred", np.zeros(n)),)) for n in (1, 2)]
    with pytest.raises(RunFailed):
        answer_tensors(TABULAR, rows)


def test_values_and_files_are_tensors_of_bytes() -> None:
    """JSON text is text in both forms; a file is base64 in JSON and bytes in the binary form, named and typed."""
    prediction = Prediction((), (OutputFile(".nii.gz", b"\x1f\x8b\x00", "mask"),), values=FOUND)
    value, file = answer_tensors(BOXES, [prediction])
    assert value.to_json() == {
        "name": "boxes",
        "datatype": "BYTES",
        "shape": [1],
        "parameters": {"content_type": "application/json"},
        "data": ['[{"box":[1,2,3,4],"score":0.5}]'],
    }
    assert file.to_json()["data"] == ["H4sA"]
    assert file.parameters == {"content_type": "application/gzip", "filename": "mask.nii.gz"}
    head, data = file.to_binary()
    assert (head["parameters"]["binary_data_size"], data) == (7, b"\x03\x00\x00\x00\x1f\x8b\x00")


def test_rows_of_values_and_files_stand_below_each_other() -> None:
    """One element per row; rows that wrote different numbers of files cannot be told apart."""
    rows = [Prediction((), (OutputFile(".txt", text),), values={"boxes": [text.decode()]}) for text in (b"a", b"bc")]
    value, file = answer_tensors(BOXES, rows)
    assert (value.to_json()["data"], file.to_json()["data"]) == (['["a"]', '["bc"]'], ["YQ==", "YmM="])
    with pytest.raises(RunFailed, match="different numbers of files"):
        answer_tensors(BOXES, [rows[0], Prediction((), values=FOUND)])


def test_every_row_keeps_its_place() -> None:
    """Several volumes in one request: 16 numbers for each."""
    affines = (AFFINE, np.eye(4))
    rows = [Prediction((OutputArray("pred", MASK, affine),)) for affine in affines]
    (tensor,) = answer_tensors(SEGMENTER, rows)
    assert tensor.shape == (2, *MASK.shape)
    np.testing.assert_array_equal(np.reshape(orjson.loads(tensor.parameters["affine"]), (2, 4, 4)), affines)
