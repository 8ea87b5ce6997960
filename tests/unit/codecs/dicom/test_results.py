"""What goes back to the archive: bit for bit, in the source's place, with its references, and the same each time."""

import io
import tracemalloc
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from tests.unit.codecs.dicom.cases import MAKE, read

from bedside.bundle.contract import Contract, InputSpec, OutputSpec
from bedside.bundle.dicom_policy import DicomPolicy
from bedside.codecs.dicom import write_results
from bedside.codecs.dicom.objects import DicomObject
from bedside.codecs.dicom.source import SourceSeries
from bedside.errors import RunFailed
from bedside.types import DecodedImage, OutputArray, Prediction, ValidatedInputs

CREATED = datetime(2026, 11, 21, 10, 11, 12, tzinfo=UTC)
LABELS = {0: "background", 1: "liver", 2: "Dark spot"}
ALL = ("segmentation", "report", "capture")


def contract(**output: Any) -> Contract:
    """Return a contract with one segmentation."""
    values: dict[str, Any] = {"labels": LABELS, "like_input": "image", **output}
    return Contract(
        model="liver_ct",
        version="1.2.0",
        digest="sha256:" + "5c" * 32,
        task="",
        description="",
        inputs=(InputSpec("image", "image"),),
        outputs=(OutputSpec("pred", values.pop("kind", "segmentation"), **values),),
        metrics={},
    )


def mask_of(image: DecodedImage) -> NDArray[Any]:
    """Return labels without any symmetry, so that no turn or mirror goes unseen."""
    values: NDArray[Any] = np.random.default_rng(7).integers(0, 3, image.shape, dtype=np.uint8)
    return values


def write(
    source: SourceSeries, mask: NDArray[Any], affine: NDArray[np.float64] | None = None, **policy: Any
) -> list[DicomObject]:
    """Write a mask as DICOM."""
    prediction = Prediction((OutputArray("pred", mask, affine),))
    return write_results(source, contract(), prediction, DicomPolicy(**policy), created=CREATED)


def parsed(found: DicomObject) -> Any:
    """Return an object as an archive would read it."""
    return pydicom.dcmread(io.BytesIO(found.data))


def frames_in_source(found: DicomObject, source: SourceSeries) -> NDArray[Any]:
    """Return the labels by source frame, shape (slices, rows, columns), as a viewer finds them by reference."""
    dataset = highdicom.seg.segread(io.BytesIO(found.data))
    if source.is_multiframe:
        (uid, _), *_ = source.frames
        numbers = [number for _, number in source.frames]
        pixels = dataset.get_pixels_by_source_frame(uid, numbers, combine_segments=True, ignore_spatial_locations=True)
    else:
        uids = [uid for uid, _ in source.frames]
        pixels = dataset.get_pixels_by_source_instance(uids, combine_segments=True, ignore_spatial_locations=True)
    return np.asarray(pixels)


@pytest.mark.parametrize("name", ["series", "oblique", "mr", "enhanced", "enhanced_by_frames"])
@pytest.mark.parametrize("with_affine", [True, False])
def test_masks_come_back_bit_for_bit(name: str, with_affine: bool) -> None:  # noqa: FBT001 - a case
    """Whatever the plane, classic or enhanced, the mask lies on the pixels that it was made from."""
    image, source = read(getattr(MAKE, name)())
    mask = mask_of(image)
    segmentation, _ = write(source, mask, image.affine if with_affine else None)
    np.testing.assert_array_equal(frames_in_source(segmentation, source), mask.transpose(2, 1, 0))


def test_a_turned_grid_comes_back_onto_the_source() -> None:
    """A bundle that answers in RAS gives the same object as one that leaves the axes alone."""
    image, source = read(MAKE.oblique())
    assert image.affine is not None
    mask = mask_of(image)
    turned = np.ascontiguousarray(mask[::-1, ::-1].transpose(2, 0, 1))
    flip = np.array([[0, -1, 0, 3], [0, 0, -1, 4], [1, 0, 0, 0], [0, 0, 0, 1]], float)
    segmentation, _ = write(source, turned, image.affine @ flip)
    np.testing.assert_array_equal(frames_in_source(segmentation, source), mask.transpose(2, 1, 0))


def test_a_coarser_grid_is_resampled_by_nearest_neighbour() -> None:
    """Each source pixel gets the label of the voxel that it lies in; outside of the grid there is none."""
    image, source = read(MAKE.series())
    assert image.affine is not None
    coarse = np.array([[[1, 2]]], np.uint8)
    affine = image.affine @ np.array([[2, 0, 0, 0.5], [0, 2, 0, 0.5], [0, 0, 2, 0.5], [0, 0, 0, 1]])
    segmentation, _ = write(source, coarse, affine)
    found = frames_in_source(segmentation, source)
    expected = np.zeros((4, 5, 4), np.uint8)
    expected[:2, :2, :2], expected[2:, :2, :2] = 1, 2
    np.testing.assert_array_equal(found, expected)


