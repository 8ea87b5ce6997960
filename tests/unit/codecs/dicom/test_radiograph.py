"""Radiographs: which one is meant, what is refused, and what comes back."""

import io
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.codecs.dicom.cases import LIMITS, MAKE, picture, read_picture

from bedside.bundle.contract import Contract, InputSpec, OutputSpec
from bedside.bundle.dicom_policy import DicomPolicy, SeriesRule
from bedside.codecs import Answers, Codecs
from bedside.codecs.dicom import read_radiograph
from bedside.errors import (
    AmbiguousSeries,
    DecompressedTooLarge,
    DicomRefused,
    MultiFrame,
    NonSquarePixels,
    NotMonochrome,
    RequestError,
    UnsupportedSopClass,
    WrongBodyPart,
    WrongModality,
)
from bedside.settings import LimitSettings
from bedside.types import DecodedImage, OutputArray, Prediction, RawPart, ValidatedInputs

PIXELS = np.arange(12, dtype=np.uint16).reshape(3, 4) * 300
PLANES = ("image/png", "image/jpeg", "image/tiff", "application/dicom", "application/zip", "multipart/related")
SPEC = InputSpec("image", "image", PLANES, 2, dicom=DicomPolicy(modality="CR"))
uids = MAKE.uids


def made(**attributes: Any) -> Any:
    """Return one radiograph."""
    return MAKE.radiograph(PIXELS, **attributes)


def chest() -> list[Any]:
    """Return a study as it is usual: PA and lateral, one series each, and a dose report."""
    lateral = MAKE.radiograph(PIXELS[:2], 2, ViewPosition="LL", SeriesInstanceUID=f"{MAKE.ROOT}.8", SeriesNumber=6)
    return [made(), lateral, MAKE.radiograph(PIXELS, 3, SOPClassUID=uids.XRayRadiationDoseSRStorage)]


def test_a_radiograph_becomes_a_picture() -> None:
    """Rows and columns stay; the picture has 8 bits, one channel, and no place in space."""
    image, source = read_picture([made()])
    assert (image.shape, image.spatial_dims, image.channels, image.dtype) == ((4, 3), 2, 1, "uint8")
    assert image.affine is None
    expected = np.floor(np.clip((PIXELS - 2047.5) / 4095 + 0.5, 0, 1) * 255 + 0.5)
    np.testing.assert_array_equal(picture(image), expected)
    assert (source.modality, source.study) == ("DX", MAKE.STUDY)
    assert not [secret for secret in MAKE.SECRETS if secret in repr(source)]


@pytest.mark.parametrize("syntax", [uids.RLELossless, uids.JPEG2000Lossless, uids.JPEGLSLossless])
def test_compressed_radiographs(syntax: Any) -> None:
    """As radiographs mostly come."""
    dataset = MAKE.radiograph(np.arange(4096, dtype=np.uint16).reshape(64, 64))
    plain = picture(read_picture([dataset])[0])
    dataset.compress(syntax, generate_instance_uid=False)
    np.testing.assert_array_equal(picture(read_picture([dataset])[0]), plain)


def test_a_view_is_chosen_by_rule() -> None:
    """Of PA and lateral, the one that the bundle was made for; what is no image is left aside."""
    image, _ = read_picture(chest(), series=(SeriesRule(view=("pa", "AP")),))
    assert image.shape == (4, 3)
    image, _ = read_picture(chest(), series=(SeriesRule(view=("LL",)),))
    assert image.shape == (4, 2)
    assert read_picture([made(ViewPosition=None)], series=(SeriesRule(view=("PA", "")),))


def test_two_views_are_ambiguous() -> None:
    """Also where they share a series; they are named by their numbers."""
    with pytest.raises(AmbiguousSeries, match=r"image 1 of series 6, image 2 of series 5") as caught:
        read_picture(chest()[:2])
    assert len(caught.value.instances) == 2


@pytest.mark.parametrize("modality", ["CR", "DX"])
def test_how_it_was_read_out_is_no_difference(modality: str) -> None:
    """A model made for CR takes DX."""
    assert read_picture([made(Modality=modality)], modality="CR")


