"""Studies as one input: their headers are read once."""

import pytest
from tests.unit.codecs.dicom.cases import LIMITS, MAKE

from bedside.bundle.contract import InputSpec
from bedside.codecs.dicom import decode_dicom, files_of, received
from bedside.transports.intake import packed
from bedside.types import RawPart

pytest.importorskip("pydicom", reason="pip install 'bedside[dicom]'")

SPEC = InputSpec("image", "image")


def study() -> list[bytes]:
    """Return files of different lengths, in an order that is not their UIDs'."""
    made = MAKE.series()
    for number, dataset in enumerate(made):
        dataset.ImageComments = "x" * (2 * number)
    return [MAKE.written(dataset) for dataset in reversed(made)]


def test_what_was_read_leads_to_the_files_within_the_whole() -> None:
    """In the order of their UIDs, byte for byte as the parts of the body are."""
    files = study()
    part = packed([received(data) for data in files])
    known = [bytes(instance.open()) for instance in part.files]  # type: ignore[attr-defined]
    assert known == sorted(files, key=lambda data: str(received(data).uid))
    assert known == [bytes(data) for data in files_of(part, LIMITS)]


def test_a_study_is_the_same_image_with_what_was_read_as_without() -> None:
    """A job unpacks the bytes alone, and must find what its sender was told."""
    part = packed([received(data) for data in study()])
    once, again = (decode_dicom(given, SPEC, LIMITS) for given in (part, RawPart(None, part.media_type, part.data)))
    assert once.payload == again.payload
    assert once.source.digest == again.source.digest  # type: ignore[attr-defined]


def test_what_was_read_is_no_part_of_an_input() -> None:
    """It holds a patient's attributes, and says nothing that the bytes do not."""
    part = packed([received(data) for data in study()])
    assert "files" not in repr(part)
    assert part == RawPart(None, part.media_type, part.data)
