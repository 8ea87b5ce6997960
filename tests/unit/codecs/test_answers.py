"""Stage 8: what goes out, and what must not."""

import email
import gzip
import io
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import nibabel
import numpy as np
import orjson
import pytest
from numpy.typing import NDArray
from PIL import Image

from bedside.bundle.contract import Contract, FeatureSpec, InputSpec, OutputSpec
from bedside.codecs import Answers
from bedside.codecs.answer_tensors import answer_tensors
from bedside.codecs.labels import count_labels
from bedside.codecs.nifti import decode_nifti, encode_nifti
from bedside.codecs.npy import decode_npy, encode_npy
from bedside.codecs.plane import decode_plane, encode_png
from bedside.codecs.report import encode_json
from bedside.codecs.views import cut
from bedside.errors import InputNotProcessable, NotAcceptable, RunFailed
from bedside.types import DecodedImage, DecodedRecord, Json, OutputArray, OutputFile, Prediction, ValidatedInputs

AFFINE = np.array([[0, 0, 2.0, -9], [-1.0, 0, 0, 8], [0, 1.5, 0, 7], [0, 0, 0, 1]])
SCAN = np.random.default_rng(0).integers(0, 1000, (8, 9, 10)).astype(np.int16)
MASK = np.zeros((8, 9, 10), np.uint8)
MASK[2:4, 2:4, 2:4] = 1
MASK[5, 5, 5] = 2
VOLUME = decode_nifti(encode_nifti(SCAN, AFFINE), name="image", limit=1 << 20)
PLANE = decode_plane(encode_png(SCAN[..., 0].astype(np.uint8).T), "png", name="image", limit=1 << 20, arrays=False)
LABELS = {0: "background", 1: "Anterior", 2: "Posterior"}
ANSWERS = Answers()


def contract(*outputs: OutputSpec, features: tuple[str, ...] = (), metrics: dict[str, float] | None = None) -> Contract:
    """Return a contract with an image input, or a record input where there are features."""
    spec = (
        InputSpec("image", "image")
        if not features
        else InputSpec("patient", "record", features=tuple(FeatureSpec(name) for name in features))
    )
    return Contract("model", "1.2.0", "sha256:0", "", "", (spec,), outputs, metrics or {})


SEGMENTER = contract(OutputSpec("pred", "segmentation", labels=LABELS, like_input="image"))
CLASSIFIER = contract(OutputSpec("pred", "probabilities", labels={0: "normal", 1: "pneumonia"}))
TABULAR = contract(
    OutputSpec("pred", "probabilities", labels={0: "absence", 1: "presence"}),
    features=("age",),
    metrics={"accuracy": 0.84},
)


def answer(
    media_type: str, of: Contract, item: DecodedImage | DecodedRecord, array: Any, affine: Any = None
) -> tuple[str, bytes]:
    """Encode one result."""
    prediction = Prediction((OutputArray("pred", np.asarray(array), affine),))
    encoded = ANSWERS.encode(media_type, of, ValidatedInputs((item,)), prediction)
    return encoded.media_type, encoded.body


def report(of: Contract, item: DecodedImage | DecodedRecord, array: Any, affine: Any = None) -> dict[str, Any]:
    """Return the JSON answer."""
    parsed: dict[str, Any] = orjson.loads(answer("application/json", of, item, array, affine)[1])
    return parsed


def f32(values: list[float]) -> NDArray[np.float32]:
    """Return a float32 array."""
    return np.array(values, np.float32)


def patient(**values: float) -> DecodedRecord:
    """Return a record."""
    return DecodedRecord("patient", np.array(list(values.values()), np.float32), values)


def test_what_a_model_can_answer_with() -> None:
    """A grid comes as the file that viewers open, anything else as JSON."""
    assert ANSWERS.available(SEGMENTER) == ("application/gzip", "application/json", "image/png", "multipart/mixed")
    assert ANSWERS.available(CLASSIFIER) == ("application/json",)
    with pytest.raises(NotAcceptable):
        answer("image/png", CLASSIFIER, PLANE, [0.3, 0.7])