def test_a_mended_series_gets_its_mask_where_its_slices_are() -> None:
    """The model saw a straightened volume; the archive has tilted slices."""
    image, source = read(MAKE.tilted(degrees=20.0), resample=("gantry-tilt",))
    mask = np.zeros(image.shape, np.uint8)
    mask[:, 5, :] = 1
    segmentation, _ = write(source, mask, image.affine)
    rows = [np.flatnonzero(frame.any(axis=1)).tolist() for frame in frames_in_source(segmentation, source)]
    assert rows == [[round(5 - number * np.tan(np.radians(20)) / 0.5)] for number in range(6)]


def test_overlapping_masks_keep_both() -> None:
    """Stacked channels are segments of their own; the background channel is none."""
    image, source = read(MAKE.series())
    stacked = np.zeros((*image.shape, 3), np.float32)
    stacked[..., 0], stacked[1:3, 1:3, 1, 1], stacked[2:4, 2:4, 1, 2] = 1, 1, 1
    segmentation, report = write(source, stacked, image.affine)
    dataset = parsed(segmentation)
    assert [item.SegmentLabel for item in dataset.SegmentSequence] == ["liver", "Dark spot"]
    assert int(highdicom.seg.segread(io.BytesIO(segmentation.data)).pixel_array.sum()) == 8
    assert _volumes(parsed(report)) == {"liver": 4 * 0.375 / 1000, "Dark spot": 4 * 0.375 / 1000}


def test_an_empty_mask_is_an_answer() -> None:
    """Nothing found is written as frames without a pixel, and 0 mL."""
    image, source = read(MAKE.series())
    segmentation, report = write(source, np.zeros(image.shape, np.uint8), image.affine)
    assert not frames_in_source(segmentation, source).any()
    assert _volumes(parsed(report)) == {"liver": 0, "Dark spot": 0}


def _numbers(dataset: Any) -> list[Any]:
    found = [dataset] if dataset.get("ValueType") == "NUM" else []
    return found + [inner for item in dataset.get("ContentSequence", ()) for inner in _numbers(item)]


def _groups(dataset: Any) -> list[Any]:
    found = []
    for item in dataset.get("ContentSequence", ()):
        named = item.get("ConceptNameCodeSequence")
        found += [item] if named and named[0].CodeMeaning == "Measurement Group" else _groups(item)
    return found


def _volumes(report: Any) -> dict[str, float]:
    volumes = {}
    for group in _groups(report):
        label = next(i.TextValue for i in group.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "112039")
        (number,) = _numbers(group)
        value = number.MeasuredValueSequence[0]
        assert value.MeasurementUnitsCodeSequence[0].CodeValue == "mL"
        volumes[label] = float(value.NumericValue)
    return volumes


def test_volumes_per_label() -> None:
    """Voxels times their size, in millilitres (UCUM), under the same tracking UID as the segment."""
    image, source = read(MAKE.series())
    mask = mask_of(image)
    segmentation, report = write(source, mask, image.affine)
    expected = {name: round(int((mask == value).sum()) * 0.375 / 1000, 6) for value, name in LABELS.items() if value}
    assert _volumes(parsed(report)) == expected
    tracked = {item.TrackingUID for item in parsed(segmentation).SegmentSequence}
    stated = {
        item.UID
        for group in _groups(parsed(report))
        for item in group.ContentSequence
        if item.ConceptNameCodeSequence[0].CodeMeaning == "Tracking Unique Identifier"
    }
    assert tracked == stated


def test_probabilities_of_a_classifier() -> None:
    """One number per class, with the images that it is about; no segmentation."""
    _, source = read(MAKE.series())
    spec = contract(kind="probabilities", labels={0: "normal", 1: "Pneumonia"}, like_input=None)
    prediction = Prediction((OutputArray("pred", np.array([0.25, 0.75], np.float32)),))
    (report,) = write_results(source, spec, prediction, DicomPolicy(), created=CREATED)
    values = [float(number.MeasuredValueSequence[0].NumericValue) for number in _numbers(parsed(report))]
    assert (report.kind, values) == ("report", [0.25, 0.75])


def test_one_sigmoid_is_a_probability_of_the_second_class() -> None:
    """As in the JSON answer."""
    _, source = read(MAKE.series())
    spec = contract(kind="probabilities", labels={0: "normal", 1: "Pneumonia"}, like_input=None)
    prediction = Prediction((OutputArray("pred", np.array([0.75], np.float32)),))
    (report,) = write_results(source, spec, prediction, DicomPolicy(), created=CREATED)
    values = [float(number.MeasuredValueSequence[0].NumericValue) for number in _numbers(parsed(report))]
    assert values == [0.25, 0.75]


