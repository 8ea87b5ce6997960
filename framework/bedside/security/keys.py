"""The issuer's public keys (RFC 7517), reduced to those that may verify a token here."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jose import jwk
from jose.exceptions import JOSEError

MIN_RSA_BYTES = 256  # 2048 bits, the least of RFC 7518 §3.3
_ALGORITHM_OF = {"RSA": "RS256", "EC": "ES256"}


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """One public key, bound to the one algorithm that its type allows (RFC 8725 §3.1)."""

    key_id: str | None
    algorithm: str
    public_key: Any


class KeySet:
    """The usable keys of one JWKS document; the others are left out, not an error."""

    def __init__(self, keys: Sequence[VerificationKey]) -> None:
        self._keys = tuple(keys)

    @classmethod
    def from_jwks(cls, document: Any, algorithms: Sequence[str]) -> "KeySet":
        """Read a JWKS document (RFC 7517 §5), keeping signature keys of the accepted algorithms.

        Raises:
            ValueError: it is not a JWKS document.
        """
        keys = document.get("keys") if isinstance(document, Mapping) else None
        if not isinstance(keys, list):
            raise ValueError("not a JWKS document")  # noqa: TRY004 - a document of the wrong form
        return cls([key for raw in keys for key in _usable(raw, algorithms)])

    def candidates(self, key_id: str | None, algorithm: str) -> list[VerificationKey]:
        """Return the keys that may verify a token with this header.

        Without a ``kid`` the header names no key; then a key is used only where there is exactly one.
        """
        fitting = [key for key in self._keys if key.algorithm == algorithm]
        if key_id is None:
            return fitting if len(fitting) == 1 else []
        return [key for key in fitting if key.key_id == key_id]

    def __eq__(self, other: object) -> bool:
        """Tell whether both hold the same keys."""
        return isinstance(other, KeySet) and self._fingerprint() == other._fingerprint()

    def __hash__(self) -> int:
        """Hash as ``__eq__`` compares."""
        return hash(self._fingerprint())

    def __len__(self) -> int:
        """Return the number of usable keys."""
        return len(self._keys)

    def _fingerprint(self) -> frozenset[tuple[str | None, str, bytes]]:
        return frozenset((key.key_id, key.algorithm, key.public_key.to_pem()) for key in self._keys)


def _usable(raw: Any, algorithms: Sequence[str]) -> Iterator[VerificationKey]:
    if not isinstance(raw, Mapping):
        return
    algorithm = _ALGORITHM_OF.get(str(raw.get("kty")), "")
    intended = raw.get("alg", algorithm) == algorithm and raw.get("use", "sig") == "sig"
    operations = raw.get("key_ops")
    may_verify = operations is None or (isinstance(operations, list) and "verify" in operations)
    if algorithm not in algorithms or not intended or not may_verify:
        return
    if algorithm == "ES256" and raw.get("crv") != "P-256":
        return
    try:
        public_key = jwk.construct(dict(raw), algorithm=algorithm).public_key()
        strong = algorithm != "RS256" or _rsa_bytes(public_key) >= MIN_RSA_BYTES
    except (JOSEError, ValueError, TypeError, KeyError, AttributeError):
        return  # a key that cannot be read verifies nothing
    if strong:
        key_id = raw.get("kid")
        yield VerificationKey(key_id if isinstance(key_id, str) else None, algorithm, public_key)


def _rsa_bytes(public_key: Any) -> int:
    return (int(public_key.prepared_key.key_size) + 7) // 8
