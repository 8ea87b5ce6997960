"""The one way a token becomes a principal, whoever issued it: cache, keys, verification."""

from collections.abc import Callable
from typing import Protocol

from bedside.errors import InvalidToken
from bedside.security.keys import KeySet
from bedside.security.token_cache import TokenCache
from bedside.security.verification import KeyNotFound, Verifier
from bedside.types import Principal, UnverifiedToken


class KeySource(Protocol):
    """Where the issuer's keys come from."""

    async def keys(self) -> KeySet:
        """Return the keys to use now. Raises IssuerUnavailable."""
        ...

    async def keys_after_miss(self) -> KeySet:
        """Return the keys after a token named one that is not known; may fetch them again."""
        ...

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` whenever the keys have changed."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


class TokenAuthenticator:
    """Implements ``interfaces.Authenticator`` for bearer JWTs of one issuer."""

    def __init__(self, verifier: Verifier, source: KeySource, cache: TokenCache) -> None:
        self._verifier = verifier
        self._source = source
        self._cache = cache
        source.on_change(cache.clear)  # a key that was withdrawn must not live on in verified tokens

    async def authenticate(self, token: UnverifiedToken) -> Principal:
        """Verify a token; see ``interfaces.Authenticator.authenticate``."""
        known = self._cache.get(token)
        if known is not None:
            return known
        principal = await self._verify(token)
        self._cache.put(token, principal)
        return principal

    async def close(self) -> None:
        """Release connections."""
        await self._source.close()

    async def _verify(self, token: UnverifiedToken) -> Principal:
        try:
            return self._verifier.verify(token, await self._source.keys())
        except KeyNotFound:
            pass
        try:
            return self._verifier.verify(token, await self._source.keys_after_miss())
        except KeyNotFound:
            raise InvalidToken("the token's key is not one of the issuer's (kid)") from None
