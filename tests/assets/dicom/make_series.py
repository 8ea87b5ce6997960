"""Makes DICOM series for tests, sound ones and defective ones, each defect by its name.

Run it with a folder to look at them: ``python make_series.py FOLDER``. The tests build them in memory. Patients are
made up; ``SECRETS`` are the texts that must never leave the objects.
"""

import copy
import io
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom import uid as uids

PATIENT_NAME = "Doe^Jane Geheim"
PATIENT_ID = "PID-4711-GEHEIM"
SECRETS = ("Geheim", "GEHEIM", "Doe", "D-4711", "A-4711")  # digits alone stand in any log
ROOT = "1.2.826.0.1.3680043.10.999"
STUDY, SERIES, FRAME = f"{ROOT}.1", f"{ROOT}.2", f"{ROOT}.3"
DX = uids.DigitalXRayImageStorageForPresentation
CT, MR, PT = uids.CTImageStorage, uids.MRImageStorage, uids.PositronEmissionTomographyImageStorage

Series = list[pydicom.Dataset]


def instance(number: int, pixels: NDArray[Any], position: Iterable[float], **attributes: Any) -> pydicom.Dataset:
    """Return one CT slice; ``attributes`` replace, or with None remove, what it has."""
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uids.ExplicitVRLittleEndian
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.SOPClassUID = CT
    dataset.SOPInstanceUID = f"{SERIES}.{number}"
    dataset.StudyDate, dataset.StudyTime = "20260102", "030405"
    dataset.AccessionNumber = "A-4711"
    dataset.Modality = "CT"
    dataset.SeriesDescription = "Axial for Jane Geheim"
    dataset.PatientName, dataset.PatientID = PATIENT_NAME, PATIENT_ID
    dataset.PatientBirthDate, dataset.PatientSex = "19700102", "F"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = STUDY, SERIES, FRAME
    dataset.StudyID, dataset.SeriesNumber, dataset.InstanceNumber = "1", 5, number
    dataset.ImagePositionPatient = [float(value) for value in position]
    dataset.ImageOrientationPatient = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    dataset.PixelSpacing, dataset.SliceThickness = [0.5, 0.75], 1.0
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape
    bits = 8 * pixels.dtype.itemsize
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = 1, -1024, "HU"
    dataset.PixelData = pixels.tobytes()
    dataset["PixelData"].VR = "OW" if bits > 8 else "OB"
    for keyword, value in attributes.items():
        change(dataset, keyword, value)
    return dataset


def change(dataset: pydicom.Dataset, keyword: str, value: Any) -> None:
    """Set an attribute, or remove it where the value is None."""
    if value is not None:
        setattr(dataset, keyword, value)
    elif keyword in dataset:
        delattr(dataset, keyword)


def series(heights: Iterable[float] = (0, 1, 2, 3), *, rows: int = 5, columns: int = 4, **attributes: Any) -> Series:
    """Return a CT series with slices at ``heights``, every pixel of its own value."""
    made = []
    for number, height in enumerate(heights, 1):
        values = np.arange(rows * columns, dtype=np.uint16).reshape(rows, columns) + 100 * number
        made.append(instance(number, values, (-3, -4, height), **attributes))
    return made


def flat(values: Iterable[int], **attributes: Any) -> Series:
    """Return a series of slices with one stored value each."""
    return [
        instance(number, np.full((3, 2), value, np.uint16), (0, 0, number), **attributes)
        for number, value in enumerate(values, 1)
    ]


def mr(**attributes: Any) -> Series:
    """Return an MR series, which has no rescaling."""
    nothing = {"RescaleSlope": None, "RescaleIntercept": None, "RescaleType": None}
    return series(SOPClassUID=MR, Modality="MR", **{**nothing, **attributes})


def radiograph(pixels: NDArray[Any], number: int = 1, **attributes: Any) -> pydicom.Dataset:
    """Return one digital radiograph of a chest; ``attributes`` as for :func:`instance`."""
    places = (
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "PixelSpacing",
        "SliceThickness",
        "FrameOfReferenceUID",
    )
    shown = {
        **dict.fromkeys((*places, "RescaleType")),
        "SOPClassUID": DX,
        "Modality": "DX",
        "ImageType": ["ORIGINAL", "PRIMARY"],
        "RescaleIntercept": 0,
        "SeriesDescription": "Chest of Jane Geheim",
        "BodyPartExamined": "CHEST",
        "ViewPosition": "PA",
        "ImagerPixelSpacing": [0.14, 0.14],
        "WindowCenter": 2048,
        "WindowWidth": 4096,
    }
    return instance(number, pixels, (0, 0, 0), **{**shown, **attributes})


