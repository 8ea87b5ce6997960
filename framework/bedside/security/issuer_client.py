"""Fetches an issuer's keys: discovery document, then JWK Set (OpenID Connect Discovery 1.0 §4)."""

import asyncio
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson

from bedside.errors import ConfigurationError
from bedside.loopback import is_loopback
from bedside.security.keys import KeySet, read_key_set
from bedside.settings import AuthSettings

MOST_DOCUMENT_BYTES = 256 * 1024
"""Entra ID's JWK Set, with certificate chains, has about 15 KiB."""

_WELL_KNOWN = "/.well-known/openid-configuration"


class FetchFailed(Exception):
    """The issuer's keys could not be had; ``reason`` is a slug of ours for the log."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class IssuerClient:
    """Talks to one issuer.

    Args:
        settings: issuer, time-outs, certificate authorities.

    Raises:
        ConfigurationError: the issuer's URL or the file with authorities cannot be used.
    """

    def __init__(self, settings: AuthSettings) -> None:
        self._settings = settings
        if not self._is_acceptable(settings.issuer):
            raise ConfigurationError(
                "auth.issuer must be an https:// URL without query and fragment (http:// only on loopback, or with "
                "BEDSIDE_AUTH__ALLOW_HTTP_ISSUER=true)",
                field="auth.issuer",
            )
        self._authorities = _authorities(settings)  # reading them takes tens of milliseconds: once

    async def fetch_keys(self) -> KeySet:
        """Return the issuer's usable keys as it states them now.

        Raises:
            FetchFailed: with the reason.
        """
        # A client for each fetch: five minutes later its connection would be dead, and perhaps its event loop too.
        async with self._connect() as http:
            return await self._fetch_keys(http)

    async def _fetch_keys(self, http: httpx.AsyncClient) -> KeySet:
        issuer = self._settings.issuer
        discovery = await self._get(http, issuer.removesuffix("/") + _WELL_KNOWN)
        # §4.3: must be identical; else one tenant of a shared host could answer for another.
        if discovery.get("issuer") != issuer:
            raise FetchFailed("issuer_differs")
        jwks_uri = discovery.get("jwks_uri")
        if not isinstance(jwks_uri, str) or not self._is_acceptable(jwks_uri, query=True):
            raise FetchFailed("jwks_uri_unacceptable")
        try:
            return read_key_set(await self._get(http, jwks_uri), self._settings.algorithms)
        except ValueError:
            raise FetchFailed("jwks_malformed") from None

    def _connect(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            verify=self._authorities,
            timeout=self._settings.fetch_timeout_seconds,
            # A redirect would let whoever controls it choose the keys.
            follow_redirects=False,
            # The site's proxy (HTTPS_PROXY) is honoured, but never between this machine and itself.
            trust_env=not is_loopback(urlsplit(self._settings.issuer).hostname),
            headers={"accept": "application/json", "accept-encoding": "identity"},
        )

    async def _get(self, http: httpx.AsyncClient, url: str) -> Mapping[str, Any]:
        try:
            # httpx's time-outs are for each read; a server that drips a byte at a time is stopped by this one.
            async with asyncio.timeout(self._settings.fetch_timeout_seconds):
                body = await _read(http, url)
            document = orjson.loads(body)
        except (TimeoutError, httpx.TimeoutException):
            raise FetchFailed("timeout") from None
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError):
            raise FetchFailed("connection") from None
        except orjson.JSONDecodeError:
            raise FetchFailed("document_malformed") from None
        if not isinstance(document, Mapping):
            raise FetchFailed("document_malformed")
        return document

    def _is_acceptable(self, url: str, *, query: bool = False) -> bool:
        try:
            parts = urlsplit(url)
        except ValueError:
            return False
        if not parts.hostname or parts.username is not None or parts.fragment or (parts.query and not query):
            return False
        if parts.scheme == "https":
            return True
        # Another machine's issuer does not choose what is asked of this one.
        local = is_loopback(parts.hostname) and is_loopback(urlsplit(self._settings.issuer).hostname)
        return parts.scheme == "http" and (self._settings.allow_http_issuer or local)


async def _read(http: httpx.AsyncClient, url: str) -> bytes:
    async with http.stream("GET", url) as response:
        if response.status_code != 200:
            raise FetchFailed("status")
        if response.headers.get("content-encoding", "identity") != "identity":
            raise FetchFailed("document_encoded")  # not asked for, and a small one may inflate to any size
        body = bytearray()
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > MOST_DOCUMENT_BYTES:
                raise FetchFailed("document_too_large")
        return bytes(body)


def _authorities(settings: AuthSettings) -> ssl.SSLContext:
    try:
        # Certificates and host names are checked, TLS 1.2 is the least: the defaults of this call, unlike SSLContext's.
        return ssl.create_default_context(cafile=settings.ca_certificates)
    except (OSError, ssl.SSLError):
        raise ConfigurationError(
            "auth.ca_certificates cannot be read as PEM certificates", field="auth.ca_certificates"
        ) from None
