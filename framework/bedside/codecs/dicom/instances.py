"""One DICOM file: its header, without its pixels, once it is known to be one that can be read within bounds."""

import io
import struct
from dataclasses import dataclass, field
from functools import cache
from math import prod
from typing import Any

from pydicom import uid as uids
from pydicom.filereader import read_dataset

from bedside.codecs.dicom.containers import Opener
from bedside.codecs.dicom.library import pydicom
from bedside.codecs.dicom.tags import integer, text, uid_of, value_of
from bedside.errors import NotDicom, UnsupportedTransferSyntax

NATIVE = (uids.ImplicitVRLittleEndian, uids.ExplicitVRLittleEndian, uids.ExplicitVRBigEndian)
COMPRESSED = (
    uids.RLELossless,
    uids.JPEGBaseline8Bit,
    uids.JPEGExtended12Bit,
    uids.JPEGLossless,
    uids.JPEGLosslessSV1,
    uids.JPEGLSLossless,
    uids.JPEGLSNearLossless,
    uids.JPEG2000Lossless,
    uids.JPEG2000,
    uids.HTJ2KLossless,
    uids.HTJ2KLosslessRPCL,
    uids.HTJ2K,
)
"""No Deflated Explicit VR: pydicom would inflate it without a bound. No video: it has no volumes."""

_DCT = "ISO_10918_1"
LOSSY = {
    uids.JPEGBaseline8Bit: _DCT,
    uids.JPEGExtended12Bit: _DCT,
    uids.JPEGLSNearLossless: "ISO_14495_1",
    uids.JPEG2000: "ISO_15444_1",
    uids.HTJ2K: "ISO_15444_15",
}
"""What may lose something, with its Lossy Image Compression Method (PS3.3 §C.7.6.1.1.5.1); the first two always do."""

PATIENT_AND_STUDY = (
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "PatientAge",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "StudyInstanceUID",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "StudyDescription",
    "AccessionNumber",
    "ReferringPhysicianName",
)
"""What results carry on unchanged (PS3.3 §C.7.1.1, §C.7.2.1)."""

_READ = (
    *PATIENT_AND_STUDY,
    "SpecificCharacterSet",
    "ImageType",
    "SOPClassUID",
    "SOPInstanceUID",
    "Modality",
    "SeriesDescription",
    "SeriesInstanceUID",
    "SeriesNumber",
    "InstanceNumber",
    "BodyPartExamined",
    "ViewPosition",
    "PatientOrientation",
    "SliceThickness",
    "FrameOfReferenceUID",
    "PositionReferenceIndicator",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "PixelSpacing",
    "ImagerPixelSpacing",
    "PixelAspectRatio",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "RescaleIntercept",
    "RescaleSlope",
    "RescaleType",
    "ModalityLUTSequence",
    "LossyImageCompression",
    "LossyImageCompressionRatio",
    "LossyImageCompressionMethod",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
)

_PIXEL_GROUP = 0x7FE0
_PIXELS = ("ExtendedOffsetTable", "ExtendedOffsetTableLengths", "PixelData")
"""In the order of their tags."""

BROKEN = (
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    OSError,
    EOFError,
    ArithmeticError,
    RuntimeError,  # with NotImplementedError and RecursionError
    MemoryError,
    AssertionError,
    struct.error,
    pydicom.errors.InvalidDicomError,
)
"""What pydicom and its decoders raise on bytes that nobody wrote."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One DICOM file. Its repr shows nothing of it.

    Attributes:
        uid: SOP Instance UID.
        series, study: their UIDs.
        transfer_syntax: UID.
        size: length of the file in bytes.
        header: the attributes that are used here, as a pydicom data set.
        pixels_at: where the pixel data, and the tables of their frames, begin in the file.
        open: reads the file again.
    """

    uid: str = field(repr=False)
    series: str = field(repr=False)
    study: str = field(repr=False)
    transfer_syntax: str
    size: int
    header: Any = field(repr=False)
    pixels_at: int
    open: Opener = field(repr=False)

    @property
    def compressed(self) -> bool:
        """Tell whether the pixels are in compressed frames."""
        return self.transfer_syntax not in NATIVE

    @property
    def big_endian(self) -> bool:
        """Tell whether words lie with the higher byte first."""
        return self.transfer_syntax == str(uids.ExplicitVRBigEndian)

    def attributes(self, keywords: tuple[str, ...]) -> Any:
        """Return further attributes as a pydicom data set. Raises BROKEN."""
        return _attributes(_View(self.open()), keywords)[1]

    def pixel_data(self) -> Any:
        """Return the pixel data, with the tables of their frames, as a pydicom data set. Raises BROKEN."""
        stream: Any = _View(self.open())
        stream.seek(self.pixels_at)
        last = pydicom.tag.Tag(_PIXELS[-1])
        implicit, little = self.header.original_encoding
        return read_dataset(
            stream, implicit, little, stop_when=lambda tag, *_: tag > last, specific_tags=_tags(_PIXELS)
        )