def test_scores_that_are_no_probabilities_are_not_called_so() -> None:
    """Logits have no name in DICOM, so there is nothing to write."""
    _, source = read(MAKE.series())
    spec = contract(kind="probabilities", labels={0: "normal", 1: "Pneumonia"}, like_input=None)
    prediction = Prediction((OutputArray("pred", np.array([-3.0, 4.0], np.float32)),))
    with pytest.raises(RunFailed, match="nothing"):
        write_results(source, spec, prediction, DicomPolicy(), created=CREATED)


def test_objects_belong_to_the_source() -> None:
    """Its study, patient and frame of reference; a series of their own; every slice referred to."""
    image, source = read(MAKE.series())
    prediction = Prediction((OutputArray("pred", mask_of(image), image.affine),))
    inputs = ValidatedInputs((image,))
    objects = write_results(source, contract(), prediction, DicomPolicy(results=ALL), inputs=inputs, created=CREATED)
    assert [found.kind for found in objects] == list(ALL)
    for dataset in map(parsed, objects):
        assert (dataset.StudyInstanceUID, dataset.PatientID) == (MAKE.STUDY, MAKE.PATIENT_ID)
        assert str(dataset.PatientName) == MAKE.PATIENT_NAME
        assert (dataset.StudyDate, dataset.AccessionNumber) == ("20260102", "A-4711")
        assert dataset.SeriesInstanceUID != source.series
        assert (dataset.ContentDate, dataset.ContentTime) == ("20261121", "101112")
        assert "not a medical device" in dataset.SeriesDescription
    segmentation = parsed(objects[0])
    assert segmentation.FrameOfReferenceUID == MAKE.FRAME
    referred = segmentation.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert {item.ReferencedSOPInstanceUID for item in referred} == {uid for uid, _ in source.frames}
    algorithm = segmentation.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0]
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("liver_ct", "1.2.0")
    assert contract().digest in algorithm.AlgorithmParameters
    assert parsed(objects[2]).PhotometricInterpretation == "RGB"


def test_a_retry_gives_the_same_objects() -> None:
    """UIDs hang on input, bundle and policy alone; with the same time, so do all bytes."""
    image, source = read(MAKE.series())
    mask = mask_of(image)
    first, again = write(source, mask, image.affine), write(read(MAKE.series()[::-1])[1], mask, image.affine)
    assert [found.data for found in first] == [found.data for found in again]
    for found in first:
        assert found.sop_instance_uid.startswith("2.25.")
        assert len(found.sop_instance_uid) <= 64


def test_another_input_bundle_or_policy_gives_other_objects() -> None:
    """An archive must not take one for the other."""
    image, source = read(MAKE.series())
    mask = mask_of(image)
    prediction = Prediction((OutputArray("pred", mask, image.affine),))
    bundle = replace(contract(), digest="sha256:" + "00" * 32)
    other_bundle = write_results(source, bundle, prediction, DicomPolicy(), created=CREATED)
    other_input = write(read(MAKE.flat([1, 2, 3, 4]))[1], mask[:2, :3], image.affine)
    other_policy = write(source, mask, image.affine, results=ALL[:1])
    uids = {run[0].sop_instance_uid for run in (write(source, mask), other_bundle, other_input, other_policy)}
    assert len(uids) == 4


def test_labels_are_coded() -> None:
    """By the policy, else by their own words where DICOM knows them, else as tissue with the words as the label."""
    image, source = read(MAKE.series())
    segments = parsed(write(source, mask_of(image), image.affine)[0]).SegmentSequence
    types = [item.SegmentedPropertyTypeCodeSequence[0] for item in segments]
    assert [(code.CodeValue, code.CodeMeaning) for code in types] == [("10200004", "Liver"), ("85756007", "Tissue")]
    assert segments[1].SegmentLabel == "Dark spot"
    coded = {
        "Dark spot": {
            "category": {"value": "49755003", "meaning": "Morphologically Abnormal Structure"},
            "type": {"value": "52988006", "meaning": "Lesion"},
            "modifier": {"value": "7771000", "meaning": "Left"},
        }
    }
    segment = parsed(write(source, mask_of(image), image.affine, segments=coded)[0]).SegmentSequence[1]
    coding = segment.SegmentedPropertyTypeCodeSequence[0]
    assert (segment.SegmentedPropertyCategoryCodeSequence[0].CodeValue, coding.CodeValue) == ("49755003", "52988006")
    assert coding.SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning == "Left"