def test_record_comes_back_with_the_prediction() -> None:
    """Record, prediction, probability, accuracy: the four things that were asked for, in float32's own digits."""
    assert report(TABULAR, patient(age=63), f32([0.3, 0.7])) == {
        "age": 63,
        "prediction": "presence",
        "probability": 0.7,
        "probabilities": {"absence": 0.3, "presence": 0.7},
        "accuracy": 0.84,
        "model": "model",
        "version": "1.2.0",
        "notice": "Not a medical device.",
    }


def test_a_record_without_a_finite_answer_names_its_features() -> None:
    """Within the range seen in training, the model is at fault; outside it, the record."""
    record = InputSpec("patient", "record", features=(FeatureSpec("age", seen=(29, 77)),))
    of = replace(TABULAR, inputs=(record,))
    with pytest.raises(InputNotProcessable, match="age is outside 29 to 77"):
        report(of, patient(age=-3.4e38), f32([np.nan, np.nan]))
    with pytest.raises(RunFailed):
        report(of, patient(age=30), f32([np.nan, np.nan]))


@pytest.mark.parametrize(
    ("of", "item", "array", "predicted"),
    [
        (TABULAR, patient(age=63), f32([0.3, 0.7]), "presence"),
        (CLASSIFIER, PLANE, f32([0.25, 0.75]), "pneumonia"),
        (CLASSIFIER, PLANE, f32([-2.0, 3.0]), None),
        (SEGMENTER, VOLUME, MASK, None),
    ],
    ids=["record", "image", "scores are no probabilities", "mask"],
)
def test_the_class_that_an_answer_names_is_told(of: Contract, item: Any, array: Any, predicted: str | None) -> None:
    """For the metrics: with its probability, as Python's own numbers; a caller's record is never taken for it."""
    prediction = Prediction((OutputArray("pred", np.asarray(array), AFFINE),))
    found = ANSWERS.encode("application/json", of, ValidatedInputs((item,)), prediction).predicted
    assert (found and found[0]) == predicted
    if found:
        assert type(found[1]) is float
        assert found[1] == pytest.approx(max(array))


def test_features_are_never_overwritten() -> None:
    """A feature called like a member of the result moves the result aside."""
    of = contract(OutputSpec("pred", "probabilities", labels={0: "a", 1: "b"}), features=("prediction",))
    body = report(of, patient(prediction=5), f32([0.9, 0.1]))
    assert body["record"] == {"prediction": 5}
    assert body["result"]["prediction"] == "a"


@pytest.mark.parametrize("value", [f32([0.75]), np.float32(0.75)])
def test_one_number_for_two_classes_is_the_seconds(value: Any) -> None:
    """A single sigmoid."""
    assert report(CLASSIFIER, PLANE, value)["probabilities"] == {"normal": 0.25, "pneumonia": 0.75}


def test_numbers_beyond_one_are_scores() -> None:
    """Logits are not called probabilities, whatever the metadata say."""
    body = report(CLASSIFIER, PLANE, f32([-2.0, 3.0]))
    assert body["scores"] == {"normal": -2.0, "pneumonia": 3.0}
    assert "probability" not in body


@pytest.mark.parametrize("array", [f32([0.1, np.nan]), f32([0.2, 0.3, 0.5])])
def test_broken_probabilities_are_a_failure(array: Any) -> None:
    """NaN would be null in JSON, and three numbers have no names among two."""
    with pytest.raises(RunFailed):
        report(CLASSIFIER, PLANE, array)


