"""Declared type, magic bytes and contract must agree."""

import pytest

from bedside.bundle.contract import PLANE_MEDIA_TYPES, RECORD_MEDIA_TYPES, VOLUME_MEDIA_TYPES, InputSpec
from bedside.codecs.sniff import identify
from bedside.errors import MalformedPayload, UnsupportedMediaType

PNG = b"\x89PNG\r\n\x1a\n"
GZIP = b"\x1f\x8b\x08"
VOLUMES = InputSpec("scan", "image", VOLUME_MEDIA_TYPES)
PICTURES = InputSpec("scan", "image", PLANE_MEDIA_TYPES)
ANYTHING = InputSpec("scan", "image")
RECORD = InputSpec("patient", "record", RECORD_MEDIA_TYPES)


@pytest.mark.parametrize(
    ("data", "media_type", "spec", "kind"),
    [
        (PNG, "image/png", PICTURES, "png"),
        (PNG, "Image/PNG; charset=binary", PICTURES, "png"),
        (PNG, "application/octet-stream", PICTURES, "png"),
        (PNG, "", ANYTHING, "png"),
        (GZIP, "application/x-gzip", VOLUMES, "gzip"),
        (GZIP, "application/x-nifti", VOLUMES, "gzip"),
        (b' \n{"a": 1}', "application/json", RECORD, "json"),
        (b"{}", "application/octet-stream", RECORD, "json"),
    ],
)
def test_agreement(data: bytes, media_type: str, spec: InputSpec, kind: str) -> None:
    """The kind is known, whatever the spelling of the media type."""
    assert identify(data, media_type, spec) == kind


@pytest.mark.parametrize(
    ("data", "media_type", "spec"),
    [
        (PNG, "text/html", PICTURES),
        (PNG, "image/png", VOLUMES),
        (PNG, "application/octet-stream", VOLUMES),
        (GZIP, "application/gzip", PICTURES),
        (b"{}", "application/json", PICTURES),
        (b"{}", "application/json", ANYTHING),
        (b"?", "application/octet-stream", ANYTHING),
        (PNG, "image/png", RECORD),
        (b"MZ", "application/octet-stream", RECORD),
    ],
)
def test_types_that_the_input_does_not_take(data: bytes, media_type: str, spec: InputSpec) -> None:
    """The error names the field and what it would take."""
    with pytest.raises(UnsupportedMediaType) as caught:
        identify(data, media_type, spec)
    assert caught.value.field == spec.name
    assert all(accepted in caught.value.detail for accepted in spec.media_types)


@pytest.mark.parametrize(
    ("data", "media_type", "spec"),
    [
        (b"", "image/png", PICTURES),
        (b"\xff\xd8\xff", "image/png", PICTURES),
        (PNG, "application/json", RECORD),
        (PNG, "application/gzip", VOLUMES),
        (b"hello", "application/x-nifti", VOLUMES),
    ],
)
def test_bytes_that_are_not_what_was_declared(data: bytes, media_type: str, spec: InputSpec) -> None:
    """A file under a wrong name is malformed, not silently taken for what it is."""
    with pytest.raises(MalformedPayload) as caught:
        identify(data, media_type, spec)
    assert caught.value.field == spec.name
