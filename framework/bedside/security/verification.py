"""Verifies one token. The numbered procedure is that of RFC 7519 §7.2, narrowed by RFC 8725 and RFC 9068.

1 not longer than ``token_bytes``, three parts            (anything else is not a signed JWT; JWE has five)
2 header: ``alg`` pinned, no ``crit``, ``typ`` JWT or at+jwt, no key or key address of its own
3 key: by ``kid`` and algorithm from the issuer's set      (the caller fetches the set again where there is none)
4 signature
5 ``iss`` and ``aud`` are ours
6 ``exp`` (required) and ``nbf`` against our clock, with leeway
7 ``sub`` (required) and the scopes
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from jose import jws
from jose.exceptions import JOSEError

from bedside.errors import ExpiredToken, InvalidToken
from bedside.security.keys import KeySet, VerificationKey
from bedside.settings import AuthSettings
from bedside.types import Principal, UnverifiedToken

_TYPES = {"jwt", "at+jwt", "application/at+jwt"}  # RFC 9068 §4; plain JWT because most issuers still send it
# Headers by which a token would bring its own key (RFC 8725 §3.10).
_FOREIGN_KEYS = ("jku", "jwk", "x5u", "x5c")


@dataclass(frozen=True, slots=True)
class Header:
    """The parts of a JOSE header that choose the key, after step 2."""

    algorithm: str
    key_id: str | None


class KeyNotFound(Exception):
    """No key of the set fits the header: the issuer may have rotated its keys."""


class Verifier:
    """Checks tokens against one issuer and audience.

    Args:
        issuer: what ``iss`` must be, to the letter.
        settings: audience, algorithms, leeway, longest token.
        now: seconds since the epoch.
    """

    def __init__(self, issuer: str, settings: AuthSettings, now: Callable[[], float] = time.time) -> None:
        self._issuer = issuer
        self._settings = settings
        self._now = now

    def verify(self, unverified_token: UnverifiedToken, keys: KeySet) -> Principal:
        """Return the principal of a good token.

        Raises:
            InvalidToken, ExpiredToken: it is not; the detail names the step, never the token's content.
            KeyNotFound: no known key fits; fetch the keys again and retry.
        """
        header = self._header(unverified_token)  # (1) (2)
        candidates = keys.candidates(header.key_id, header.algorithm)  # (3)
        if not candidates:
            raise KeyNotFound
        claims = _claims(unverified_token, candidates)  # (4)
        self._check_addressees(claims)  # (5)
        expires_at = self._check_times(claims)  # (6)
        return self._principal(claims, expires_at)  # (7)

    def _header(self, unverified_token: UnverifiedToken) -> Header:
        if len(unverified_token) > self._settings.token_bytes:
            raise InvalidToken("the token is too long")
        if unverified_token.count(".") != 2 or not unverified_token.isascii():
            raise InvalidToken("the token is not a signed JWT")
        try:
            # NOTE: nothing in this header is trusted; it only chooses among keys that we already have.
            header = jws.get_unverified_header(unverified_token)
        except (JOSEError, ValueError, TypeError, RecursionError):
            raise InvalidToken("the token's header cannot be read") from None
        return self._checked(header)

    def _checked(self, header: Mapping[str, Any]) -> Header:
        algorithm = header.get("alg")
        if algorithm not in self._settings.algorithms:
            raise InvalidToken(f"the token's algorithm is not one of {', '.join(self._settings.algorithms)}")
        if "crit" in header:
            raise InvalidToken("the token has critical headers, and none are understood")  # RFC 7515 §4.1.11
        if any(name in header for name in _FOREIGN_KEYS):
            raise InvalidToken("the token brings a key of its own")
        if str(header.get("typ", "JWT")).lower() not in _TYPES:
            raise InvalidToken("the token is not an access token (typ)")
        key_id = header.get("kid")
        if key_id is not None and not isinstance(key_id, str):
            raise InvalidToken("the token's key id is not a string")
        return Header(str(algorithm), key_id)

    def _check_addressees(self, claims: Mapping[str, Any]) -> None:
        if claims.get("iss") != self._issuer:
            raise InvalidToken("the token is of another issuer (iss)")
        audience = claims.get("aud")
        if self._settings.audience not in (audience if isinstance(audience, list) else [audience]):
            raise InvalidToken("the token is for somebody else (aud)")

    def _check_times(self, claims: Mapping[str, Any]) -> float:
        now, leeway = self._now(), self._settings.leeway_seconds
        expires_at = _number(claims, "exp")
        if expires_at is None:
            raise InvalidToken("the token does not say when it expires (exp)")
        if now >= expires_at + leeway:
            raise ExpiredToken("the token has expired (exp)")
        not_before = _number(claims, "nbf")
        if not_before is not None and now < not_before - leeway:
            raise ExpiredToken("the token is not valid yet (nbf)")
        return expires_at

    def _principal(self, claims: Mapping[str, Any], expires_at: float) -> Principal:
        subject = claims.get("sub")
        if not isinstance(subject, str) or not subject:
            raise InvalidToken("the token does not say who it is for (sub)")
        return Principal(subject, self._issuer, _scopes(claims), expires_at)


def _claims(unverified_token: UnverifiedToken, candidates: list[VerificationKey]) -> Mapping[str, Any]:
    for key in candidates:
        try:
            # Exactly one algorithm, the key's own: never the one that the token asks for.
            payload = jws.verify(unverified_token, key.public_key, algorithms=[key.algorithm], verify=True)
        except (JOSEError, ValueError, TypeError):
            continue
        try:
            claims = orjson.loads(payload)
        except ValueError:
            break
        if isinstance(claims, dict):
            return claims
        break
    raise InvalidToken("the token's signature does not verify")


def _number(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidToken(f"the token's {name} is not a number")
    return float(value)


def _scopes(claims: Mapping[str, Any]) -> frozenset[str]:
    # ``scope`` is RFC 8693 §4.2 and RFC 9068 §2.2.3; ``scp`` is what some issuers send instead, as text or list.
    value = claims.get("scope", claims.get("scp", ""))
    if isinstance(value, str):
        return frozenset(value.split())
    return frozenset(item for item in value if isinstance(item, str)) if isinstance(value, list) else frozenset()
