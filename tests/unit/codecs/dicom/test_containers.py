"""Zip archives, multipart/related and single files, and what may be wrong with them."""

import io
import subprocess
import sys
import zipfile
from typing import Any

import pytest
from tests.unit.codecs.dicom.cases import LIMITS, MAKE

from bedside.bundle.contract import InputSpec
from bedside.codecs import Codecs
from bedside.codecs.dicom import is_dicom
from bedside.errors import (
    DecompressedTooLarge,
    MalformedPayload,
    NotDicom,
    RequestError,
    TooFewSlices,
    TooManyInstances,
    UnsupportedMediaType,
    UnsupportedTransferSyntax,
)
from bedside.settings import LimitSettings
from bedside.types import DecodedImage, RawPart

SPEC = InputSpec("scan", "image", ("application/x-nifti", "application/dicom", "application/zip"), 3)
RELATED = 'multipart/related; type="application/dicom"; boundary=b'


def archive(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a zip archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as opened:
        for name, data in files.items():
            opened.writestr(name, data)
    return buffer.getvalue()


def named() -> dict[str, bytes]:
    """Return the files of a sound series by name."""
    return {f"Geheim/{number}.dcm": data for number, data in enumerate(MAKE.files(MAKE.series()))}


def related(files: list[bytes], end: bytes = b"--b--\r\n", preamble: bytes = b"") -> bytes:
    """Return a multipart/related body with the boundary ``b``."""
    parts = (b"--b\r\nContent-Type: application/dicom\r\n\r\n" + data + b"\r\n" for data in files)
    return preamble + b"".join(parts) + end


def decode(media_type: str, data: bytes, limits: LimitSettings = LIMITS, spec: InputSpec = SPEC) -> DecodedImage:
    """Decode one part."""
    decoded = Codecs(limits).decode_part(RawPart(None, media_type, data), spec)
    assert isinstance(decoded, DecodedImage)
    return decoded


def test_all_containers_give_the_same_volume() -> None:
    """A zip archive, stored or deflated, and multipart/related with and without a preamble."""
    files = list(named().values())
    volumes = {
        decode("application/zip", archive(named())).payload,
        decode("application/zip", archive(named(), zipfile.ZIP_STORED)).payload,
        decode(RELATED, related(files)).payload,
        decode(RELATED, related(files, preamble=b"preamble\r\n")).payload,
    }
    assert len(volumes) == 1


def test_one_file() -> None:
    """An enhanced object is a volume by itself; a classic slice is none."""
    assert decode("application/dicom", MAKE.files(MAKE.enhanced())[0]).shape == (4, 5, 4)
    assert decode("application/octet-stream", MAKE.files(MAKE.enhanced())[0]).shape == (4, 5, 4)
    with pytest.raises(TooFewSlices):
        decode("application/dicom", MAKE.files(MAKE.series())[0])


def test_index_and_litter_are_left_out() -> None:
    """What discs and operating systems add is no image, and no reason to refuse one."""
    litter = {
        "DICOMDIR": b"index",
        "__MACOSX/._1.dcm": b"x",
        "a/.DS_Store": b"x",
        "Thumbs.db": b"x",
        "b/": b"",
        "1.dcm.json": b"{}",
    }
    assert decode("application/zip", archive({**named(), **litter})).shape == (4, 5, 4)


def test_any_other_file_is_refused() -> None:
    """It may be a slice that was damaged on the way."""
    with pytest.raises(NotDicom) as caught:
        decode("application/zip", archive({**named(), "Geheim.txt": b"x" * 200}))
    assert "Geheim" not in str(caught.value)


def test_names_in_an_archive_are_not_told() -> None:
    """The rule that was broken, but not the member."""
    with pytest.raises(MalformedPayload, match="archive_path") as caught:
        decode("application/zip", archive({"../Geheim.dcm": b"x"}))
    assert "Geheim" not in str(caught.value)


@pytest.mark.parametrize("data", [b"PK\3\4 nothing", b"PK", archive({"a": b"x"})[:-8]], ids=["head", "two", "cut"])
def test_damaged_archives(data: bytes) -> None:
    """No archive at all, or one without its end."""
    with pytest.raises((MalformedPayload, NotDicom)):
        decode("application/zip", data)


def test_links_in_archives() -> None:
    """None is followed, nor looked at."""
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        opened.writestr(link, "/etc/passwd")
    with pytest.raises(MalformedPayload, match="archive_link"):
        decode("application/zip", buffer.getvalue())


def test_archives_are_bounded() -> None:
    """By files, by members in all, and by bytes."""
    limits = LimitSettings(dicom_instances=3, decompressed_bytes=1 << 20)
    with pytest.raises(TooManyInstances):
        decode("application/zip", archive(named()), limits)
    with pytest.raises(TooManyInstances):
        decode("application/zip", archive({f"{n}/": b"" for n in range(9)}), limits)
    with pytest.raises(DecompressedTooLarge):
        decode("application/zip", archive({"bomb": bytes(2 << 20)}), limits)


@pytest.mark.parametrize(
    ("media_type", "body"),
    [
        ("multipart/related", related([])),
        ("multipart/related; boundary=" + "b" * 71, related([])),
        (RELATED, b"no delimiter"),
        (RELATED, related([b"x"], end=b"")),
        (RELATED, b"--b\r\nContent-Type: application/dicom\r\n--b--"),
    ],
    ids=["no_boundary", "long_boundary", "no_delimiter", "no_end", "no_body"],
)
def test_damaged_multipart(media_type: str, body: bytes) -> None:
    """What RFC 2046 does not allow is refused, and never read past its end."""
    with pytest.raises(RequestError):
        decode(media_type, body)


def test_multipart_is_bounded() -> None:
    """By the number of its parts."""
    with pytest.raises(TooManyInstances):
        decode(RELATED, related([b"x"] * 4), LimitSettings(dicom_instances=3))


@pytest.mark.parametrize("data", [b"", b"DICM", bytes(128) + b"DICM", bytes(128) + b"DICM" + b"\2\0\1\0" * 9])
def test_files_that_are_no_dicom(data: bytes) -> None:
    """Too short, without its prefix, or nothing behind it."""
    with pytest.raises((NotDicom, UnsupportedTransferSyntax)):
        decode("application/dicom", data)


def test_deflated_data_sets_are_refused_before_they_are_inflated() -> None:
    """A bomb would be inflated without a bound."""
    made = MAKE.series()
    made[0].file_meta.TransferSyntaxUID = MAKE.uids.DeflatedExplicitVRLittleEndian
    with pytest.raises(UnsupportedTransferSyntax):
        decode("application/dicom", MAKE.files(made[:1])[0])


@pytest.mark.parametrize("spec", [InputSpec("x", "record"), InputSpec("x", "image", ("image/png",), 2)])
def test_inputs_that_take_no_volumes(spec: InputSpec) -> None:
    """A table or a picture is not made of a series."""
    with pytest.raises(UnsupportedMediaType):
        decode("application/zip", archive(named()), spec=spec)


@pytest.mark.parametrize(
    ("media_type", "data", "expected"),
    [
        ("application/dicom; transfer-syntax=1.2", b"", True),
        ("APPLICATION/ZIP", b"", True),
        ("", bytes(128) + b"DICM", True),
        ("application/octet-stream", b"PK\3\4", False),
        ("image/png", bytes(128) + b"DICM", False),
    ],
)
def test_what_counts_as_dicom(media_type: str, data: bytes, expected: Any) -> None:
    """The declared type decides; where there is none, the prefix of PS3.10 §7.1 does."""
    assert is_dicom(RawPart(None, media_type, data)) == expected


def test_without_the_extra_the_install_line_is_told() -> None:
    """The rest of the server works; nothing of pydicom is imported before it is needed."""
    code = """
import sys
sys.modules["pydicom"] = None
from bedside.codecs.dicom import read_series
from bedside.bundle.dicom_policy import DicomPolicy
from bedside.errors import DicomNotInstalled
from bedside.settings import LimitSettings
try:
    read_series([b""], DicomPolicy(), LimitSettings())
except DicomNotInstalled as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'bedside[dicom]'" in done.stdout