def test_segmentation_is_told_in_millilitres() -> None:
    """Voxels times the affine's determinant, per named label."""
    pred = report(SEGMENTER, VOLUME, MASK, AFFINE)["outputs"]["pred"]
    assert pred["shape"] == [8, 9, 10]
    assert pred["spacing_mm"] == [1.0, 1.5, 2.0]
    assert pred["labels"] == [
        {"index": 1, "name": "Anterior", "voxels": 8, "volume_ml": 0.024},
        {"index": 2, "name": "Posterior", "voxels": 1, "volume_ml": 0.003},
    ]


def test_stacked_masks_are_counted_each() -> None:
    """Overlapping labels, one per channel, the first one included."""
    stacked = np.stack([MASK > 0, MASK > 1], -1)
    [first, second] = count_labels(OutputArray("pred", stacked), {0: "whole", 1: "core"}, 3)
    assert (first.name, first.voxels, second.name, second.voxels, first.volume_ml) == ("whole", 9, "core", 1, None)


@pytest.mark.parametrize("value", [-1.0, np.nan, 1e6])
def test_label_maps_with_strange_values_are_a_failure(value: float) -> None:
    """They are not labels."""
    with pytest.raises(RunFailed):
        count_labels(OutputArray("pred", np.full((2, 2, 2), value)), LABELS, 3)


def test_unnamed_labels_are_counted_too() -> None:
    """A value that the contract does not name is shown by its number; nothing at all is nothing."""
    counted = count_labels(OutputArray("pred", np.full((2, 2, 2), 7.0)), {}, 3)
    assert [(entry.name, entry.voxels) for entry in counted] == [("label 7", 8)]
    assert count_labels(OutputArray("pred", np.zeros((0, 2, 2))), {}, 3) == []


def test_several_outputs_have_an_entry_each() -> None:
    """Two heads: neither is at the top."""
    heads = contract(
        OutputSpec("a", "probabilities", labels={0: "no", 1: "yes"}),
        OutputSpec("b", "probabilities", labels={0: "no", 1: "yes"}),
        OutputSpec("c", "tensor"),
        OutputSpec("d", "tensor"),
    )
    prediction = Prediction(
        (
            OutputArray("a", f32([0, 1])),
            OutputArray("b", f32([1, 0])),
            OutputArray("c", f32([1.5])),
            OutputArray("d", np.zeros(5000)),
        )
    )
    body = orjson.loads(ANSWERS.encode("application/json", heads, ValidatedInputs((PLANE,)), prediction).body)
    assert body["outputs"]["a"]["prediction"] == "yes"
    assert body["outputs"]["b"]["prediction"] == "no"
    assert body["outputs"]["c"] == {"shape": [1], "dtype": "float32", "data": [1.5]}
    assert body["outputs"]["d"] == {"shape": [5000], "dtype": "float64"}


def test_nan_in_a_small_tensor_is_a_failure() -> None:
    """It would be null."""
    with pytest.raises(RunFailed):
        report(contract(OutputSpec("pred", "tensor")), PLANE, [np.nan])


def test_nifti_keeps_type_values_and_affine() -> None:
    """Twice the same answer is twice the same bytes."""
    media_type, body = answer("application/gzip", SEGMENTER, VOLUME, MASK, AFFINE)
    image = nibabel.Nifti1Image.from_bytes(gzip.decompress(body))
    assert media_type == "application/gzip"
    assert image.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(np.asarray(image.dataobj), MASK)
    np.testing.assert_array_equal(image.affine, AFFINE)
    assert body == answer("application/gzip", SEGMENTER, VOLUME, MASK, AFFINE)[1]


def test_nifti_without_an_affine_takes_that_of_the_input_on_whose_grid_it_lies() -> None:
    """The contract says so, out of a real run; of a picture, that is no place in space either."""
    body = answer("application/gzip", SEGMENTER, VOLUME, MASK)[1]
    np.testing.assert_array_equal(nibabel.Nifti1Image.from_bytes(gzip.decompress(body)).affine, AFFINE)
    body = answer("application/gzip", SEGMENTER, PLANE, MASK[..., 2])[1]
    np.testing.assert_array_equal(nibabel.Nifti1Image.from_bytes(gzip.decompress(body)).affine, np.eye(4))


