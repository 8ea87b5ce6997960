"""What commands say of a server that cannot be asked, or refuses."""

import ssl
import subprocess
from pathlib import Path

import httpx
import pytest

from bedside.cli.server import CallFailed, asked, trust


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("127.0.0.1:8000", "begins with http:// or https://"),
        ("ftp://127.0.0.1", "begins with http:// or https://"),
        ("http://127.0.0.1:1", "refused"),
    ],
)
def test_an_address_that_does_not_work_is_told_with_the_reason(url: str, advice: str) -> None:
    """A scheme that is missing, a port where nobody listens."""
    with httpx.Client(base_url=url) as client, pytest.raises(CallFailed, match=advice):
        asked(client, "GET", "/")


def test_who_has_no_token_learns_how_to_get_one() -> None:
    """One sentence after the other, each with its own full stop."""
    problem = {"title": "Authentication required", "detail": "no token was found.", "request_id": "a" * 32}
    transport = httpx.MockTransport(lambda _: httpx.Response(401, json=problem))
    with httpx.Client(transport=transport, base_url="http://test") as client, pytest.raises(CallFailed) as caught:
        asked(client, "GET", "/")
    assert caught.value.detail.endswith("export BEDSIDE_TOKEN=$(bedside token)")
    assert "found, request aaaa" in caught.value.detail


def test_authorities_of_a_file_vouch_for_the_server_alone_and_elsewhere_besides_the_usual(tmp_path: Path) -> None:
    """A hospital's own authority signs the server's certificate, not that of AWS' buckets."""
    own, key = tmp_path / "ca.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-subj", "/CN=hospital", "-keyout", str(key), "-out", str(own)]
    subprocess.run(command, check=True, capture_output=True)
    here, elsewhere = trust(own), trust(own, elsewhere=True)
    assert isinstance(here, ssl.SSLContext)
    assert isinstance(elsewhere, ssl.SSLContext)
    assert here.cert_store_stats()["x509"] == 1
    assert elsewhere.cert_store_stats()["x509"] == httpx.create_ssl_context().cert_store_stats()["x509"] + 1
    assert trust(None, elsewhere=True) is True