def read_instance(opener: Opener) -> Instance:
    """Read the header of one file.

    Raises:
        NotDicom: it is not a DICOM file (PS3.10 §7.1), or its structure is damaged.
        UnsupportedTransferSyntax, MissingTag, InvalidTag.
    """
    content = opener()
    stream = _View(content)
    try:
        syntax, header = _attributes(stream, _READ)
        uid = uid_of(header, "SOPInstanceUID")
        _state_loss(header, syntax, len(content), uid)
        return Instance(
            uid=uid,
            series=uid_of(header, "SeriesInstanceUID", uid),
            study=uid_of(header, "StudyInstanceUID", uid),
            transfer_syntax=syntax,
            size=len(content),
            header=header,
            pixels_at=stream.tell(),
            open=opener,
        )
    except BROKEN:
        raise NotDicom from None


def _attributes(stream: "_View", keywords: tuple[str, ...]) -> tuple[str, Any]:
    """Return transfer syntax and the named attributes of a file, and leave it at its pixel data.

    Raises:
        NotDicom, UnsupportedTransferSyntax, BROKEN.
    """
    file: Any = stream
    # The file meta information alone: pydicom would inflate a deflated data set before anybody could object.
    if file.read(132)[128:] != b"DICM":
        raise NotDicom
    meta = read_dataset(file, is_implicit_VR=False, is_little_endian=True, stop_when=lambda tag, *_: tag.group != 2)
    syntax = text(meta, "TransferSyntaxUID")
    if syntax not in (*NATIVE, *COMPRESSED):
        raise UnsupportedTransferSyntax(_not_read(syntax))
    header = read_dataset(
        file,
        is_implicit_VR=syntax == uids.ImplicitVRLittleEndian,
        is_little_endian=syntax != uids.ExplicitVRBigEndian,
        stop_when=lambda tag, *_: tag.group >= _PIXEL_GROUP,
        specific_tags=_tags(keywords),
    )
    return syntax, header


def _not_read(syntax: str) -> str:
    name = uids.UID(syntax).name
    known = name != syntax  # anything else is not repeated
    return f"{name} ({syntax}) is not read here; Explicit VR Little Endian always is" if known else ""


def _state_loss(header: Any, syntax: str, size: int, uid: str) -> None:
    """Have a header tell of loss where its transfer syntax loses, or may and nothing says that it did not.

    What results must then tell, too, is filled in where it is missing (PS3.3 §C.7.6.1.1.5). Raises InvalidTag.
    """
    method = LOSSY.get(uids.UID(syntax))
    if method is None or (text(header, "LossyImageCompression") == "00" and method != _DCT):
        return
    header.LossyImageCompression = "01"
    bits = prod(integer(header, keyword, uid, 1) for keyword in ("Rows", "Columns", "NumberOfFrames", "BitsAllocated"))
    for keyword, value in (
        ("LossyImageCompressionMethod", method),
        ("LossyImageCompressionRatio", max(1.0, round(bits / 8 / size, 2))),
    ):
        if value_of(header, keyword) is None:
            setattr(header, keyword, value)


@cache
def _tags(keywords: tuple[str, ...]) -> list[Any]:
    return [pydicom.tag.Tag(keyword) for keyword in keywords]


class _View:
    """A file over bytes that lie within others; nothing is copied but what is read of it."""

    def __init__(self, content: bytes | memoryview) -> None:
        self._content = memoryview(content)
        self._place = 0

    def read(self, count: int = -1) -> bytes:
        """Return so many of the next bytes, all of them by default; fewer at the end."""
        piece = self._content[self._place :] if count < 0 else self._content[self._place : self._place + count]
        self._place += len(piece)
        return bytes(piece)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place and return it. Raises ValueError before the beginning."""
        place = offset + (0, self._place, len(self._content))[whence]
        if place < 0:
            raise ValueError("before the beginning")
        self._place = place
        return place

    def tell(self) -> int:
        """Return the place."""
        return self._place