def oblique() -> Series:
    """Return a series in a plane that is turned about two axes."""
    a, b = np.radians(20), np.radians(35)
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    turn = turn @ np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    made = series()
    for number, dataset in enumerate(made):
        dataset.ImageOrientationPatient = [round(float(value), 8) for value in (*turn[:, 0], *turn[:, 1])]
        dataset.ImagePositionPatient = [round(float(value), 6) for value in turn @ (10, 20, 2.5 * number)]
    return made


def lossy() -> Series:
    """Return an MR series that JPEG 2000 has cost something, which its headers do not say."""
    made = mr(rows=64, columns=80)
    for dataset in made:
        dataset.compress(uids.JPEG2000, j2k_cr=[8], generate_instance_uid=False)
        for keyword in ("", "Ratio", "Method"):
            change(dataset, f"LossyImageCompression{keyword}", None)
    return made


def tilted(degrees: float = 10.0, count: int = 6) -> Series:
    """Return a CT series with a tilted gantry: each slice is shifted along its columns."""
    made = series(range(count), rows=12, columns=10)
    for number, dataset in enumerate(made):
        dataset.ImagePositionPatient = [-3.0, -4 + number * float(np.tan(np.radians(degrees))), float(number)]
    return made


def enhanced(count: int = 4, **attributes: Any) -> Series:
    """Return one Enhanced MR object; slopes differ from frame to frame, frames come in reverse order."""
    slices = mr()[:count]
    dataset = slices[0]
    dataset.SOPClassUID, dataset.NumberOfFrames = uids.EnhancedMRImageStorage, count
    shared, orientation, measures = (pydicom.Dataset() for _ in range(3))
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    measures.PixelSpacing, measures.SliceThickness = [0.5, 0.75], 1
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    dataset.SharedFunctionalGroupsSequence = [shared]
    dataset.PerFrameFunctionalGroupsSequence = [_groups(slices[place], 1 + place) for place in reversed(range(count))]
    dataset.PixelData = b"".join(slices[place].PixelData for place in reversed(range(count)))
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
        delattr(dataset, keyword)
    for keyword, value in attributes.items():
        change(dataset, keyword, value)
    return [dataset]


def enhanced_by_frames() -> Series:
    """Return one Enhanced MR object that states orientation and spacing once for each frame and nothing for all."""
    (dataset,) = enhanced()
    (shared,) = dataset.SharedFunctionalGroupsSequence
    for groups in dataset.PerFrameFunctionalGroupsSequence:
        groups.update(copy.deepcopy(shared))
    del dataset.SharedFunctionalGroupsSequence
    return [dataset]


def _groups(source: pydicom.Dataset, slope: float) -> pydicom.Dataset:
    groups, position, transformation = (pydicom.Dataset() for _ in range(3))
    position.ImagePositionPatient = source.ImagePositionPatient
    transformation.RescaleSlope, transformation.RescaleIntercept, transformation.RescaleType = slope, 0, "US"
    groups.PlanePositionSequence, groups.PixelValueTransformationSequence = [position], [transformation]
    return groups


def written(dataset: pydicom.Dataset) -> bytes:
    """Return a data set as a DICOM file."""
    buffer = io.BytesIO()
    dataset.preamble = bytes(128)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.get("SOPInstanceUID") or f"{ROOT}.0"
    dataset.save_as(buffer)
    return buffer.getvalue()


def files(made: Series) -> list[bytes]:
    """Return data sets as DICOM files, in an order that is not theirs."""
    return [written(dataset) for dataset in [*made[1::2], *made[0::2]]]


def _with(made: Series, place: int, **attributes: Any) -> Series:
    for keyword, value in attributes.items():
        change(made[place], keyword, value)
    return made


def _all_with(made: Series, **attributes: Any) -> Series:
    for place in range(len(made)):
        _with(made, place, **attributes)
    return made