@pytest.mark.parametrize(
    ("of", "array"),
    [
        (contract(OutputSpec("pred", "segmentation", labels=LABELS, shape=(-1, -1, -1))), MASK),
        (SEGMENTER, MASK[:4]),
    ],
    ids=["same_shape_by_chance", "another_grid"],
)
@pytest.mark.parametrize("media_type", ["application/gzip", "multipart/mixed"])
def test_no_geometry_is_made_up(of: Contract, array: Any, media_type: str) -> None:
    """An equal shape proves nothing: preprocessing may have mirrored the image; JSON says what can be said."""
    with pytest.raises(RunFailed, match="place in space") as caught:
        answer(media_type, of, VOLUME, array)
    assert caught.value.field == "pred"
    assert "spacing_mm" not in report(of, VOLUME, array)["outputs"]["pred"]


def test_results_without_a_place_are_bare_arrays() -> None:
    """An array of the network's own shape, neither with an affine nor on the input's grid, is never a NIfTI."""
    of = contract(OutputSpec("pred", "segmentation", labels=LABELS, shape=(8, 9, 10)))
    assert ANSWERS.available(of) == ("application/json", "application/x-npy", "multipart/mixed")
    media_type, body = answer("application/x-npy", of, VOLUME, MASK)
    np.testing.assert_array_equal(np.load(io.BytesIO(body)), MASK)
    assert media_type == "application/x-npy"
    with pytest.raises(NotAcceptable):
        answer("application/gzip", of, VOLUME, MASK)


def test_several_results_on_a_grid_come_together() -> None:
    """One NIfTI would be the first of them, without a word about the others."""
    of = contract(*(OutputSpec(name, "segmentation", like_input="image") for name in ("a", "b")))
    assert ANSWERS.available(of) == ("multipart/mixed", "application/json", "image/png")
    prediction = Prediction((OutputArray("a", MASK, AFFINE), OutputArray("b", MASK)))
    encoded = ANSWERS.encode("multipart/mixed", of, ValidatedInputs((VOLUME,)), prediction)
    message = email.message_from_bytes(f"Content-Type: {encoded.media_type}\r\n\r\n".encode() + encoded.body)
    names = [part.get_filename() for part in message.walk() if part.get_content_type() == "application/gzip"]
    assert names == ["a.nii.gz", "b.nii.gz"]


def test_nothing_to_write_is_a_failure() -> None:
    """The bundle did not give what its contract says."""
    for media_type in ("application/gzip", "image/png"):
        with pytest.raises(RunFailed):
            ANSWERS.encode(media_type, SEGMENTER, ValidatedInputs((VOLUME,)), Prediction(()))
    with pytest.raises(RunFailed):
        answer("image/png", SEGMENTER, patient(age=1), MASK)


def test_multipart_holds_everything() -> None:
    """Any MIME parser reads it."""
    media_type, body = answer("multipart/mixed", SEGMENTER, VOLUME, MASK, AFFINE)
    message = email.message_from_bytes(f"Content-Type: {media_type}\r\n\r\n".encode() + body)
    parts = {part.get_content_type(): part for part in message.walk() if not part.is_multipart()}
    assert list(parts) == ["application/json", "application/gzip", "image/png"]
    assert parts["application/gzip"].get_filename() == "pred.nii.gz"
    payload = parts["application/gzip"].get_payload(decode=True)
    assert isinstance(payload, bytes)
    assert gzip.decompress(payload)[344:347] == b"n+1"


def test_names_are_made_safe_for_headers() -> None:
    """An output's name cannot end the header line."""
    of = contract(OutputSpec('a"\r\nX: 1', "segmentation"))
    prediction = Prediction((OutputArray('a"\r\nX: 1', MASK, AFFINE),))
    encoded = ANSWERS.encode("application/gzip", of, ValidatedInputs((VOLUME,)), prediction)
    assert dict(encoded.headers)["Content-Disposition"] == 'attachment; filename="a___X__1.nii.gz"'


