"""Answers as files: what a model can answer with, where a result lies, several in one."""

import email
import gzip
import io
from typing import Any

import nibabel
import numpy as np
import orjson
import pytest
from tests.unit.codecs.answering import (
    AFFINE,
    ANSWERS,
    BOXES,
    CLASSIFIER,
    FOUND,
    LABELS,
    MASK,
    PLANE,
    SEGMENTER,
    VOLUME,
    WRITES_A_PICTURE,
    answer,
    contract,
    patient,
    report,
)

from bedside.bundle.contract import Contract, OutputSpec
from bedside.codecs.nifti import encode_nifti
from bedside.errors import NotAcceptable, RunFailed
from bedside.types import OutputArray, OutputFile, Prediction, ValidatedInputs


def test_what_a_model_can_answer_with() -> None:
    """A grid comes as the file that viewers open, anything else as JSON."""
    assert ANSWERS.available(SEGMENTER) == ("application/gzip", "application/json", "image/png", "multipart/mixed")
    assert ANSWERS.available(CLASSIFIER) == ("application/json",)
    with pytest.raises(NotAcceptable):
        answer("image/png", CLASSIFIER, PLANE, [0.3, 0.7])


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
