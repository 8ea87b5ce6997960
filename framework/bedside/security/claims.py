"""What a token's claims must say, once its signature has been verified (RFC 7519 §4.1, RFC 9068 §4)."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bedside.errors import ExpiredToken, InvalidToken
from bedside.types import Principal

Clock = Callable[[], float]

_SUBJECT_CHARACTERS = 1024
_LATEST = 253402300799  # 9999-12-31T23:59:59Z


@dataclass(frozen=True, slots=True)
class Expectations:
    """What tokens are compared with.

    Attributes:
        issuer: exact value of ``iss``.
        audience: value that ``aud`` must hold.
        leeway_seconds: clock difference tolerated for ``exp`` and ``nbf``.
        clock: seconds since the epoch.
    """

    issuer: str
    audience: str
    leeway_seconds: int
    clock: Clock = time.time


def principal_of(claims: Mapping[str, Any], expected: Expectations) -> Principal:
    """Return who calls.

    A claim that is missing fails its check; ``nbf`` alone may be left out (RFC 9068 §2.2).

    Raises:
        InvalidToken: a claim is missing, malformed or another's.
        ExpiredToken: outside its ``exp`` or ``nbf``.
    """
    if claims.get("iss") != expected.issuer:
        raise InvalidToken("the token is of another issuer")
    if not _holds(claims.get("aud"), expected.audience):
        raise InvalidToken("the token is for another audience")
    if "at_hash" in claims:
        raise InvalidToken("the token is an ID token, not an access token")  # OIDC Core §3.1.3.6
    subject = claims.get("sub")
    if not (isinstance(subject, str) and 0 < len(subject) <= _SUBJECT_CHARACTERS):
        raise InvalidToken("the token names no subject")
    expires_at = _numeric_date(claims.get("exp"), "exp")
    _check_time(expires_at, claims, expected)
    return Principal(subject, expected.issuer, _scopes(claims), expires_at)


def _check_time(expires_at: float, claims: Mapping[str, Any], expected: Expectations) -> None:
    now = expected.clock()
    if now >= expires_at + expected.leeway_seconds:
        raise ExpiredToken("the token has expired")
    if "nbf" in claims and _numeric_date(claims["nbf"], "nbf") > now + expected.leeway_seconds:
        raise ExpiredToken("the token is not yet valid")


def _holds(audience: object, wanted: str) -> bool:
    values = [audience] if isinstance(audience, str) else audience  # RFC 7519 §4.1.3
    return isinstance(values, list) and all(isinstance(value, str) for value in values) and wanted in values


def _numeric_date(value: object, claim: str) -> float:
    # RFC 7519 §2: a JSON number of seconds; fractions are allowed. Compared as it is: an integer of 400 digits has no
    # float. The bound also stops issuers that count milliseconds, whose tokens would live for millennia.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LATEST:
        raise InvalidToken(f"the token's {claim} is not a time")
    return float(value)


def _scopes(claims: Mapping[str, Any]) -> frozenset[str]:
    """Return ``scope`` (RFC 9068 §2.2.3, a string) and ``scp`` (a list at Okta, a string at Entra ID) together."""
    scopes: set[str] = set()
    for name in ("scope", "scp"):
        value = claims.get(name)
        words = value.split(" ") if isinstance(value, str) else value
        if words is None:
            continue
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise InvalidToken("the token's scopes are malformed")
        scopes.update(word for word in words if word)
    return frozenset(scopes)
