"""One DICOM file: its header, without its pixels, once it is known to be one that can be read within bounds."""

import io
import struct
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from pydicom import uid as uids
from pydicom.filereader import read_dataset

from bedside.codecs.dicom.containers import Opener
from bedside.codecs.dicom.library import pydicom
from bedside.codecs.dicom.tags import text, uid_of
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
        open: reads the file again.
    """

    uid: str = field(repr=False)
    series: str = field(repr=False)
    study: str = field(repr=False)
    transfer_syntax: str
    size: int
    header: Any = field(repr=False)
    open: Opener = field(repr=False)

    @property
    def compressed(self) -> bool:
        """Tell whether the pixels are in compressed frames."""
        return self.transfer_syntax not in NATIVE

    @property
    def big_endian(self) -> bool:
        """Tell whether words lie with the higher byte first."""
        return self.transfer_syntax == str(uids.ExplicitVRBigEndian)


def read_instance(opener: Opener) -> Instance:
    """Read the header of one file.

    Raises:
        NotDicom: it is not a DICOM file (PS3.10 §7.1), or its structure is damaged.
        UnsupportedTransferSyntax, MissingTag, InvalidTag.
    """
    content = memoryview(opener())
    try:
        syntax = _transfer_syntax(content)
        if syntax not in (*NATIVE, *COMPRESSED):
            raise UnsupportedTransferSyntax
        header = parse(content, _READ)
        uid = uid_of(header, "SOPInstanceUID")
        return Instance(
            uid=uid,
            series=uid_of(header, "SeriesInstanceUID", uid),
            study=uid_of(header, "StudyInstanceUID", uid),
            transfer_syntax=syntax,
            size=len(content),
            header=header,
            open=opener,
        )
    except BROKEN:
        raise NotDicom from None


def parse(content: bytes | memoryview, keywords: tuple[str, ...], *, pixels: bool = False) -> Any:
    """Return the named attributes of a DICOM file as a data set."""
    dataset = pydicom.dcmread(_View(content), specific_tags=_tags(keywords), stop_before_pixels=not pixels)
    dataset.buffer = None  # which would keep the whole file as long as the header lives
    return dataset


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


def _transfer_syntax(content: memoryview) -> str:
    """Read the file meta information alone: pydicom would inflate a deflated data set before anybody could object."""
    if bytes(content[128:132]) != b"DICM":
        raise NotDicom
    stream: Any = _View(content)
    stream.seek(132)
    meta = read_dataset(
        stream, is_implicit_VR=False, is_little_endian=True, stop_when=lambda tag, _vr, _length: tag.group != 2
    )
    return text(meta, "TransferSyntaxUID")
