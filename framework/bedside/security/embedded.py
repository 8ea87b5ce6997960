"""The embedded issuer: tokens for one machine, where there is no identity provider yet. Never in production.

Its key is a file in the state folder; whoever may read the file may call the models, which on one machine is the same
person. ``bedside token`` and ``bedside serve`` read the same file.
"""

import hashlib
import time
import uuid
from collections.abc import Callable, Collection

from jose import jwk, jwt
from jose.backends.base import Key

from bedside.errors import ConfigurationError
from bedside.security.authenticator import TokenAuthenticator
from bedside.security.key_file import load_or_create_key
from bedside.security.keys import KeySet, VerificationKey
from bedside.security.token_cache import TokenCache
from bedside.security.verification import TokenHeader
from bedside.settings import Settings

ISSUER = "https://embedded.bedside.invalid/"
"""A name that can never be resolved (RFC 6761 §6.4), so that no real issuer is ever mistaken for this one."""

KEY_FILE = "embedded-issuer.pem"

MOST_LIFETIME_SECONDS = 30 * 24 * 3600


class EmbeddedIssuer:
    """Makes tokens with the key in ``settings.runtime.state_dir``, which is created where there is none.

    Raises:
        ConfigurationError: ``env`` is ``production``, or the key cannot be read, written or trusted.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        if settings.env == "production":
            raise ConfigurationError(
                "the embedded issuer is for one machine and refuses BEDSIDE_ENV=production; set BEDSIDE_AUTH__ISSUER",
                field="auth.issuer",
            )
        self._audience = settings.auth.audience
        self._clock = clock
        pem = load_or_create_key(settings.runtime.state_dir / KEY_FILE)
        self._signing_key = jwk.construct(pem, "RS256")
        self._public = jwk.construct(self._signing_key.public_key().to_pem(), "RS256")
        self._kid = _thumbprint(self._public)

    def __repr__(self) -> str:
        """Return the key's id, never the key."""
        return f"EmbeddedIssuer(kid={self._kid!r})"

    @property
    def keys(self) -> KeySet:
        """Return the public key."""
        members = self._public.to_dict()
        return KeySet([VerificationKey(self._kid, "RS256", (members["n"], members["e"]), self._public)])

    def mint(self, subject: str, scopes: Collection[str], lifetime_seconds: int = 3600) -> str:
        """Return a signed access token (RFC 9068) for this server.

        Args:
            subject: who it is for.
            scopes: what it allows, for example ``bedside.infer``.
            lifetime_seconds: until it expires; 1 second to 30 days.

        Raises:
            ConfigurationError: lifetime, subject or scopes are out of range.
        """
        if not 0 < lifetime_seconds <= MOST_LIFETIME_SECONDS:
            raise ConfigurationError(
                f"a token's lifetime is 1 to {MOST_LIFETIME_SECONDS} seconds", field="lifetime_seconds"
            )
        if not subject:
            raise ConfigurationError("a token needs a subject", field="subject")
        if any(not scope or " " in scope for scope in scopes):
            raise ConfigurationError("a scope is one word", field="scopes")
        now = int(self._clock())
        claims = {
            "iss": ISSUER,
            "sub": subject,
            "aud": self._audience,
            "iat": now,
            "nbf": now,
            "exp": now + lifetime_seconds,
            "jti": uuid.uuid4().hex,
            "scope": " ".join(scopes),
        }
        return jwt.encode(claims, self._signing_key, "RS256", headers={"typ": "at+jwt", "kid": self._kid})


class _FixedKeys:
    """Implements ``authenticator.KeySource`` with keys that never change."""

    def __init__(self, keys: KeySet) -> None:
        self._keys = keys

    async def find(self, header: TokenHeader) -> tuple[Key, ...]:
        return self._keys.candidates(header.kid, header.algorithm)

    async def close(self) -> None:
        """Nothing is held."""


class EmbeddedAuthenticator(TokenAuthenticator):
    """Implements ``interfaces.Authenticator`` for the embedded issuer's tokens.

    Raises:
        ConfigurationError: ``env`` is ``production``, or the key cannot be read, written or trusted.
    """

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.time) -> None:
        auth = settings.auth
        issuer = EmbeddedIssuer(settings, clock)
        cache = TokenCache(auth.token_cache_size, auth.token_cache_seconds, clock)
        # RS256 is what the embedded issuer signs with, whatever the site's own issuer will be allowed to use.
        pinned = auth.model_copy(update={"algorithms": ("RS256",)})
        super().__init__(pinned, ISSUER, _FixedKeys(issuer.keys), cache, clock)


def _thumbprint(key: Key) -> str:
    """Return a stable key id made from the public key."""
    return hashlib.sha256(key.to_pem()).hexdigest()[:32]
