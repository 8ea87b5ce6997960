"""Instances as they come over the network: what they are, before anybody looks at their pixels."""

from dataclasses import dataclass, replace
from functools import partial

from bedside.codecs.dicom.containers import cut, opened
from bedside.codecs.dicom.instances import BROKEN, Instance, read_instance
from bedside.codecs.dicom.tags import text, uid_of
from bedside.errors import NotDicom
from bedside.settings import LimitSettings
from bedside.types import RawPart


@dataclass(frozen=True, slots=True, repr=False)
class ReceivedInstance:
    """One DICOM file and what it says of itself. Its repr shows nothing of it.

    Attributes:
        uid, sop_class, study, series: UIDs.
        modality, description, body_part: of the series, empty where not stated.
        data: the file (PS3.10 §7), or a view of it within what it came in.
        read: what was read of it, so that nobody reads it again.
    """

    uid: str
    sop_class: str
    study: str
    series: str
    modality: str
    description: str
    body_part: str
    data: bytes | memoryview
    read: Instance

    def within(self, whole: bytes, at: int) -> Instance:
        """Return what was read of a file that lies in ``whole`` now, from ``at`` on."""
        return replace(self.read, open=partial(cut, whole, slice(at, at + len(self.data))))


def received(data: bytes | memoryview) -> ReceivedInstance:
    """Return a file as an instance. Raises DicomRefused."""
    found = read_instance(lambda: data)
    header = found.header
    try:
        return ReceivedInstance(
            uid=found.uid,
            sop_class=uid_of(header, "SOPClassUID", found.uid),
            study=found.study,
            series=found.series,
            modality=text(header, "Modality"),
            description=text(header, "SeriesDescription"),
            body_part=text(header, "BodyPartExamined").strip().upper(),
            data=data,
            read=found,
        )
    except BROKEN:
        raise NotDicom from None


def files_of(part: RawPart, limits: LimitSettings) -> list[bytes | memoryview]:
    """Return the files of a container; of ``multipart/related``, views. Raises MalformedPayload, PayloadTooLarge."""
    with opened(part, "body", limits) as openers:
        return [opener() for opener in openers]
