"""Compressed frames agree with their header, or are refused before they are decompressed."""

from typing import Any

import pytest
from tests.unit.codecs.dicom.cases import MAKE, read

from bedside.codecs.dicom.pixels import codestream_size
from bedside.errors import NotDicom, PixelDataContradictsHeader, TruncatedPixelData

SYNTAXES = [MAKE.uids.RLELossless, MAKE.uids.JPEGLSLossless, MAKE.uids.JPEG2000Lossless]


def compressed(syntax: Any, **attributes: Any) -> Any:
    """Return an MR series whose headers are changed after compression."""
    made = MAKE.mr(rows=64, columns=80)
    for dataset in made:
        dataset.compress(syntax, generate_instance_uid=False)
        for keyword, value in attributes.items():
            MAKE.change(dataset, keyword, value)
    return made


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.keyword)
def test_headers_that_contradict_the_frame(syntax: Any) -> None:
    """Other rows than were compressed."""
    with pytest.raises((PixelDataContradictsHeader, TruncatedPixelData)):
        read(compressed(syntax, Rows=60))


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.keyword)
def test_headers_that_promise_a_giant(syntax: Any) -> None:
    """A few hundred bytes cannot be a gigabyte; nothing is tried."""
    with pytest.raises((PixelDataContradictsHeader, TruncatedPixelData)):
        read(compressed(syntax, Rows=1000, Columns=1000))


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.keyword)
def test_frames_that_end_early(syntax: Any) -> None:
    """The decoder's own words are not repeated."""
    made = compressed(syntax)
    made[1].PixelData = MAKE.pydicom.encaps.encapsulate([b"\xff\x4f\xff\x51" + bytes(40)])
    with pytest.raises((TruncatedPixelData, PixelDataContradictsHeader)) as caught:
        read(made)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("length", [b"\0\0\0\0", b"\xff\xff\xff\x7f"], ids=["no_frames", "table_without_end"])
def test_broken_encapsulation(length: bytes) -> None:
    """Pixel data that begin as they should and hold no frame (PS3.5 §A.4)."""
    made = compressed(MAKE.uids.RLELossless)
    made[0].PixelData = b"\xfe\xff\x00\xe0" + length
    with pytest.raises((TruncatedPixelData, NotDicom)):
        read(made)


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (b"\xff\xd8\xff\xc0\x00\x0b\x08\x00\x05\x00\x07\x01", (5, 7)),
        (b"\xff\xd8\xff\xe0\x00\x04ab\xff\xff\xc3\x00\x0b\x10\x01\x00\x02\x00", (256, 512)),
        (b"\xff\xd8\xff\xf7\x00\x0b\x10\x00\x01\x00\x02\x01", (1, 2)),
        (b"\xff\xd8\xff\xc4\x00\x0b\x10\x00\x01\x00\x02\x01", None),
        (b"\xff\x4f\xff\x51\x00\x29\x00\x00" + bytes([0, 0, 0, 9, 0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 2]), (6, 8)),
        (b"text", None),
        (b"\xff\xd8", None),
    ],
    ids=["baseline", "fill_bytes", "jpeg_ls", "no_frame", "jpeg_2000_with_offset", "text", "start_only"],
)
def test_sizes_in_codestreams(data: bytes, size: tuple[int, int] | None) -> None:
    """Rows and columns, from the start of frame (T.81 §B.2.2, T.87 §C.2.2) or SIZ (T.800 §A.5.1)."""
    assert codestream_size(data) == size