def _second_series(**attributes: Any) -> Series:
    other = series()
    for dataset in other:
        dataset.SOPInstanceUID = f"{ROOT}.9.{dataset.InstanceNumber}"
        dataset.SeriesInstanceUID, dataset.SeriesNumber = f"{ROOT}.9", 6
    return [*series(), *_all_with(other, **attributes)]


def _lut() -> pydicom.Dataset:
    table = pydicom.Dataset()
    table.LUTDescriptor, table.ModalityLUTType, table.LUTData = [4, 0, 16], "HU", bytes(8)
    return table


def _sideways() -> Series:
    return _with(series(), 1, ImagePositionPatient=[-2.0, -4.0, 1.0])


def _padded() -> Series:
    return _all_with(series(), PixelPaddingValue=103)


def _one_frame_turned() -> Series:
    (dataset,) = enhanced_by_frames()
    dataset.Modality, dataset.SOPClassUID = "CT", uids.EnhancedCTImageStorage
    turned = pydicom.Dataset()
    turned.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    dataset.PerFrameFunctionalGroupsSequence[2].PlaneOrientationSequence = [turned]
    return [dataset]


def _deflated() -> Series:
    made = series()
    for dataset in made:
        dataset.file_meta.TransferSyntaxUID = uids.DeflatedExplicitVRLittleEndian
    return made


def _float_pixels() -> Series:
    made = _all_with(series(), PixelData=None)
    for dataset in made:
        dataset.FloatPixelData = bytes(4 * dataset.Rows * dataset.Columns)
    return made


def _huge(**attributes: Any) -> Series:
    return _all_with(series(), **attributes)


