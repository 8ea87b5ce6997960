"""The embedded issuer: a key of one machine, for development and the demo. Refused in production."""

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from uuid import uuid4

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jose import jwk, jwt

from bedside.errors import ConfigurationError
from bedside.security.authenticator import TokenAuthenticator
from bedside.security.keys import KeySet, VerificationKey
from bedside.security.token_cache import TokenCache
from bedside.security.verification import Verifier
from bedside.settings import AuthSettings, Settings

ISSUER = "https://embedded.bedside.invalid/"
"""Never resolves (RFC 6761 §6.4): no other issuer can be mistaken for it."""

_KEY_FILE = "issuer-key.pem"
_KEY_ID = "embedded"


class EmbeddedIssuer:
    """Mints tokens with a private key that lives in ``runtime.state_dir``, readable by this user only."""

    def __init__(self, private_pem: str) -> None:
        self._private_pem = private_pem

    @classmethod
    def open(cls, settings: Settings) -> "EmbeddedIssuer":
        """Read the key, or make one.

        Raises:
            ConfigurationError: in production, where an issuer of one's own machine is no issuer.
        """
        if settings.env == "production":
            raise ConfigurationError("the embedded issuer refuses production: set auth.issuer", field="auth.issuer")
        path = settings.runtime.state_dir / _KEY_FILE
        if not path.exists():
            _make_key(path)
        return cls(path.read_text(encoding="ascii"))

    def mint(
        self,
        subject: str,
        scopes: Sequence[str],
        seconds: int,
        audience: str,
        now: Callable[[], float] = time.time,
    ) -> str:
        """Return a signed access token (RFC 9068) that lives for ``seconds``."""
        issued_at = int(now())
        claims = {
            "iss": ISSUER,
            "sub": subject,
            "aud": audience,
            "iat": issued_at,
            "nbf": issued_at,
            "exp": issued_at + seconds,
            "jti": uuid4().hex,
            "client_id": "bedside-cli",
            "scope": " ".join(scopes),
        }
        headers = {"kid": _KEY_ID, "typ": "at+jwt"}
        return str(jwt.encode(claims, self._private_pem, algorithm="RS256", headers=headers))

    def keys(self) -> KeySet:
        """Return the public key."""
        public = jwk.construct(self._private_pem, algorithm="RS256").public_key()
        return KeySet([VerificationKey(_KEY_ID, "RS256", public)])

    def __repr__(self) -> str:
        """Show nothing of the key."""
        return "EmbeddedIssuer()"


class FixedKeys:
    """Keys that never change. Implements ``authenticator.KeySource``."""

    def __init__(self, keys: KeySet) -> None:
        self._keys = keys

    async def keys(self) -> KeySet:
        """Return the keys."""
        return self._keys

    async def keys_after_miss(self) -> KeySet:
        """Return the same keys."""
        return self._keys

    def on_change(self, listener: Callable[[], None]) -> None:
        """Do nothing: they do not change."""

    async def close(self) -> None:
        """Do nothing."""


def embedded_authenticator(settings: Settings, now: Callable[[], float] = time.time) -> TokenAuthenticator:
    """Return the authenticator for tokens of the embedded issuer. Raises ConfigurationError in production."""
    auth: AuthSettings = settings.auth
    issuer = EmbeddedIssuer.open(settings)
    cache = TokenCache(auth.token_cache_size, auth.token_cache_seconds, now)
    return TokenAuthenticator(Verifier(ISSUER, auth, now), FixedKeys(issuer.keys()), cache)


def _make_key(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    # Written beside and linked into place: two servers that start at once end up with one and the same whole key.
    draft = path.with_name(f".{_KEY_FILE}.{os.getpid()}.{uuid4().hex}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(pem)
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
