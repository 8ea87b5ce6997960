"""Bytes that nobody wrote: only named errors, in bounded memory, and nothing of the patient in what is told."""

import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.codecs.dicom.cases import MAKE

from bedside.bundle.dicom_policy import DicomPolicy
from bedside.codecs.dicom import read_series
from bedside.codecs.dicom.containers import opened
from bedside.codecs.dicom.pixels import codestream_size
from bedside.errors import RequestError
from bedside.settings import LimitSettings
from bedside.types import RawPart

LIMITS = LimitSettings(decompressed_bytes=8 << 20, dicom_instances=20)
MOST_BYTES = 64 << 20


def _compressed(syntax: Any) -> Any:
    made = MAKE.mr(rows=64, columns=64)
    for dataset in made:
        dataset.compress(syntax, generate_instance_uid=False)
    return made


SOUND = {
    "classic": MAKE.files(MAKE.series()),
    "enhanced": MAKE.files(MAKE.enhanced()),
    "rle": MAKE.files(_compressed(MAKE.uids.RLELossless)),
    "jpeg_ls": MAKE.files(_compressed(MAKE.uids.JPEGLSLossless)),
    "jpeg_2000": MAKE.files(_compressed(MAKE.uids.JPEG2000Lossless)),
}


def _survives(files: list[bytes]) -> None:
    told = ""
    tracemalloc.start()
    try:
        read_series(files, DicomPolicy(padding="keep"), LIMITS)
    except RequestError as error:
        told = f"{error!r} {error.__cause__!r}"
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert not [secret for secret in MAKE.SECRETS if secret in told]
    assert peak < MOST_BYTES


@pytest.mark.parametrize("kind", SOUND)
@settings(max_examples=60)
@given(data=st.data())
def test_flipped_bytes(kind: str, data: st.DataObject) -> None:
    """A few bytes of one file become others; most of them in the header, where lengths and sizes stand."""
    files = list(SOUND[kind])
    content = bytearray(files[-1])
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(128, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    _survives([*files[:-1], bytes(content)])


@pytest.mark.parametrize("kind", SOUND)
@settings(max_examples=30)
@given(data=st.data())
def test_cut_and_doubled_files(kind: str, data: st.DataObject) -> None:
    """A transfer that stopped, or that repeated itself."""
    files = list(SOUND[kind])
    content = files[-1]
    begin, end = sorted(data.draw(st.tuples(st.integers(0, len(content)), st.integers(0, len(content)))))
    _survives([*files[:-1], data.draw(st.sampled_from([content[:end], content[:end] + content[begin:]]))])


@settings(max_examples=100)
@given(st.binary(max_size=400))
def test_anything_behind_the_prefix(data: bytes) -> None:
    """What begins like a DICOM file need not be one."""
    _survives([bytes(128) + b"DICM" + data])


@settings(max_examples=100)
@given(st.sampled_from(["application/zip", "multipart/related; boundary=b"]), st.binary(max_size=300))
def test_any_container(media_type: str, data: bytes) -> None:
    """Neither container reader leaves its own errors behind."""
    for body in (data, b"PK\3\4" + data, b"--b\r\n" + data + b"\r\n--b--"):
        try:
            with opened(RawPart(None, media_type, body), "image", LIMITS) as files:
                for file in files:
                    file()
        except RequestError:
            pass


@settings(max_examples=200)
@given(st.binary(max_size=64), st.sampled_from([b"", b"\xff\xd8", b"\xff\x4f\xff\x51", b"\xff\xd8\xff\xff\xff"]))
def test_any_codestream(data: bytes, head: bytes) -> None:
    """The size is a pair of numbers or unknown, and the search ends."""
    size = codestream_size(head + data)
    assert size is None or len(size) == 2
