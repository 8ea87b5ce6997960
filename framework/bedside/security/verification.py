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

from jose import jwt
from jose.backends.base import Key
from jose.exceptions import ExpiredSignatureError, JOSEError

from bedside.errors import ExpiredToken, InvalidToken
from bedside.security.claims import Expectations, principal_of
from bedside.types import Principal, UnverifiedToken

_COMPACT_JWS = re.compile(r"([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_TYPES = frozenset({"jwt", "at+jwt"})
_HEADER_CHARACTERS = 2048
_KID_CHARACTERS = 256

_MALFORMED = (JOSEError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)
"""What python-jose raises on hostile tokens: its own errors (JWTError *and* JWKError) and, for claims of unexpected
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
        # Each option is spelled out, also where it is python-jose's default: defaults change, and its checks apply
        # only to claims that are there.
        self._options = {
            "verify_signature": True,
            "verify_iss": True,
            "verify_aud": True,
            "verify_sub": True,
            "verify_exp": True,
            "verify_nbf": False,  # ours (claims.py): jose has one error for a token that is not yet valid and for a
            # wrong audience; the first is ExpiredToken (ask again), the second is not
            "verify_iat": True,
            "verify_jti": True,
            "verify_at_hash": True,  # an ID token (OIDC Core §3.1.3.6) is no access token: it fails here
            "require_iss": True,  # without these, a token that leaves the claim out passes the check of it
            "require_aud": True,
            "require_sub": True,
            "require_exp": True,  # a token for ever cannot be taken back
            "require_nbf": False,  # optional in RFC 9068 §2.2
            "require_iat": False,  # required there, but Keycloak-like issuers are older than it; nothing hangs on it
            "require_jti": False,
            "require_at_hash": False,
            "leeway": expected.leeway_seconds,
        }

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
        if match is None:
            raise InvalidToken("the token is not a signed JWT")
        header = _decode_header(match[1])
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
        return principal_of(self._claims(token, header, keys), self._expected)

    def _claims(self, token: UnverifiedToken, header: TokenHeader, keys: Sequence[Key]) -> Mapping[str, Any]:
        expected = self._expected
        usable: Any = tuple(keys)  # jose takes any iterable of keys; its stubs say strings
        try:
            return jwt.decode(
                token,
                usable,
                # The keys were chosen for this algorithm by their type, and jose compares it with the header again.
                algorithms=(header.algorithm,),
                options=self._options,
                audience=expected.audience,
                issuer=expected.issuer,
            )
        except ExpiredSignatureError:
            raise ExpiredToken("the token has expired") from None
        except _MALFORMED:
            raise InvalidToken("the token's signature or claims are not those expected") from None


def _decode_header(segment: str) -> Mapping[str, Any]:
    if len(segment) > _HEADER_CHARACTERS:
        raise InvalidToken("the token's header is too long")
    try:
        data = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
        return _object(json.loads(data, object_pairs_hook=_distinct))
    except (ValueError, RecursionError):
        raise InvalidToken("the token's header is malformed") from None


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # RFC 7515 §4: names must be distinct; parsers that differ in which one wins have been used to smuggle keys.
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("duplicate names")
    return members


def _object(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError("not an object")  # noqa: TRY004 - caught above with all else that is malformed
    return value


def _is_access_token_type(typ: object) -> bool:
    # RFC 8725 §3.11: a JWT made for something else (logout token, DPoP proof) must not pass as an access token.
    # Left out is tolerated, as RFC 7519 §5.1 makes it optional and many issuers do so.
    if typ is None:
        return True
    return isinstance(typ, str) and typ.lower().removeprefix("application/") in _TYPES
