"""Tokens of the site's identity provider (any OpenID Connect issuer)."""

import time
from collections.abc import Callable

from bedside.security.authenticator import TokenAuthenticator
from bedside.security.issuer_client import IssuerClient
from bedside.security.jwks import IssuerKeys
from bedside.security.token_cache import TokenCache
from bedside.settings import AuthSettings


class OidcAuthenticator(TokenAuthenticator):
    """Implements ``interfaces.Authenticator`` with the keys of ``settings.issuer``.

    Args:
        settings: ``settings.auth``.
        monotonic: seconds of a clock that is not set, for the age of keys.

    Raises:
        ConfigurationError: the issuer's URL or the file with certificate authorities cannot be used.
    """

    def __init__(self, settings: AuthSettings, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        cache = TokenCache(settings.token_cache_size, settings.token_cache_seconds)
        self._issuer_keys = IssuerKeys(settings, IssuerClient(settings), cache.clear, monotonic)
        super().__init__(settings, settings.issuer, self._issuer_keys, cache)

    async def prefetch(self) -> bool:
        """Fetch the issuer's keys at start-up, so that the first call does not wait.

        Return whether there are any. An issuer that is down does not stop the start: calls get IssuerUnavailable
        until it is back.
        """
        return await self._issuer_keys.prefetch()
