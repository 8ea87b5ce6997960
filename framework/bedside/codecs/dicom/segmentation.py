"""Segmentation (PS3.3 §A.51): one binary segment per label, bit for bit in the source's grid."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import highdicom
import numpy as np
from highdicom import seg
from numpy.typing import NDArray
from pydicom import uid as uids
from pydicom.sr.codedict import codes

from bedside.codecs.dicom.coding import as_code, coding_of
from bedside.codecs.dicom.instances import BROKEN
from bedside.codecs.dicom.objects import MANUFACTURER, NOTICE, DicomObject, Result, seal
from bedside.codecs.dicom.regrid import onto_frames
from bedside.codecs.dicom.source import SourceSeries
from bedside.codecs.labels import LabelCount
from bedside.errors import RunFailed


@dataclass(frozen=True, slots=True)
class Segments:
    """A model's labels as they go into an object.

    Attributes:
        source: the series on whose slices they lie.
        output: name of the model's output.
        labels: what each is called and how much of it there is; segment numbers are their places, from 1.
        mask: the model's array, labels or stacked masks.
        affine: its voxels to RAS+ millimetres.
    """

    source: SourceSeries
    output: str
    labels: Sequence[LabelCount]
    mask: NDArray[Any]
    affine: NDArray[np.float64]

    @property
    def stacked(self) -> bool:
        """Tell whether the labels are channels, which may overlap."""
        return self.mask.ndim > 3 and self.mask.shape[3] > 1


def write_segmentation(result: Result, segments: Segments) -> DicomObject:
    """Return a Segmentation object.

    Raises:
        RunFailed: the source lies in several multi-frame objects, or the object cannot be written.
    """
    source, identity = segments.source, result.identity("segmentation")
    if source.is_multiframe and len(source.headers) > 1:
        raise RunFailed("a segmentation can refer to one multi-frame object; this series has several")
    measures = highdicom.PixelMeasuresSequence(
        pixel_spacing=_spacing(source.planes),
        slice_thickness=source.thickness(source.headers[0]),
        spacing_between_slices=round(source.step, 6),
    )
    try:
        dataset = seg.Segmentation(
            source_images=list(result.evidence),
            pixel_array=_in_file_order(source, segment_numbers(segments)),
            segmentation_type=seg.SegmentationTypeValues.BINARY,
            segment_descriptions=[_describe(result, segments, place) for place in range(1, len(segments.labels) + 1)],
            content_description=NOTICE,
            content_creator_name=f"{MANUFACTURER}^Automatic",
            transfer_syntax_uid=uids.ExplicitVRLittleEndian,
            pixel_measures=measures,
            omit_empty_frames=any(label.voxels for label in segments.labels),
            specific_character_set="ISO_IR 192",
            **identity,
        )
    except BROKEN as error:
        raise RunFailed(
            "the segmentation cannot be written as DICOM", field=segments.output, cause=type(error).__name__
        ) from None
    _settle_dimensions(dataset, result.uid("segmentation", "dimensions"))
    return seal(result, "segmentation", dataset)


def segment_numbers(segments: Segments) -> NDArray[Any]:
    """Return the mask on the source's frames: segment numbers, shape (frames, rows, columns), or stacked masks."""
    indices = [label.index for label in segments.labels]
    if segments.stacked:
        numbered = (segments.mask[..., indices] > 0.5).astype(np.uint8)
    else:
        numbered = _numbered(segments.mask.reshape(segments.mask.shape[:3]), indices)
    source = segments.source
    if (
        numbered.shape[:3] == source.shape
        and np.allclose(segments.affine, source.affine, atol=1e-4)
        and source.in_place
    ):
        return np.ascontiguousarray(np.moveaxis(numbered, (0, 1, 2), (2, 1, 0)))
    return onto_frames(numbered, segments.affine, source.planes, source.size)


def _numbered(mask: NDArray[Any], indices: Sequence[int]) -> NDArray[Any]:
    """Return a label map with segment numbers for labels."""
    most = max([*indices, round(float(mask.max(initial=0)))])
    table = np.zeros(most + 1, np.uint8 if len(indices) < 256 else np.uint16)
    table[list(indices)] = np.arange(1, len(indices) + 1)
    numbered = np.empty(mask.shape, table.dtype)
    for place in range(mask.shape[2]):  # by slices: at one time, int64 of everything would be four times a CT
        numbered[:, :, place] = table[np.rint(mask[:, :, place]).astype(np.intp)]
    return numbered


def _in_file_order(source: SourceSeries, mask: NDArray[Any]) -> NDArray[Any]:
    """Return the frames as the source's one file has them; slices of their own stay in the order of the headers."""
    if not source.is_multiframe:
        return mask
    ordered = np.zeros_like(mask)
    ordered[[number - 1 for _, number in source.frames]] = mask
    return ordered


def _describe(result: Result, segments: Segments, number: int) -> seg.SegmentDescription:
    label = segments.labels[number - 1]
    coding = coding_of(label.name, result.policy)
    description = seg.SegmentDescription(
        segment_number=number,
        segment_label=label.name[:64] or f"segment {number}",
        segmented_property_category=as_code(coding.category),
        segmented_property_type=as_code(coding.type),
        algorithm_type=seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm(result),
        tracking_uid=tracking_uid(result, segments.output, number),
        tracking_id=label.name[:64] or f"segment {number}",
    )
    if coding.modifier is not None:
        modifier = highdicom.sr.CodedConcept.from_code(as_code(coding.modifier))
        description.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [modifier]
    return description


def tracking_uid(result: Result, output: str, number: int) -> str:
    """Return the UID by which report and segmentation mean the same segment."""
    return result.uid("tracking", output, number)


def algorithm(result: Result) -> highdicom.AlgorithmIdentificationSequence:
    """Return which bundle it was: name, version and digest (PS3.3 §C.7.6.16.2, table 10-19)."""
    contract = result.contract
    return highdicom.AlgorithmIdentificationSequence(
        name=contract.model[:64],
        family=codes.DCM.ArtificialIntelligence,
        version=contract.version[:64],
        source=MANUFACTURER,
        parameters={"bundle_digest": contract.digest},
    )


def _spacing(planes: NDArray[np.float64]) -> tuple[float, float]:
    between_columns, between_rows = np.linalg.norm(planes[0][:, :2], axis=0)
    return round(float(between_rows), 6), round(float(between_columns), 6)


def _settle_dimensions(dataset: Any, uid: str) -> None:
    """Replace the random UID that highdicom gives to the dimensions: the same result must be the same object."""
    for item in (*dataset.DimensionOrganizationSequence, *dataset.DimensionIndexSequence):
        item.DimensionOrganizationUID = uid


def labels_of(labels: Sequence[LabelCount], names: Mapping[int, str]) -> list[LabelCount]:
    """Return the labels that are segments: not the background, whether it is value 0 or the first of the channels."""
    return [label for label in labels if not (label.index == 0 and names.get(0, "background").lower() == "background")]
