"""What a label means, in codes: from the policy, else from the label's own words, else as tissue with a name."""

import hashlib
import re

from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from bedside.bundle import dicom_policy
from bedside.bundle.dicom_policy import DicomPolicy, SegmentCoding

_NAMES = re.compile(r"[^a-z0-9]+")
_TYPES = codes.cid7151  # Segmentation Property Types, which includes anatomy and lesions
_ABNORMAL = frozenset(_NAMES.sub("", name.lower()) for name in codes.cid7159.dir())
TISSUE = dicom_policy.Code(value="85756007", meaning="Tissue")
_MORPHOLOGY = dicom_policy.Code(value="49755003", meaning="Morphologically Abnormal Structure")


def coding_of(label: str, policy: DicomPolicy) -> SegmentCoding:
    """Return how a label is coded.

    A label that is called like a concept of CID 7151 (``liver``, ``kidney``; not ``left kidney``) gets that
    concept; one that nobody knows becomes tissue, and its own words stand in Segment Label.
    """
    if label in policy.segments:
        return policy.segments[label]
    known = _known(label)
    if known is None:
        return SegmentCoding(category=TISSUE, type=TISSUE)
    found = dicom_policy.Code(value=known.value, scheme=known.scheme_designator, meaning=known.meaning[:64])
    if _plain(label) in _ABNORMAL:
        return SegmentCoding(category=_MORPHOLOGY, type=found)
    return SegmentCoding(type=found)


def as_code(code: dicom_policy.Code) -> Code:
    """Return a code in pydicom's form."""
    return Code(code.value, code.scheme, code.meaning)


def finding_code(label: str, policy: DicomPolicy) -> Code:
    """Return a code for a class: its own where one is known, else a private one with the label as its meaning."""
    if label in policy.segments or _known(label) is not None:
        return as_code(coding_of(label, policy).type)
    # PS3.16 §8: a scheme whose designator begins with 99 is private.
    return Code(f"L{_checksum(label)}", "99BEDSIDE", label[:64] or "unnamed")


def _known(label: str) -> Code | None:
    plain = _plain(label)
    return next((getattr(_TYPES, name) for name in _TYPES.dir() if name.lower() == plain), None)


def _plain(label: str) -> str:
    return _NAMES.sub("", label.lower())


def _checksum(label: str) -> str:
    return hashlib.sha256(label.encode()).hexdigest()[:12].upper()  # Code Value has 16 characters
