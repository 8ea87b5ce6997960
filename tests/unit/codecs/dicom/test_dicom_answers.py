"""A prediction on a DICOM series as the answers that a caller may ask for."""

import email
import io
from datetime import datetime, tzinfo
from typing import Any, Self

import numpy as np
import pydicom
import pytest
from tests.unit.codecs.dicom.cases import MAKE, read

from bedside.bundle.contract import Contract, InputSpec, OutputSpec
from bedside.bundle.dicom_policy import DicomPolicy
from bedside.codecs import Answers
from bedside.codecs.nifti import decode_nifti
from bedside.errors import NotAcceptable
from bedside.types import DecodedImage, OutputArray, Prediction, ValidatedInputs

TYPES = ("application/x-nifti", "application/gzip", "application/dicom", "application/zip", "multipart/related")


class _Clock(datetime):
    """A clock that has stopped, so that two answers can be compared."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        """Return a moment."""
        return cls(2026, 1, 2, tzinfo=tz)


def contract(media_types: tuple[str, ...] = TYPES, kind: Any = "segmentation", **policy: Any) -> Contract:
    """Return a contract with one volume in and one result out."""
    spec = InputSpec("image", "image", media_types, 3, dicom=DicomPolicy(**policy))
    output = OutputSpec("pred", kind, labels={0: "background", 1: "liver"}, like_input="image")
    return Contract("liver_ct", "1.0.0", "sha256:0", "", "", (spec,), (output,), {})


def answered(media_type: str, image: DecodedImage, **policy: Any) -> tuple[str, bytes]:
    """Return content type and body of an answer."""
    prediction = Prediction((OutputArray("pred", np.ones(image.shape, np.uint8), image.affine),))
    answer = Answers().encode(media_type, contract(**policy), ValidatedInputs((image,)), prediction)
    return answer.media_type, answer.body


WITH_CAPTURE = ("segmentation", "report", "capture")


@pytest.mark.parametrize(
    ("media_type", "results", "drawn"),
    [
        ("application/json", WITH_CAPTURE, False),
        ("application/gzip", WITH_CAPTURE, False),
        ("application/dicom", WITH_CAPTURE[:2], False),
        ("multipart/related", WITH_CAPTURE[:2], False),
        ("multipart/related", WITH_CAPTURE, True),
        ("multipart/mixed", WITH_CAPTURE[:2], True),
        ("image/png", WITH_CAPTURE[:2], True),
    ],
)
def test_voxels_are_needed_only_where_they_are_drawn(
    media_type: str, results: tuple[str, ...], *, drawn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an answer needs of a series gives the same bytes as all of it, without the volume where nobody looks."""
    monkeypatch.setattr("bedside.codecs.dicom.results.datetime", _Clock)
    of, (image, _) = contract(results=results), read(MAKE.series())
    needed = Answers().needed(media_type, of, ValidatedInputs((image,)))
    (kept,) = needed.items
    assert isinstance(kept, DecodedImage)
    assert kept.payload == (image.payload if drawn else b"")
    assert answered(media_type, kept, results=results) == answered(media_type, image, results=results)


def test_offers() -> None:
    """DICOM objects where a DICOM series may come and the result is something that DICOM has an object for."""
    offered = Answers().available(contract())
    assert offered[0] == "application/gzip"
    assert offered[-2:] == ("application/dicom", "multipart/related")
    for other in (contract(TYPES[:2]), contract(kind="image")):
        assert "application/dicom" not in Answers().available(other)


def test_one_object() -> None:
    """The main one: the segmentation."""
    image, _ = read(MAKE.series())
    media_type, body = answered("application/dicom", image)
    assert media_type == "application/dicom"
    assert pydicom.dcmread(io.BytesIO(body)).Modality == "SEG"


def test_all_objects() -> None:
    """As multipart/related (PS3.18 §8.7.1), as many as the policy names."""
    image, _ = read(MAKE.series())
    media_type, body = answered("multipart/related", image, results=("segmentation", "report", "capture"))
    message = email.message_from_bytes(f"Content-Type: {media_type}\r\n\r\n".encode() + body)
    assert message.get_param("type") == "application/dicom"
    parts = [part.get_payload(decode=True) for part in message.walk() if not part.is_multipart()]
    modalities = [pydicom.dcmread(io.BytesIO(part)).Modality for part in parts if isinstance(part, bytes)]
    assert modalities == ["SEG", "SR", "OT"]


def test_the_report_alone() -> None:
    """Where the policy leaves the segmentation out, what refers to it still stands."""
    image, _ = read(MAKE.series())
    _, body = answered("application/dicom", image, results=("report",))
    assert pydicom.dcmread(io.BytesIO(body)).Modality == "SR"


def test_other_inputs_have_no_study() -> None:
    """Asked for DICOM, a NIfTI file gets 406 with what there is."""
    image = read(MAKE.series())[0]
    plain = decode_nifti(image.payload, name="image", limit=1 << 20)
    with pytest.raises(NotAcceptable) as caught:
        answered("application/dicom", plain)
    assert "application/gzip" in caught.value.available
