"""DICOM objects on their way out, and what all objects of one result share."""

import hashlib
import io
import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bedside.bundle.contract import Contract
from bedside.bundle.dicom_policy import DicomPolicy
from bedside.codecs.dicom.instances import BROKEN, PATIENT_AND_STUDY
from bedside.codecs.dicom.library import pydicom
from bedside.codecs.dicom.source import Source, SourceSeries
from bedside.codecs.dicom.tags import item, text, value_of
from bedside.errors import RunFailed
from bedside.version import __version__

MANUFACTURER = "Bedside"
NOTICE = "Not a medical device. Not for clinical use."
_LO = 64  # characters of a Long String (PS3.5 §6.2)
_SERIES_NUMBERS = {"segmentation": 9001, "report": 9002, "capture": 9003}
_SEXES = ("M", "F", "O", "")
_LOSS = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
_CARRIED = (
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "SeriesNumber",
    "InstanceNumber",
    "Modality",
    "FrameOfReferenceUID",
    "PositionReferenceIndicator",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "PixelSpacing",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    *_LOSS,
)


_OF_ALL_FRAMES = ("PlaneOrientationSequence", "PixelMeasuresSequence")

_TYPE_2 = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
)


@dataclass(frozen=True, slots=True)
class DicomObject:
    """One DICOM file (PS3.10), ready to be sent or stored.

    Attributes:
        kind: ``segmentation``, ``report`` or ``capture``.
        sop_class_uid, sop_instance_uid: what STOW-RS and C-STORE ask for.
        data: the file.
    """

    kind: str
    sop_class_uid: str
    sop_instance_uid: str = field(repr=False)
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Result:
    """What the writers of one result share.

    Attributes:
        source: what the model saw.
        contract: of the bundle.
        policy: how segments are coded.
        created: when the result was made.
        evidence: the source's headers with everything that is required in them, in UTF-8.
    """

    source: Source
    contract: Contract
    policy: DicomPolicy
    created: datetime
    evidence: tuple[Any, ...] = field(repr=False)

    def uid(self, *purpose: object) -> str:
        """Return a UID that hangs on source, bundle and purpose alone, so that a retry makes the same object.

        PS3.5 §B.2: a UUID as a decimal number under 2.25; RFC 9562 §5.8, version 8, "vendor-specific".
        """
        contract = self.contract
        seed = [self.source.digest, self.source.series, contract.model, contract.version, contract.digest]
        return made_uid(*seed, self.policy.model_dump_json(), *purpose)

    def identity(self, kind: str) -> dict[str, Any]:
        """Return what every object states about itself and the device that made it."""
        return {
            "series_instance_uid": self.uid(kind, "series"),
            "series_number": _SERIES_NUMBERS[kind],
            "sop_instance_uid": self.uid(kind, "instance"),
            "instance_number": 1,
            "manufacturer": MANUFACTURER,
            "manufacturer_model_name": self.contract.model[:_LO],
            "software_versions": (f"bedside {__version__}"[:_LO], self.contract.version[:_LO]),
            "device_serial_number": self.contract.digest.removeprefix("sha256:")[:_LO],
            "series_description": f"{self.contract.model[:24]} {self.contract.version[:12]}: not a medical device",
        }


def made_uid(*seed: object) -> str:
    """Return a UID that hangs on ``seed`` alone."""
    digest = bytearray(hashlib.sha256("\0".join(map(str, seed)).encode()).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x80
    digest[8] = digest[8] & 0x3F | 0x80
    return f"2.25.{uuid.UUID(bytes=bytes(digest)).int}"


def evidence_of(source: Source) -> tuple[Any, ...]:
    """Return the source's headers as results need them: decoded, in UTF-8, without what is not used.

    Attributes of type 2 that are missing become empty, and values that no archive could have meant, too: a birth
    date that is no date must not keep a result from being written.
    """
    return tuple(_evidence(header, source) for header in source.headers)


def _evidence(header: Any, source: Source) -> Any:
    dataset = pydicom.Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    for keyword in _CARRIED:
        value = value_of(header, keyword)
        if value is not None:
            setattr(dataset, keyword, value)
    for keyword in PATIENT_AND_STUDY:
        value = _cleaned(keyword, header)
        if value or keyword in _TYPE_2:
            setattr(dataset, keyword, value)
    if isinstance(source, SourceSeries) and not source.is_multiframe:
        dataset.SliceThickness = source.thickness(header)
    if "PerFrameFunctionalGroupsSequence" in dataset:
        dataset.SharedFunctionalGroupsSequence = [_shared(dataset)]
    return dataset


def _shared(dataset: Any) -> Any:
    """Return the shared functional groups with what a volume has once, which some scanners repeat in each frame's.

    Either is allowed (PS3.3 §C.7.6.16.1.1); highdicom looks here alone.
    """
    shared, first = pydicom.Dataset(), dataset.PerFrameFunctionalGroupsSequence[0]
    shared.update({name: first[name] for name in _OF_ALL_FRAMES if name in first})
    shared.update(item(dataset, "SharedFunctionalGroupsSequence") or {})
    return shared


def _cleaned(keyword: str, header: Any) -> str:
    value = text(header, keyword).strip("\0 ")
    if keyword == "PatientSex":
        return value if value in _SEXES else ""
    checks = {"Date": pydicom.valuerep.DA, "Time": pydicom.valuerep.TM}
    check = next((check for ending, check in checks.items() if keyword.endswith(ending)), None)
    try:
        return value if check is None or check(value or "") is not None else ""
    except BROKEN:
        return ""


def seal(result: Result, kind: str, dataset: Any) -> DicomObject:
    """Return a data set as a file; time stamps are those of the result.

    Raises:
        RunFailed: it cannot be written.
    """
    day, hour = result.created.strftime("%Y%m%d"), result.created.strftime("%H%M%S")
    for name in ("Content", "InstanceCreation", "Series"):
        setattr(dataset, f"{name}Date", day)
        setattr(dataset, f"{name}Time", hour)
    for equipment in dataset.get("ContributingEquipmentSequence", ()):
        equipment.ContributionDateTime = day + hour
    if "DateOfSecondaryCapture" in dataset:
        dataset.DateOfSecondaryCapture, dataset.TimeOfSecondaryCapture = day, hour
    if "Rows" in dataset:
        _state_loss(result, dataset)
    dataset.TimezoneOffsetFromUTC = "+0000"
    dataset.SpecificCharacterSet = "ISO_IR 192"
    buffer = io.BytesIO()
    try:
        dataset.save_as(buffer, enforce_file_format=True)
    except BROKEN as error:
        raise RunFailed(f"the {kind} cannot be written as DICOM", cause=type(error).__name__) from None
    return DicomObject(kind, str(dataset.SOPClassUID), str(dataset.SOPInstanceUID), buffer.getvalue())


def _state_loss(result: Result, dataset: Any) -> None:
    """Have an image say that one it was made of had lost something, once and for all (PS3.3 §C.7.6.1.1.5)."""
    lossy: Any = next((header for header in result.evidence if text(header, _LOSS[0]) == "01"), {})
    for keyword in _LOSS:
        if keyword in lossy:
            setattr(dataset, keyword, lossy[keyword].value)
