"""Keys of an OIDC issuer: discovered, cached, rotated, and used for a bounded time while the issuer is down."""

import asyncio
import ipaddress
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson

from bedside.errors import BedsideError, ConfigurationError, IssuerUnavailable
from bedside.security.authenticator import TokenAuthenticator
from bedside.security.keys import KeySet
from bedside.security.token_cache import TokenCache
from bedside.security.verification import Verifier
from bedside.settings import AuthSettings

MAX_DOCUMENT_BYTES = 1024 * 1024

OnKeys = Callable[[str], None]


class DiscoveredKeys:
    """Keys by OpenID Connect Discovery 1.0 §4. Implements ``authenticator.KeySource``.

    Args:
        settings: issuer, ages and time-outs.
        client: makes the requests; its time-out is ours.
        clock: monotonic seconds.
        on_keys: told ``refreshed`` or ``stale`` (for the log).
    """

    def __init__(
        self,
        settings: AuthSettings,
        client: httpx.AsyncClient,
        clock: Callable[[], float] = time.monotonic,
        on_keys: OnKeys = lambda _what: None,
    ) -> None:
        self._settings = settings
        self._client = client
        self._clock = clock
        self._on_keys = on_keys
        self._listeners: list[Callable[[], None]] = []
        self._known: KeySet | None = None
        self._fetched_at = 0.0
        self._tried_at: float | None = None
        self._fetch: asyncio.Task[None] | None = None

    async def keys(self) -> KeySet:
        """Return the known keys; where they are old, they are fetched again without making the caller wait."""
        if self._known is None:
            await self._refresh()
        elif self._age() > self._settings.jwks_max_age_seconds and self._may_try():
            self._start()
        return self._usable()

    async def keys_after_miss(self) -> KeySet:
        """Fetch the keys again, but not more often than allowed: anybody can make up a key id."""
        if self._fetch is not None or self._may_try():
            await self._refresh()
        return self._usable()

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` whenever the keys have changed."""
        self._listeners.append(listener)

    async def close(self) -> None:
        """Stop fetching and release connections."""
        if self._fetch is not None:
            self._fetch.cancel()
        await self._client.aclose()

    def _age(self) -> float:
        return self._clock() - self._fetched_at

    def _may_try(self) -> bool:
        interval = self._settings.jwks_refresh_interval_seconds
        return self._tried_at is None or self._clock() - self._tried_at >= interval

    def _usable(self) -> KeySet:
        if self._known is None:
            raise IssuerUnavailable
        if self._age() > self._settings.jwks_max_age_seconds + self._settings.jwks_stale_seconds:
            raise IssuerUnavailable("the issuer has not answered for longer than its known keys may be used")
        return self._known

    async def _refresh(self) -> None:
        if self._fetch is None and not self._may_try():
            return
        await asyncio.shield(self._start())  # a caller that goes away must not stop the fetch for the others

    def _start(self) -> asyncio.Task[None]:
        if self._fetch is None:
            self._tried_at = self._clock()
            self._fetch = asyncio.create_task(self._fetch_once())
            self._fetch.add_done_callback(self._finished)
        return self._fetch

    def _finished(self, _task: asyncio.Task[None]) -> None:
        self._fetch = None

    async def _fetch_once(self) -> None:
        try:
            fresh = await self._download()
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, BedsideError):
            self._on_keys("stale")
            return
        changed, self._known = fresh != self._known, fresh
        self._fetched_at = self._clock()
        if changed:
            for listener in self._listeners:
                listener()
            self._on_keys("refreshed")

    async def _download(self) -> KeySet:
        issuer = self._settings.issuer
        document = await self._get(issuer.rstrip("/") + "/.well-known/openid-configuration")
        # The document must be the issuer's own (Discovery §4.3), or another issuer's keys would be accepted as its.
        if not isinstance(document, dict) or document.get("issuer") != issuer:
            raise IssuerUnavailable("the discovery document is of another issuer")
        address = str(document.get("jwks_uri"))
        require_trusted(address, self._settings)
        keys = KeySet.from_jwks(await self._get(address), self._settings.algorithms)
        if not len(keys):
            raise IssuerUnavailable("the issuer publishes no key that may be used")
        return keys

    async def _get(self, address: str) -> Any:
        async with self._client.stream("GET", address, headers={"Accept": "application/json"}) as response:
            response.raise_for_status()
            body = b""
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > MAX_DOCUMENT_BYTES:
                    raise IssuerUnavailable("the issuer's document is too long")
        return orjson.loads(body)


def require_trusted(address: str, settings: AuthSettings) -> None:
    """Accept https, and http only on loopback or where the setting says so.

    Raises:
        ConfigurationError: keys fetched without TLS could be replaced on the way.
    """
    parts = urlsplit(address)
    if parts.scheme == "https" and parts.hostname:
        return
    if parts.scheme == "http" and (settings.allow_http_issuer or _is_loopback(parts.hostname)):
        return
    raise ConfigurationError("the issuer's address must begin with https://", field="auth.issuer")


def oidc_authenticator(
    settings: AuthSettings,
    *,
    clock: Callable[[], float] = time.monotonic,
    now: Callable[[], float] = time.time,
    on_keys: OnKeys = lambda _what: None,
) -> TokenAuthenticator:
    """Return the authenticator for ``settings.issuer``.

    Raises:
        ConfigurationError: the issuer's address is not to be trusted.
    """
    require_trusted(settings.issuer, settings)
    client = httpx.AsyncClient(
        timeout=settings.fetch_timeout_seconds,
        verify=str(settings.ca_certificates) if settings.ca_certificates else True,
        follow_redirects=False,  # a redirect would lead past the check of the address
        trust_env=True,  # hospitals reach the outside through proxies
    )
    source = DiscoveredKeys(settings, client, clock, on_keys)
    cache = TokenCache(settings.token_cache_size, settings.token_cache_seconds, now)
    return TokenAuthenticator(Verifier(settings.issuer, settings, now), source, cache)


def _is_loopback(host: str | None) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False