DEFECTS: dict[str, tuple[str, Callable[[], Series]]] = {
    "missing_slice": ("missing-slice", lambda: series((0, 1, 3))),
    "missing_slices_twice": ("missing-slice", lambda: series((0, 1, 3, 4, 6))),
    "duplicate_position": ("duplicate-slice", lambda: series((0, 1, 1, 2))),
    "duplicate_instance": ("duplicate-slice", lambda: [*series(), series()[0]]),
    "two_echoes": ("four-dimensional", lambda: series((0, 0, 1, 1, 2, 2))),
    "one_slice": ("too-few-slices", lambda: series((0,))),
    "uneven_spacing": ("uneven-spacing", lambda: series((0, 1, 2.2, 3))),
    "slice_off_the_line": ("uneven-spacing", _sideways),
    "gantry_tilt": ("gantry-tilt", tilted),
    "mixed_orientation": (
        "mixed-orientation",
        lambda: _with(series(), 2, ImageOrientationPatient=[1, 0, 0, 0, 0, -1]),
    ),
    "one_frame_turned": ("mixed-orientation", _one_frame_turned),
    "deflated": ("unsupported-transfer-syntax", _deflated),
    "float_pixels": ("truncated-pixel-data", _float_pixels),
    "no_study_uid": ("missing-tag", lambda: _with(series(), 1, StudyInstanceUID="")),
    "two_slopes": ("invalid-tag", lambda: _with(series(), 1, RescaleSlope=[1, 2])),
    "mixed_size": ("mixed-size", lambda: [*series((0, 1, 2)), series((9, 9, 9, 3), rows=6)[3]]),
    "mixed_pixel_spacing": ("mixed-pixel-spacing", lambda: _with(series(), 0, PixelSpacing=[0.5, 0.7])),
    "mixed_rescale_type": ("mixed-rescale-type", lambda: _with(series(), 0, RescaleType="OD")),
    "mixed_frame_of_reference": (
        "mixed-frame-of-reference",
        lambda: _with(series(), 3, FrameOfReferenceUID=f"{ROOT}.4"),
    ),
    "mixed_sign": ("mixed-pixel-format", lambda: _with(series(), 3, PixelRepresentation=1)),
    "mixed_bits": ("mixed-pixel-format", lambda: _with(series(), 3, BitsStored=12, HighBit=11)),
    "mixed_sop_class": ("mixed-sop-class", lambda: _with(series(), 3, SOPClassUID=MR)),
    "localizer_mixed_in": (
        "localizer-mixed-in",
        lambda: _with(series(), 3, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]),
    ),
    "localizers_only": (
        "localizer-mixed-in",
        lambda: series(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]),
    ),
    "colour": ("not-monochrome", lambda: series(PhotometricInterpretation="RGB", SamplesPerPixel=3)),
    "inverted": ("not-monochrome", lambda: series(PhotometricInterpretation="MONOCHROME1")),
    "modality_lut": ("nonlinear-rescale", lambda: _with(series(), 0, ModalityLUTSequence=[_lut()])),
    "padding_pixels": ("padding-pixels", _padded),
    "padding_range": (
        "padding-pixels",
        lambda: _all_with(series(), PixelPaddingValue=0, PixelPaddingRangeLimit=105),
    ),
    "truncated_pixels": ("truncated-pixel-data", lambda: _with(series(), 1, PixelData=b"\0" * 20)),
    "empty_pixels": ("truncated-pixel-data", lambda: _with(series(), 1, PixelData=b"")),
    "no_pixels": ("truncated-pixel-data", lambda: _with(series(), 1, PixelData=None)),
    "surplus_pixels": ("pixel-data-contradicts-header", lambda: _with(series(), 1, PixelData=b"\0" * 80)),
    "rows_lie": ("truncated-pixel-data", lambda: _huge(Rows=20000, Columns=20000)),
    "frames_lie": ("missing-tag", lambda: _huge(NumberOfFrames=2**31 - 1)),
    "frames_of_multiframe_lie": (
        "pixel-data-contradicts-header",
        lambda: enhanced(NumberOfFrames=2**31 - 1, Modality="CT", SOPClassUID=uids.EnhancedCTImageStorage),
    ),
    "value_overflow": ("value-overflow", lambda: _with(series(), 1, RescaleSlope="1e38")),
    "precision_lost": ("precision-lost", lambda: _with(series(), 1, RescaleSlope="1e-6", RescaleIntercept=1000)),
    "slope_zero": ("invalid-tag", lambda: _with(series(), 1, RescaleSlope=0)),
    "spacing_zero": ("invalid-tag", lambda: _with(series(), 1, PixelSpacing=[0, 1])),
    "orientation_not_orthogonal": (
        "invalid-tag",
        lambda: _with(series(), 1, ImageOrientationPatient=[1, 0, 0, 1, 0, 0]),
    ),
    "high_bit_odd": ("invalid-tag", lambda: _with(series(), 1, HighBit=11)),
    "one_bit": ("invalid-tag", lambda: _huge(BitsAllocated=1, BitsStored=1, HighBit=0)),
    "no_rows": ("invalid-tag", lambda: _with(series(), 1, Rows=0)),
    "no_position": ("missing-tag", lambda: _with(series(), 1, ImagePositionPatient=None)),
    "no_orientation": ("missing-tag", lambda: _with(series(), 1, ImageOrientationPatient=None)),
    "no_pixel_spacing": ("missing-tag", lambda: _with(series(), 1, PixelSpacing=None)),
    "no_frame_of_reference": ("missing-tag", lambda: _with(series(), 1, FrameOfReferenceUID=None)),
    "no_instance_uid": ("missing-tag", lambda: _with(series(), 1, SOPInstanceUID="")),
    "no_rescale_in_ct": ("missing-tag", lambda: _with(series(), 1, RescaleSlope=None)),
    "no_sign": ("missing-tag", lambda: _with(series(), 1, PixelRepresentation=None)),
    "wrong_modality": ("wrong-modality", mr),
    "wrong_body_part": ("wrong-body-part", lambda: series(BodyPartExamined="KNEE")),
    "two_patients": ("several-studies", lambda: _with(series(), 1, PatientID="PID-2")),
    "two_studies": ("several-studies", lambda: _with(series(), 1, StudyInstanceUID=f"{ROOT}.7")),
    "two_series": ("ambiguous-series", _second_series),
    "not_an_image": ("unsupported-sop-class", lambda: series(SOPClassUID=uids.EncapsulatedPDFStorage)),
    "secondary_capture": ("unsupported-sop-class", lambda: series(SOPClassUID=uids.SecondaryCaptureImageStorage)),
}
"""Defect by name: the reason that must be given, and how to make it. Made for CT of the head or chest."""


def main(folder: Path) -> None:
    """Write every defect into a folder of its own."""
    for name, (_, make) in DEFECTS.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number, dataset in enumerate(make(), 1):
            (folder / name / f"{number:03}.dcm").write_bytes(written(dataset))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
