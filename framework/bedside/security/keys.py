"""An issuer's JSON Web Key Set (RFC 7517): which of its keys may verify which signature."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from jose import jwk
from jose.backends.base import Key
from jose.exceptions import JOSEError

Algorithm = Literal["RS256", "ES256"]

LEAST_RSA_BITS = 2048  # RFC 7518 §3.3
MOST_RSA_BITS = 8192  # a verification with a larger one costs milliseconds: a denial of service by our own issuer
MOST_KEYS = 64

_BASE64URL = re.compile(r"[A-Za-z0-9_-]{1,2048}")


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """One public key, bound to the one algorithm that it may be used with (RFC 8725 §3.1).

    Attributes:
        kid: its id; None where the issuer gave none.
        algorithm: RS256 for RSA keys, ES256 for P-256 keys.
        public: its public members, by which keys are compared.
        key: the same, ready to verify.
    """

    kid: str | None
    algorithm: Algorithm
    public: tuple[str, ...]
    key: Key


class KeySet:
    """The usable keys of an issuer."""

    def __init__(self, keys: Sequence[VerificationKey] = ()) -> None:
        self._keys = tuple(keys)

    def __len__(self) -> int:
        """Return the number of usable keys."""
        return len(self._keys)

    def candidates(self, kid: str | None, algorithm: str) -> tuple[Key, ...]:
        """Return the keys that a token with this header may be verified with.

        A token without ``kid`` (optional, RFC 7515 §4.1.4) is only taken where there is no choice: a single key for
        its algorithm. Keys that share a ``kid`` (RFC 7517 §4.5 only says that they should not) are all tried.
        """
        fitting = [key for key in self._keys if key.algorithm == algorithm]
        if kid is None:
            return (fitting[0].key,) if len(fitting) == 1 else ()
        return tuple(key.key for key in fitting if key.kid == kid)

    def same_as(self, other: "KeySet") -> bool:
        """Tell whether both hold the same keys."""
        return self.identity == other.identity

    @property
    def identity(self) -> frozenset[tuple[str | None, ...]]:
        """Return what tells this set from another: ids, algorithms and public members."""
        return frozenset((key.kid, key.algorithm, *key.public) for key in self._keys)


def read_key_set(document: object, algorithms: Sequence[Algorithm]) -> KeySet:
    """Read a JWK Set, leaving out what cannot be used (RFC 7517 §5: unknown keys are ignored).

    Left out: other types, curves and purposes (``use``, ``key_ops``, ``alg``), RSA keys below 2048 bits, symmetric
    keys. Private members are never read. Keys without an allowed algorithm are left out.

    Raises:
        ValueError: it is not a JWK Set.
    """
    if not isinstance(document, Mapping) or not isinstance(document.get("keys"), list):
        raise ValueError("not a JWK Set")  # noqa: TRY004 - the document is wrong, not our code
    found = (_read_key(entry, algorithms) for entry in document["keys"][:MOST_KEYS] if isinstance(entry, Mapping))
    return KeySet([key for key in found if key is not None])


def _read_key(entry: Mapping[str, Any], algorithms: Sequence[Algorithm]) -> VerificationKey | None:
    algorithm, members = _binding(entry)
    if algorithm is None or algorithm not in algorithms or not _may_verify(entry, algorithm):
        return None
    kid = entry.get("kid")
    public = tuple(entry.get(member) for member in members)
    if not (kid is None or isinstance(kid, str)) or not all(map(_is_base64url, public)):
        return None
    try:
        # Only public members are handed on, and the algorithm is ours, not the document's.
        key = jwk.construct({"kty": entry["kty"], "crv": "P-256", **dict(zip(members, public, strict=True))}, algorithm)
        strong = _is_strong(key, algorithm)
    except (JOSEError, ValueError, TypeError, KeyError, OverflowError):
        return None
    return VerificationKey(kid, algorithm, tuple(map(str, public)), key) if strong else None


def _binding(entry: Mapping[str, Any]) -> tuple[Algorithm | None, tuple[str, ...]]:
    """Return the one algorithm for a key of this type, and its public members (RFC 7518 §6)."""
    if entry.get("kty") == "RSA":
        return "RS256", ("n", "e")
    if entry.get("kty") == "EC" and entry.get("crv") == "P-256":
        return "ES256", ("x", "y")
    return None, ()


def _may_verify(entry: Mapping[str, Any], algorithm: str | None) -> bool:
    operations = entry.get("key_ops")
    return (
        entry.get("use") in (None, "sig")
        and entry.get("alg") in (None, algorithm)
        and (operations is None or (isinstance(operations, list) and "verify" in operations))
    )


def _is_base64url(member: object) -> bool:
    return isinstance(member, str) and bool(_BASE64URL.fullmatch(member))


def _is_strong(key: Key, algorithm: Algorithm) -> bool:
    if algorithm == "ES256":
        return True  # the curve fixes the size, and cryptography refuses points that are not on it
    bits: int = key.prepared_key.key_size  # type: ignore[attr-defined]  # jose's stubs leave it out
    return LEAST_RSA_BITS <= bits <= MOST_RSA_BITS