REFUSED: dict[str, tuple[type[DicomRefused], dict[str, Any]]] = {
    "colour": (NotMonochrome, {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}),
    "palette": (NotMonochrome, {"PhotometricInterpretation": "PALETTE COLOR"}),
    "several_frames": (MultiFrame, {"NumberOfFrames": 2, "PixelData": PIXELS.tobytes() * 2}),
    "ultrasound_cine": (MultiFrame, {"SOPClassUID": uids.UltrasoundMultiFrameImageStorage, "NumberOfFrames": 40}),
    "ultrasound": (UnsupportedSopClass, {"SOPClassUID": uids.UltrasoundImageStorage, "Modality": "US"}),
    "for_processing": (UnsupportedSopClass, {"SOPClassUID": uids.DigitalXRayImageStorageForProcessing}),
    "ct_slice": (UnsupportedSopClass, {"SOPClassUID": uids.CTImageStorage, "Modality": "CT"}),
    "mammogram": (
        WrongModality,
        {"SOPClassUID": uids.DigitalMammographyXRayImageStorageForPresentation, "Modality": "MG"},
    ),
    "knee": (WrongBodyPart, {"BodyPartExamined": "KNEE"}),
    "stretched": (NonSquarePixels, {"ImagerPixelSpacing": [0.1, 0.2]}),
    "stretched_by_ratio": (NonSquarePixels, {"PixelAspectRatio": [1, 2]}),
    "spacing_zero": (NonSquarePixels, {"PixelSpacing": [0, 0]}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_picture_for_the_model(name: str) -> None:
    """Each by its reason, with the instance, and the input's name as the field."""
    error, attributes = REFUSED[name]
    with pytest.raises(error) as caught:
        read_picture([made(**attributes)], modality="CR", body_part=("CHEST",))
    assert caught.value.instances == (f"{MAKE.SERIES}.1",)
    assert caught.value.field == "image"


@pytest.mark.parametrize("limits", [{"picture_pixels": 11}, {"decompressed_bytes": 95}])
def test_too_large(limits: dict[str, int]) -> None:
    """Found out by the header."""
    with pytest.raises(DecompressedTooLarge):
        read_radiograph(MAKE.files([made()]), DicomPolicy(), LimitSettings(**limits))


def contract(kind: Any = "probabilities") -> Contract:
    """Return a contract with a picture in and two classes out."""
    output = OutputSpec("pred", kind, "float32", (2,), {0: "normal", 1: "pneumonia"})
    return Contract("chest_xray", "1.0.0", "sha256:0", "", "", (SPEC,), (output,), {})


def test_the_answer_is_a_report() -> None:
    """Probabilities by class, in the patient's study, referring to the image (TID 1500)."""
    image = Codecs(LIMITS).decode_part(RawPart(None, "application/dicom", MAKE.written(made())), SPEC)
    assert isinstance(image, DecodedImage)
    assert Answers().available(contract())[-2:] == ("application/dicom", "multipart/related")
    prediction = Prediction((OutputArray("pred", np.array([0.2, 0.8], np.float32)),))
    answers = [
        Answers().encode("application/dicom", contract(), ValidatedInputs((image,)), prediction) for _ in range(2)
    ]
    report, again = (pydicom.dcmread(io.BytesIO(answer.body)) for answer in answers)
    assert (report.Modality, report.StudyInstanceUID, report.PatientID) == ("SR", MAKE.STUDY, MAKE.PATIENT_ID)
    assert report.SOPInstanceUID == again.SOPInstanceUID
    text = report.to_json()
    assert "0.8" in text
    assert "pneumonia" in text
    evidence = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert evidence.ReferencedSOPInstanceUID == f"{MAKE.SERIES}.1"


def test_masks_of_radiographs_are_no_dicom_answers() -> None:
    """A radiograph has no frame of reference for a Segmentation."""
    assert "application/dicom" not in Answers().available(contract("segmentation"))


@settings(max_examples=80)
@given(data=st.data())
def test_flipped_bytes(data: st.DataObject) -> None:
    """Only named errors, and nothing of the patient in what is told."""
    item = pydicom.Dataset()
    item.LUTDescriptor = [4, 0, 16]
    item.add_new("LUTData", "OW", bytes(range(8)))
    content = bytearray(MAKE.written(made(VOILUTSequence=[item], PixelPaddingValue=3)))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(128, len(content) - 1))] = data.draw(st.integers(0, 255))
    told = ""
    try:
        read_radiograph([bytes(content)], DicomPolicy(), LIMITS)
    except RequestError as error:
        told = f"{error!r} {error.__cause__!r}"
    assert not [secret for secret in MAKE.SECRETS if secret in told]