@pytest.mark.parametrize(
    ("source", "array", "affine"),
    [
        (VOLUME, MASK, AFFINE),
        (VOLUME, np.zeros_like(MASK), None),
        (VOLUME, MASK[..., None], AFFINE),
        (VOLUME, np.stack([MASK > 0, MASK > 1], -1), AFFINE),
        (VOLUME, MASK[:4], AFFINE),
        (PLANE, MASK[..., 2], None),
        (decode_npy(encode_npy(SCAN[..., 0].astype(np.float32)), name="image", limit=1 << 20), MASK[..., 2], None),
        (
            decode_plane(encode_png(np.zeros((9, 8, 3), np.uint8)), "png", name="image", limit=999, arrays=False),
            MASK[..., 2],
            None,
        ),
        (
            decode_plane(encode_png(np.zeros((9, 8, 2), np.uint8)), "png", name="image", limit=999, arrays=False),
            MASK[..., 2],
            None,
        ),
    ],
)
def test_overlay_is_drawn_for_every_kind_of_result(source: DecodedImage, array: Any, affine: Any) -> None:
    """Volumes, planes, stacked masks, colour, another grid, and nothing found."""
    media_type, body = answer("image/png", SEGMENTER, source, array, affine)
    picture = Image.open(io.BytesIO(body))
    assert media_type == "image/png"
    assert picture.width >= 512


def test_overlay_puts_the_patients_right_on_the_left() -> None:
    """Radiological convention, from any storage order: a label on the right is drawn left in axial and coronal."""
    mask = np.zeros((10, 10, 10), np.uint8)
    mask[7:9, 4:6, 2] = 1
    for flip in (np.diag([1.0, 1, 1, 1]), np.diag([-1.0, 1, 1, 1])):
        array = mask if flip[0, 0] > 0 else mask[::-1]
        source = decode_nifti(encode_nifti(array, flip), name="image", limit=1 << 20)
        axial, coronal, sagittal = cut(source, OutputArray("pred", array, flip), 3, segmented=True)
        assert axial.labels is not None
        assert coronal.labels is not None
        assert sagittal.labels is not None
        assert np.flatnonzero(axial.labels.any(axis=0)).tolist() == [1, 2]
        assert np.flatnonzero(coronal.labels.any(axis=0)).tolist() == [1, 2]
        assert np.flatnonzero(coronal.labels.any(axis=1)).tolist() == [7]  # low in the body is low in the picture
        assert (axial.edges, coronal.edges, sagittal.edges) == ("RLAP", "RLSI", "APSI")


def test_image_results_are_shown_themselves() -> None:
    """A synthesised image has no labels; a constant one has no contrast, and does not divide by it."""
    of = contract(OutputSpec("pred", "image"))
    assert Image.open(io.BytesIO(answer("image/png", of, VOLUME, np.full((8, 9, 10), 3.0), AFFINE)[1])).width > 512
    assert Image.open(io.BytesIO(answer("image/png", of, VOLUME, np.full((8, 9, 10), np.nan), AFFINE)[1])).width > 512


def test_long_legends_are_cut() -> None:
    """A hundred organs do not fit a picture."""
    many = np.arange(720).reshape(8, 9, 10).astype(np.uint16) % 40
    short = Image.open(io.BytesIO(answer("image/png", SEGMENTER, VOLUME, MASK, AFFINE)[1]))
    long = Image.open(io.BytesIO(answer("image/png", SEGMENTER, VOLUME, many, AFFINE)[1]))
    assert 0 < long.height - short.height < 10 * 22


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


