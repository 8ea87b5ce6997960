"""Stage 2, first half: who calls. The same steps for every issuer; only where the keys come from differs."""

import time
from typing import Protocol

from jose.backends.base import Key

from bedside.security.claims import Clock, Expectations
from bedside.security.token_cache import TokenCache
from bedside.security.verification import TokenHeader, TokenVerifier
from bedside.settings import AuthSettings
from bedside.types import Principal, UnverifiedToken


class KeySource(Protocol):
    """Where the issuer's keys come from."""

    async def find(self, header: TokenHeader) -> tuple[Key, ...]:
        """Return the keys that may verify a token with this header. Raises IssuerUnavailable."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


class TokenAuthenticator:
    """Implements ``interfaces.Authenticator``.

    Args:
        settings: audience, algorithms, leeway, bounds and cache.
        issuer: exact value of ``iss``.
        keys: where the issuer's keys come from.
        cache: tokens verified before; whoever owns ``keys`` clears it when they change.
        clock: seconds since the epoch.
    """

    def __init__(
        self, settings: AuthSettings, issuer: str, keys: KeySource, cache: TokenCache, clock: Clock = time.time
    ) -> None:
        expected = Expectations(issuer, settings.audience, settings.leeway_seconds, clock)
        self._verifier = TokenVerifier(expected, algorithms=settings.algorithms, token_bytes=settings.token_bytes)
        self._keys = keys
        self._cache = cache

    async def authenticate(self, token: UnverifiedToken) -> Principal:
        """Verify a token. A token seen before costs a look-up and does not suspend.

        Raises:
            InvalidToken: it does not verify.
            ExpiredToken: it is outside its validity.
            IssuerUnavailable: the issuer's keys cannot be had, and none that may still be used are known.
        """
        principal = self._cache.get(token)
        if principal is not None:
            return principal
        header = self._verifier.read_header(token)
        keys = await self._keys.find(header)
        principal = self._verifier.verify(token, header, keys)
        self._cache.put(token, principal)
        return principal

    async def close(self) -> None:
        """Release connections."""
        await self._keys.close()