def test_a_lesion_is_no_anatomy() -> None:
    """Its category says that it is a morphologically abnormal structure."""
    image, source = read(MAKE.series())
    spec = contract(labels={1: "Nodule"})
    prediction = Prediction((OutputArray("pred", (mask_of(image) == 1).astype(np.uint8), image.affine),))
    segmentation, _ = write_results(source, spec, prediction, DicomPolicy(), created=CREATED)
    (segment,) = parsed(segmentation).SegmentSequence
    assert segment.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "49755003"


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        ("ISO_IR 192", "Müller^Zoë"),
        ("ISO_IR 100", "Müller^Jürgen"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),  # PS3.5 §H.3.1
        ("GB18030", "Wang^XiaoDong=王^小东"),
    ],
    ids=["utf8", "latin1", "japanese", "chinese"],
)
def test_names_survive_in_every_character_set(charset: Any, name: str) -> None:
    """What came in any character set goes out in UTF-8, letter by letter."""
    image, source = read(MAKE.series(SpecificCharacterSet=charset, PatientName=name))
    for found in write(source, mask_of(image), image.affine):
        dataset = parsed(found)
        assert dataset.SpecificCharacterSet == "ISO_IR 192"
        assert str(dataset.PatientName) == name


def test_a_stray_backslash_in_a_name_or_a_text_leaves_it_one_text() -> None:
    """It parts values (PS3.5 §6.2), and the name of a patient has but one: no brackets of a list go into a result."""
    image, source = read(MAKE.series(PatientName="Doe\\Jane", StudyDescription="Head\\neck"))
    for found in write(source, mask_of(image), image.affine, results=ALL[:2]):
        assert str(parsed(found).PatientName) == "Doe Jane"
    assert source.headers[0].StudyDescription == ["Head", "neck"]


def test_odd_patient_attributes_do_not_lose_a_result() -> None:
    """A date that is none and a sex that DICOM has no letter for become empty; nothing else is lost."""
    made = MAKE.series(PatientSex="X", StudyID=None, StudyTime=None, ReferringPhysicianName=None)
    for dataset in made:
        dataset.add_new("PatientBirthDate", "DA", "unknown!")
    image, source = read(made)
    dataset = parsed(write(source, mask_of(image), image.affine)[0])
    assert (dataset.PatientSex, dataset.PatientBirthDate, dataset.StudyID) == ("", "", "")
    assert str(dataset.PatientName) == MAKE.PATIENT_NAME


@pytest.mark.parametrize(
    ("array", "affine", "spec"),
    [
        (np.ones((2, 2, 2), np.uint8), None, {}),
        (np.ones((4, 5, 4), np.uint8), None, {"like_input": None}),
        (np.ones((4, 5, 4), np.uint8), np.zeros((4, 4)), {}),
        (np.ones((4, 5), np.uint8), np.eye(4), {}),
        (np.zeros((4, 5, 4), np.uint8), np.eye(4), {"labels": {}}),
        (np.ones((4, 5, 4), np.float32), None, {"kind": "image"}),
    ],
    ids=["other_grid", "unlike_input", "singular", "plane", "no_labels", "image"],
)
def test_what_has_no_place_or_no_object_is_refused(
    array: NDArray[Any], affine: NDArray[np.float64] | None, spec: dict[str, Any]
) -> None:
    """Without the source's frame of reference a segment could lie anywhere."""
    _, source = read(MAKE.series())
    with pytest.raises(RunFailed):
        write_results(source, contract(**spec), Prediction((OutputArray("pred", array, affine),)), DicomPolicy())


def test_two_segmentations_are_refused() -> None:
    """One object refers to one model output; both could not be told apart by their UIDs' purpose."""
    image, source = read(MAKE.series())
    output = OutputArray("pred", mask_of(image), image.affine)
    with pytest.raises(RunFailed, match="several"):
        write_results(source, contract(), Prediction((output, output)), DicomPolicy())


def test_reprs_tell_nothing() -> None:
    """Nor does the object's: its data name the patient."""
    image, source = read(MAKE.series())
    shown = repr(write(source, mask_of(image), image.affine))
    assert not [secret for secret in (*MAKE.SECRETS, MAKE.STUDY) if secret in shown]


def test_a_large_mask_is_written_within_three_volumes() -> None:
    """Labels as float32, which models answer with, are numbered slice by slice."""
    image, source = read(MAKE.series(range(40), rows=256, columns=256))
    mask = np.zeros(image.shape, np.float32, order="F")
    mask[64:192, 64:192] = 1
    write(source, mask)  # what is imported and remembered is not counted
    tracemalloc.start()
    try:
        write(source, mask)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * 2 * mask.size
