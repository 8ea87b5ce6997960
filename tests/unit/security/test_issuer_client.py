"""Discovery and key sets as issuers, and those who pretend to be one, answer them."""

import asyncio
from pathlib import Path

import pytest
from tests.unit.security.local_issuer import DISCOVERY, JWKS, LocalIssuer, response

from bedside.errors import ConfigurationError
from bedside.security.issuer_client import FetchFailed, IssuerClient
from bedside.settings import AuthSettings


async def reason(issuer: LocalIssuer, **changes: float) -> str:
    """Return why a fetch from the local issuer failed."""
    client = IssuerClient(AuthSettings.model_validate({"issuer": issuer.url, **changes}))
    with pytest.raises(FetchFailed) as failed:
        await client.fetch_keys()
    return failed.value.reason


async def test_discovery_document_of_another_issuer_is_refused(issuer: LocalIssuer) -> None:
    """OIDC Discovery §4.3: the issuer in the document must be the one that was asked."""
    issuer.discovery = {"issuer": "https://issuer.example"}
    assert await reason(issuer) == "issuer_differs"


@pytest.mark.parametrize(
    "address", [None, 7, "", "/jwks", "file:///etc/passwd", "http://issuer.example/jwks", "https://", "http://[::1"]
)
async def test_key_sets_are_only_fetched_over_tls_or_loopback(issuer: LocalIssuer, address: object) -> None:
    """Whoever can change the keys on the way can sign tokens."""
    issuer.discovery = {"jwks_uri": address}
    assert await reason(issuer) == "jwks_uri_unacceptable"


@pytest.mark.parametrize(("issuer", "taken"), [("https://issuer.example", False), ("http://127.0.0.1:8080", True)])
def test_another_machine_does_not_choose_what_is_asked_of_this_one(issuer: str, *, taken: bool) -> None:
    """A discovery document could else have the server ask what listens on its loopback."""
    client = IssuerClient(AuthSettings(issuer=issuer))
    assert client._is_acceptable("http://127.0.0.1:9200/_search", query=True) is taken


@pytest.mark.parametrize("path", [DISCOVERY, JWKS])
async def test_redirects_are_not_followed(issuer: LocalIssuer, path: str) -> None:
    """A redirect would let its author choose the keys."""
    issuer.raw[path] = response(b"", "302 Found", "Location: http://127.0.0.1:1/\r\n")
    assert await reason(issuer) == "status"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"<html>", "document_malformed"),
        (b"[]", "document_malformed"),
        (b"{}", "jwks_malformed"),
        (b'{"keys":{}}', "jwks_malformed"),
        (b" " * 300_000, "document_too_large"),
    ],
)
async def test_documents_that_are_no_key_set_are_refused(issuer: LocalIssuer, body: bytes, expected: str) -> None:
    """Each for its reason, which is what the log says."""
    issuer.raw[JWKS] = response(body)
    assert await reason(issuer) == expected


async def test_compressed_documents_are_refused(issuer: LocalIssuer) -> None:
    """None was asked for, and a small one may inflate to any size."""
    issuer.raw[JWKS] = response(b"\x1f\x8b", headers="Content-Encoding: gzip\r\n")
    assert await reason(issuer) == "document_encoded"


async def test_issuer_that_closes_the_connection_is_a_failure(issuer: LocalIssuer) -> None:
    """Network errors end in one exception of ours."""
    issuer.down = True
    assert await reason(issuer) == "connection"


async def test_issuer_that_does_not_answer_is_given_up(issuer: LocalIssuer) -> None:
    """The time-out is that of the settings."""
    issuer.gate.clear()
    assert await reason(issuer, fetch_timeout_seconds=0.05) == "timeout"


async def test_issuer_that_drips_is_given_up(issuer: LocalIssuer) -> None:
    """The time-out is on the whole answer: each byte in time is not enough."""
    asked = asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Begin an answer that does not end."""
        asked.set()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b" ")
            await asyncio.sleep(0.005)

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    client = IssuerClient(AuthSettings(issuer=url, fetch_timeout_seconds=1.0))
    with pytest.raises(FetchFailed, match="timeout"):
        await client.fetch_keys()
    assert asked.is_set()
    server.close()


@pytest.mark.parametrize(
    "issuer_url",
    [
        "http://issuer.example",
        "ftp://issuer.example",
        "issuer.example",
        "https://",
        "https://user@issuer.example",
        "https://issuer.example/?tenant=1",
        "https://issuer.example/#a",
        "http://10.0.0.1",
        "http://[::1",
    ],
)
def test_issuer_urls_that_cannot_be_trusted_do_not_start(issuer_url: str) -> None:
    """The setting is named; its value is not repeated."""
    with pytest.raises(ConfigurationError) as refused:
        IssuerClient(AuthSettings(issuer=issuer_url))
    assert refused.value.field == "auth.issuer"


@pytest.mark.parametrize("issuer_url", ["https://issuer.example/realms/a", "http://localhost:1", "http://[::1]:1/"])
def test_https_and_loopback_issuers_start(issuer_url: str) -> None:
    """Plain http never leaves the machine."""
    assert IssuerClient(AuthSettings(issuer=issuer_url))


def test_http_issuer_starts_where_the_site_says_so() -> None:
    """allow_http_issuer is the site's own decision."""
    assert IssuerClient(AuthSettings(issuer="http://issuer.example", allow_http_issuer=True))


def test_file_of_authorities_that_is_none_does_not_start(tmp_path: Path) -> None:
    """Falling back to the system's authorities would trust more than the site wanted."""
    file = tmp_path / "authorities.pem"
    file.write_text("nonsense")
    for path in (file, tmp_path / "missing.pem"):
        with pytest.raises(ConfigurationError, match="ca_certificates"):
            IssuerClient(AuthSettings(issuer="https://issuer.example", ca_certificates=path))
