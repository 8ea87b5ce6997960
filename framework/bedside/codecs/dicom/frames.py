"""Frames: what classic slices and enhanced multi-frame objects have in common (PS3.3 §C.7.6.2, §C.7.6.16.2)."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bedside.codecs.dicom.instances import Instance
from bedside.codecs.dicom.tags import integer, item, numbers, text, texts, uid_of, value_of
from bedside.errors import InvalidTag, MissingTag, NonlinearRescale, NotMonochrome, PixelDataContradictsHeader

_RESCALED = ("CT", "PT")  # Rescale Slope and Intercept are of type 1 (PS3.3 §C.8.2.1, §C.8.9.1)
_UNIT_TOLERANCE = 1e-3
_WIDTHS = (8, 16, 32)


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """How one pixel is stored (PS3.3 §C.7.6.3.1)."""

    allocated: int
    stored: int
    signed: bool

    @property
    def bounds(self) -> tuple[int, int]:
        """Return the least and the greatest stored value."""
        return (-(1 << self.stored - 1), (1 << self.stored - 1) - 1) if self.signed else (0, (1 << self.stored) - 1)


@dataclass(frozen=True, slots=True)
class StoredFrame:
    """The pixels of one frame, as they lie in the file.

    Attributes:
        instance: the file that holds it.
        index: its number in the file, from 0.
        size: rows, columns.
        pixels: how they are stored.
    """

    instance: Instance = field(repr=False)
    index: int
    size: tuple[int, int]
    pixels: PixelFormat

    @property
    def uid(self) -> str:
        """Return the SOP Instance UID of the file."""
        return self.instance.uid


@dataclass(frozen=True, slots=True)
class Frame(StoredFrame):
    """One image plane with a place in the patient.

    Attributes:
        position: centre of the first pixel, millimetres in LPS (Image Position).
        rows_along, columns_along: unit vectors from one pixel to the next in a row, and in a column.
        spacing: millimetres between rows, and between columns (Pixel Spacing's order).
        slope, intercept: from stored values to what they mean.
        rescale_type: unit of the result, empty where none is stated.
    """

    position: NDArray[np.float64]
    rows_along: NDArray[np.float64]
    columns_along: NDArray[np.float64]
    spacing: tuple[float, float]
    slope: float
    intercept: float
    rescale_type: str

    @property
    def normal(self) -> NDArray[np.float64]:
        """Return the unit vector at right angles to the plane, right-handed."""
        return np.cross(self.rows_along, self.columns_along)

    @property
    def affine(self) -> NDArray[np.float64]:
        """Return (column, row) to millimetres in LPS, shape (3, 3): two directions and the origin (§C.7.6.2.1.1)."""
        along = [self.rows_along * self.spacing[1], self.columns_along * self.spacing[0], self.position]
        return np.stack(along, axis=1)


def is_localizer(instance: Instance) -> bool:
    """Tell whether Image Type says LOCALIZER (PS3.3 §C.8.2.1.1.1)."""
    return "LOCALIZER" in texts(instance.header, "ImageType")[2:]


def frames_of(instance: Instance) -> Iterator[Frame]:
    """Yield the frames of a file.

    Raises:
        MissingTag, InvalidTag: what places or scales the pixels is missing or impossible.
        NotMonochrome, NonlinearRescale, PixelDataContradictsHeader.
    """
    header, uid = instance.header, instance.uid
    stored = stored_frame(instance, ("MONOCHROME2",))
    if "PerFrameFunctionalGroupsSequence" not in header:
        if integer(header, "NumberOfFrames", uid, 1) != 1:
            raise MissingTag("Per-Frame Functional Groups Sequence (5200,9230) is missing", instances=[uid])
        yield _frame(stored, _Groups((header,)))
        return
    shared = item(header, "SharedFunctionalGroupsSequence")
    per_frame = value_of(header, "PerFrameFunctionalGroupsSequence") or ()
    if integer(header, "NumberOfFrames", uid) != len(per_frame) or not per_frame:
        raise PixelDataContradictsHeader("Number of Frames is not the number of functional groups", instances=[uid])
    for index, groups in enumerate(per_frame):
        yield _frame(replace(stored, index=index), _Groups((groups, shared)))


class _Groups:
    """Looks an attribute up: in a classic header itself, else in a functional group of the frame or of all frames."""

    def __init__(self, levels: tuple[Any, ...]) -> None:
        self._levels = tuple(level for level in levels if level is not None)

    def find(self, macro: str, keyword: str) -> Any:
        for level in self._levels:
            for place in (level, item(level, macro)):
                if place is not None and keyword in place:
                    return place
        return self._levels[0] if self._levels else {}


def stored_frame(instance: Instance, interpretations: tuple[str, ...]) -> StoredFrame:
    """Return the first frame of a file whose Photometric Interpretation is one of ``interpretations``.

    Raises:
        NotMonochrome, MissingTag, InvalidTag.
    """
    header, uid = instance.header, instance.uid
    if integer(header, "SamplesPerPixel", uid) != 1 or text(header, "PhotometricInterpretation") not in interpretations:
        raise NotMonochrome(instances=[uid])
    size = (_length(header, "Rows", uid), _length(header, "Columns", uid))
    return StoredFrame(instance, 0, size, _pixel_format(header, uid))


def _frame(stored: StoredFrame, groups: _Groups) -> Frame:
    uid = stored.uid
    position = numbers(groups.find("PlanePositionSequence", "ImagePositionPatient"), "ImagePositionPatient", 3, uid)
    orientation = numbers(
        groups.find("PlaneOrientationSequence", "ImageOrientationPatient"), "ImageOrientationPatient", 6, uid
    )
    spacing = numbers(groups.find("PixelMeasuresSequence", "PixelSpacing"), "PixelSpacing", 2, uid)
    if min(spacing) <= 0:
        raise InvalidTag("Pixel Spacing (0028,0030) is not positive", instances=[uid])
    slope, intercept, unit = _rescale(stored.instance, groups)
    rows_along, columns_along = np.array(orientation[:3]), np.array(orientation[3:])
    _require_orthonormal(rows_along, columns_along, uid)
    # Cosines of three digits are not quite of length 1: the spacing is what Pixel Spacing says, and no other.
    rows_along, columns_along = (vector / np.linalg.norm(vector) for vector in (rows_along, columns_along))
    return Frame(
        instance=stored.instance,
        index=stored.index,
        position=np.array(position),
        rows_along=rows_along,
        columns_along=columns_along,
        spacing=(spacing[0], spacing[1]),
        size=stored.size,
        slope=slope,
        intercept=intercept,
        rescale_type=unit,
        pixels=stored.pixels,
    )


def _rescale(instance: Instance, groups: _Groups) -> tuple[float, float, str]:
    uid, macro = instance.uid, "PixelValueTransformationSequence"
    if value_of(groups.find("", "ModalityLUTSequence"), "ModalityLUTSequence"):
        raise NonlinearRescale(instances=[uid])
    place = groups.find(macro, "RescaleSlope")
    required = text(instance.header, "Modality") in _RESCALED
    (slope,) = numbers(place, "RescaleSlope", 1, uid, None if required else 1.0)
    (intercept,) = numbers(place, "RescaleIntercept", 1, uid, None if required else 0.0)
    if slope == 0:
        raise InvalidTag("Rescale Slope (0028,1053) is zero", instances=[uid])
    return slope, intercept, text(place, "RescaleType")


def _pixel_format(header: Any, uid: str) -> PixelFormat:
    allocated, stored = integer(header, "BitsAllocated", uid), integer(header, "BitsStored", uid)
    sign = integer(header, "PixelRepresentation", uid)
    if allocated not in _WIDTHS or not 1 <= stored <= allocated or sign not in (0, 1):
        raise InvalidTag("Bits Allocated, Bits Stored and Pixel Representation describe no integer", instances=[uid])
    if integer(header, "HighBit", uid) != stored - 1:
        raise InvalidTag("High Bit (0028,0102) is not Bits Stored less one (PS3.5 §8.1.1)", instances=[uid])
    return PixelFormat(allocated, stored, signed=bool(sign))


def _length(header: Any, keyword: str, uid: str) -> int:
    length = integer(header, keyword, uid)
    if length < 1:
        raise InvalidTag("Rows or Columns is zero", instances=[uid])
    return length


def _require_orthonormal(rows: NDArray[np.float64], columns: NDArray[np.float64], uid: str) -> None:
    lengths = [abs(float(np.linalg.norm(vector)) - 1) for vector in (rows, columns)]
    if max(*lengths, abs(float(rows @ columns))) > _UNIT_TOLERANCE:
        raise InvalidTag(
            "Image Orientation (Patient) (0020,0037) is not two unit vectors at right angles", instances=[uid]
        )


def frame_of_reference(instance: Instance) -> str:
    """Return the Frame of Reference UID; raises MissingTag, InvalidTag."""
    return uid_of(instance.header, "FrameOfReferenceUID", instance.uid)