def test_files_that_a_bundle_writes_are_not_lost() -> None:
    """Some bundles answer with files only: text stands in the JSON, everything in the multipart answer."""
    nifti = encode_nifti(MASK, AFFINE)
    files = (OutputFile(".v1.csv", b"a,b"), OutputFile(".nii", nifti, "case_7"), OutputFile(".x\r\n", b"?"))
    prediction, inputs = Prediction((), files), ValidatedInputs((VOLUME,))
    body = orjson.loads(ANSWERS.encode("application/json", SEGMENTER, inputs, prediction).body)
    assert body["files"][0] == {"suffix": ".v1.csv", "media_type": "text/csv", "bytes": 3, "text": "a,b"}
    assert body["files"][1] == {
        "suffix": ".nii",
        "media_type": "application/x-nifti",
        "bytes": len(nifti),
        "name": "case_7",
    }
    assert gzip.decompress(ANSWERS.encode("application/gzip", SEGMENTER, inputs, prediction).body) == nifti
    mixed = ANSWERS.encode("multipart/mixed", SEGMENTER, inputs, prediction)
    message = email.message_from_bytes(f"Content-Type: {mixed.media_type}\r\n\r\n".encode() + mixed.body)
    names = [part.get_filename() for part in message.walk() if not part.is_multipart()]
    assert names == [None, "file_0.v1.csv", "case_7.nii", "file_2.x__"]


WRITES_A_PICTURE = contract(OutputSpec("file_0", "file", media_type="image/png"))
BOXES = contract(OutputSpec("boxes", "value"), OutputSpec("file_0", "file", media_type="text/csv"))
FOUND: Mapping[str, Json] = {"boxes": [{"box": [1, 2, 3, 4], "score": 0.5}]}


def test_a_model_that_only_writes_a_file_answers_with_it() -> None:
    """A generated picture is a picture, whoever asks for nothing in particular."""
    assert ANSWERS.available(WRITES_A_PICTURE) == ("image/png", "application/json", "multipart/mixed")
    prediction = Prediction((), (OutputFile(".txt", b"log"), OutputFile(".png", b"pixels", "sample")))
    encoded = ANSWERS.encode("image/png", WRITES_A_PICTURE, ValidatedInputs(()), prediction)
    assert (encoded.media_type, encoded.body) == ("image/png", b"pixels")
    assert encoded.headers == (("Content-Disposition", 'attachment; filename="sample.png"'),)
    with pytest.raises(RunFailed, match="wrote no file"):
        ANSWERS.encode("image/png", WRITES_A_PICTURE, ValidatedInputs(()), Prediction(()))


def test_values_stand_in_the_json_and_files_beside_it() -> None:
    """Boxes with scores are read where they are; the CSV comes under its own media type."""
    assert ANSWERS.available(BOXES) == ("application/json", "multipart/mixed", "text/csv")
    prediction = Prediction((), (OutputFile(".csv", b"a,b", "report"),), values=FOUND)
    encoded = ANSWERS.encode("application/json", BOXES, ValidatedInputs((VOLUME,)), prediction)
    assert orjson.loads(encoded.body)["outputs"] == {"boxes": {"value": FOUND["boxes"]}}
    mixed = ANSWERS.encode("multipart/mixed", BOXES, ValidatedInputs((VOLUME,)), prediction)
    message = email.message_from_bytes(f"Content-Type: {mixed.media_type}\r\n\r\n".encode() + mixed.body)
    parts = [(part.get_content_type(), part.get_filename()) for part in message.walk() if not part.is_multipart()]
    assert parts == [("application/json", None), ("text/csv", "report.csv")]


def test_an_array_without_a_place_is_in_the_multipart_answer() -> None:
    """A generated plane, for one: larger than what JSON writes out."""
    of = contract(OutputSpec("pred", "image", shape=(64, 64)))
    media_type, body = answer("multipart/mixed", of, VOLUME, np.zeros((64, 64), np.float32))
    message = email.message_from_bytes(f"Content-Type: {media_type}\r\n\r\n".encode() + body)
    assert [part.get_filename() for part in message.walk() if not part.is_multipart()] == [None, "pred.npy"]


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
