"""Content negotiation."""

import pytest

from bedside.codecs import negotiate
from bedside.errors import NotAcceptable

AVAILABLE = ("application/gzip", "application/json", "image/png", "multipart/mixed")


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", "application/gzip"),
        ("*/*", "application/gzip"),
        ("application/json", "application/json"),
        ("APPLICATION/JSON", "application/json"),
        ("image/*", "image/png"),
        ("image/png, application/json", "application/json"),
        ("image/png;q=0.9, application/json;q=0.8", "image/png"),
        ("application/*;q=0.5, image/png", "image/png"),
        ("*/*, application/gzip;q=0", "application/json"),
        ("application/*;q=0.1, application/json;q=0.9, */*;q=0.5", "application/json"),
        ("text/html, */*;q=0.1", "application/gzip"),
        ("application/json; profile=x; q=1", "application/json"),
        ("application/json;q=0.5, application/json;q=0.7, image/png;q=0.6", "application/json"),
        ("nonsense", "application/gzip"),
        ("*/json", "application/gzip"),
        ("application/json;q=high", "application/gzip"),
        (",,", "application/gzip"),
    ],
)
def test_the_callers_wish_then_ours(accept: str, chosen: str) -> None:
    """Quality first, then specificity, then our own order (RFC 9110 §12.5.1)."""
    assert negotiate(accept, AVAILABLE) == chosen


@pytest.mark.parametrize("accept", ["text/html", "application/dicom", "*/*;q=0", "image/jpeg, text/*"])
def test_nothing_acceptable(accept: str) -> None:
    """The error tells what there is."""
    with pytest.raises(NotAcceptable) as caught:
        negotiate(accept, AVAILABLE)
    assert caught.value.available == AVAILABLE
