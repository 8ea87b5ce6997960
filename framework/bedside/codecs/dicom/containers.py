"""Containers of DICOM files: one file, a zip archive, ``multipart/related`` (DICOM PS3.18 §8.6.1.2).

Names inside of a container are never repeated: they often hold a patient's name.
"""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import Message
from functools import partial
from pathlib import PurePosixPath

from bedside.bundle.study import is_litter
from bedside.bundle.vetting.findings import Refused
from bedside.bundle.vetting.zips import open_zip, read_member
from bedside.errors import DecompressedTooLarge, MalformedPayload, TooManyInstances
from bedside.settings import AdmissionSettings, LimitSettings
from bedside.types import RawPart

Opener = Callable[[], bytes | memoryview]
"""Returns the bytes of one file; may be called more than once, so that nothing is held that is not looked at."""

_DEFLATE_RATIO = 1032  # the most that deflate can shrink: black slices come near it; the total bounds bombs
_BOUNDARY_LENGTH = 70  # RFC 2046 §5.1.1


@contextmanager
def opened(part: RawPart, name: str, limits: LimitSettings) -> Iterator[list[Opener]]:
    """Open a part; the files can be read inside the block.

    Raises:
        MalformedPayload: the container is damaged, or readers would differ in what it holds.
        PayloadTooLarge: it holds more, or unpacks to more, than the limits allow.
    """
    if part.data[:2] == b"PK":
        with _zip(part.data, name, limits) as files:
            yield files
    elif part.media_type.strip().lower().startswith("multipart/related"):
        yield _related(part, name, limits)
    else:
        yield [lambda: part.data]


@contextmanager
def _zip(data: bytes, name: str, limits: LimitSettings) -> Iterator[list[Opener]]:
    bounds = AdmissionSettings(
        files=2 * limits.dicom_instances,  # folders count, too
        total_bytes=limits.decompressed_bytes,
        archive_ratio=_DEFLATE_RATIO,
    )
    try:
        with open_zip(io.BytesIO(data), bounds) as archive:
            members = [
                member
                for member in archive.infolist()
                if not member.is_dir() and not is_litter(PurePosixPath(member.filename))
            ]
            _require_few(len(members), name, limits)
            yield [partial(read_member, archive, member, member.file_size) for member in members]
    except Refused as refused:
        if refused.rule == "too_many_files":
            raise TooManyInstances(field=name) from None
        if refused.rule == "too_large":
            raise DecompressedTooLarge(field=name) from None
        # The explanation names members, so only the rule is told.
        raise MalformedPayload(f"the zip archive of '{name}' is refused: {refused.rule}", field=name) from None


def _related(part: RawPart, name: str, limits: LimitSettings) -> list[Opener]:
    header = Message()
    header["Content-Type"] = part.media_type
    boundary = header.get_param("boundary")
    if not isinstance(boundary, str) or not 1 <= len(boundary) <= _BOUNDARY_LENGTH or not boundary.isascii():
        raise MalformedPayload("multipart/related needs a boundary of 1 to 70 characters", field="Content-Type")
    spans = list(_spans(part.data, b"--" + boundary.encode(), name, limits))
    return [partial(cut, part.data, span) for span in spans]


def cut(data: bytes, span: slice) -> memoryview:
    """Return a view of some bytes."""
    return memoryview(data)[span]


def _spans(data: bytes, delimiter: bytes, name: str, limits: LimitSettings) -> Iterator[slice]:
    """Yield where the bodies of the parts lie (RFC 2046 §5.1.1)."""
    incomplete = MalformedPayload(f"'{name}' is not a complete multipart/related body", field=name)
    begin = 0 if data.startswith(delimiter) else data.find(b"\r\n" + delimiter) + 2
    if begin == 1:
        raise incomplete
    count = 0
    while not data.startswith(b"--", begin + len(delimiter)):
        end = data.find(b"\r\n" + delimiter, begin)
        body = data.find(b"\r\n\r\n", begin, end + 2) + 4
        if end < 0 or body == 3:
            raise incomplete
        count += 1
        _require_few(count, name, limits)
        yield slice(body, end)
        begin = end + 2


def _require_few(count: int, name: str, limits: LimitSettings) -> None:
    if count > limits.dicom_instances:
        raise TooManyInstances(f"'{name}' holds more than {limits.dicom_instances} DICOM files", field=name)
