"""A token's signature and claims (RFC 7519), with the advice of RFC 8725 and the access-token profile of RFC 9068.

The only path from :class:`UnverifiedToken` to :class:`Principal`; every issuer takes it. Words in errors are ours:
neither the library's texts nor a value out of the token is repeated.
"""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jose import jws
from jose.backends.base import Key
from jose.exceptions import JOSEError

from bedside.errors import InvalidToken
from bedside.security.claims import Expectations, principal_of
from bedside.types import Principal, UnverifiedToken

_COMPACT_JWS = re.compile(r"([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+\.([A-Za-z0-9_-]+)")
_TYPES = frozenset({"jwt", "at+jwt"})
_HEADER_CHARACTERS = 2048
_KID_CHARACTERS = 256

_MALFORMED = (JOSEError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)
"""What python-jose raises on hostile tokens: its own errors (JWSError *and* JWKError) and, for members of unexpected
types or deeply nested JSON, what the interpreter raises."""


@dataclass(frozen=True, slots=True)
class TokenHeader:
    """What an unverified header may decide: which key is looked for. ``kid`` is None where there is none."""

    kid: str | None
    algorithm: str


class TokenVerifier:
    """Verifies tokens of one issuer.

    Args:
        expected: issuer, audience and clock difference.
        algorithms: signature algorithms accepted.
        token_bytes: longest token looked at, in bytes.
    """

    def __init__(self, expected: Expectations, *, algorithms: Sequence[str], token_bytes: int) -> None:
        self._expected = expected
        self._algorithms = tuple(algorithms)
        self._token_bytes = token_bytes

    def read_header(self, token: UnverifiedToken) -> TokenHeader:
        """Return what the header says, so that a key can be looked for.

        Raises:
            InvalidToken: too long, not a compact JWS, or a header that we refuse.
        """
        if len(token) > self._token_bytes:
            raise InvalidToken("the token is too long (BEDSIDE_AUTH__TOKEN_BYTES)")
        # Three parts in strict base64url: no JWE (five parts), no `none` (empty signature), no padding or blanks,
        # which the library's decoder would skip.
        match = _COMPACT_JWS.fullmatch(token)
        if match is None or not _is_canonical(match[2]):
            raise InvalidToken("the token is not a signed JWT")
        if len(match[1]) > _HEADER_CHARACTERS:
            raise InvalidToken("the token's header is too long")
        header = _decode_object(match[1], "header")
        if "crit" in header:
            raise InvalidToken("the token's header has critical extensions; none is understood")  # RFC 7515 §4.1.11
        algorithm, kid = header.get("alg"), header.get("kid")
        if not isinstance(algorithm, str) or algorithm not in self._algorithms:
            raise InvalidToken(f"the token's algorithm is not one of {', '.join(self._algorithms)}")
        if not _is_access_token_type(header.get("typ")):
            raise InvalidToken("the token's type is neither JWT nor at+jwt")
        if kid is not None and not (isinstance(kid, str) and 0 < len(kid) <= _KID_CHARACTERS):
            raise InvalidToken("the token's key id is malformed")
        return TokenHeader(kid, algorithm)

    def verify(self, token: UnverifiedToken, header: TokenHeader, keys: Sequence[Key]) -> Principal:
        """Verify signature and claims with the keys found for ``header``.

        Raises:
            InvalidToken: signature or claims are wrong, or there is no key.
            ExpiredToken: outside its ``exp`` or ``nbf``.
        """
        if not keys:
            raise InvalidToken("the token's key is not one of the issuer's")
        return principal_of(_claims(token, header, keys), self._expected)


def _claims(token: UnverifiedToken, header: TokenHeader, keys: Sequence[Key]) -> Mapping[str, Any]:
    usable: Any = tuple(keys)  # jose takes any iterable of keys; its stubs say strings
    try:
        # The signature alone is the library's: `jose.jwt` would check the claims too, but skips those that are missing,
        # lets the last of two equal names win, and has one error for a wrong audience and a token that is too early.
        # The keys were chosen for this algorithm by their type, and jose compares it with the header again.
        jws.verify(token, usable, algorithms=(header.algorithm,))
    except _MALFORMED:
        raise InvalidToken("the token's signature is not one of the issuer's") from None
    return _decode_object(token.split(".")[1], "payload")


def _is_canonical(segment: str) -> bool:
    # The last character has bits that decoders ignore: one signature could be written in several ways, and each would
    # take a place in the cache. Header and payload need no such check: the signature is over their characters.
    try:
        decoded = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    except ValueError:
        return False
    return base64.urlsafe_b64encode(decoded).rstrip(b"=") == segment.encode()


def _decode_object(segment: str, part: str) -> Mapping[str, Any]:
    """Return a header or payload: one JSON object in UTF-8, names distinct at every level, numbers finite."""
    try:
        text = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)).decode()
        value = json.loads(text, object_pairs_hook=_distinct, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise InvalidToken(f"the token's {part} is malformed") from None
    if not isinstance(value, dict):
        raise InvalidToken(f"the token's {part} is no JSON object")
    return value


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # RFC 7515 §4, RFC 7519 §4: parsers that differ in which of two equal names wins have been used to smuggle values.
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("duplicate names")
    return members


def _refuse_constant(name: str) -> None:
    raise ValueError(name)  # NaN and Infinity are Python's, not JSON's


def _is_access_token_type(typ: object) -> bool:
    # RFC 8725 §3.11: a JWT made for something else (logout token, DPoP proof) must not pass as an access token.
    # Left out is tolerated, as RFC 7519 §5.1 makes it optional and many issuers do so.
    if typ is None:
        return True
    return isinstance(typ, str) and typ.lower().removeprefix("application/") in _TYPES
