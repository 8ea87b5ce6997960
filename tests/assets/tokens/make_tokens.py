"""Makes tokens, good ones and hostile ones, each named after its defect: ``python make_tokens.py FOLDER``.

Keys are new at each run and private keys are never written. Tokens are put together by hand: no library would make
most of them.
"""

import base64
import hashlib
import hmac
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

HOUR = 3600


def encode(data: bytes) -> str:
    """Return base64url without padding (RFC 7515 §2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def encode_json(value: object) -> str:
    """Return a JSON segment."""
    return encode(json.dumps(value, separators=(",", ":")).encode())


def _encode_number(number: int, size: int) -> str:
    return encode(number.to_bytes(size, "big"))


@dataclass(frozen=True)
class SigningKey:
    """A key pair with the members that its JWK has beside the key itself."""

    kid: str
    private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    members: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def rsa(cls, kid: str, bits: int = 2048, **members: Any) -> "SigningKey":
        """Return a new RSA key."""
        return cls(kid, rsa.generate_private_key(65537, bits), members)

    @classmethod
    def ec(cls, kid: str, curve: ec.EllipticCurve | None = None, **members: Any) -> "SigningKey":
        """Return a new elliptic-curve key, on P-256 by default."""
        return cls(kid, ec.generate_private_key(curve or ec.SECP256R1()), members)

    @property
    def algorithm(self) -> str:
        """Return the algorithm that fits the key."""
        return "RS256" if isinstance(self.private, rsa.RSAPrivateKey) else "ES256"

    def jwk(self) -> dict[str, Any]:
        """Return the public key as a JWK."""
        public = self.private.public_key()
        if isinstance(public, rsa.RSAPublicKey):
            numbers = public.public_numbers()
            key = {"kty": "RSA", "n": _encode_number(numbers.n, public.key_size // 8), "e": "AQAB"}
        else:
            point, size = public.public_numbers(), (public.key_size + 7) // 8
            curve = {256: "P-256", 384: "P-384"}[public.key_size]
            key = {"kty": "EC", "crv": curve, "x": _encode_number(point.x, size), "y": _encode_number(point.y, size)}
        return {"kid": self.kid, "use": "sig", **key, **self.members}

    def public_bytes(self, encoding: serialization.Encoding) -> bytes:
        """Return the public key as PEM or DER."""
        return self.private.public_key().public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)

    def sign(self, data: bytes) -> bytes:
        """Return a signature over ``data`` in the format of JWS (RFC 7518 §3.3, §3.4)."""
        if isinstance(self.private, rsa.RSAPrivateKey):
            return self.private.sign(data, padding.PKCS1v15(), hashes.SHA256())
        size = (self.private.key_size + 7) // 8
        r, s = decode_dss_signature(self.private.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def compact(header: object, claims: object, sign: Callable[[bytes], bytes]) -> str:
    """Return a compact JWS; strings are taken as segments that are encoded already."""
    parts = [part if isinstance(part, str) else encode_json(part) for part in (header, claims)]
    signed = ".".join(parts)
    return f"{signed}.{encode(sign(signed.encode()))}"


class Forge:
    """An issuer with several keys, and whoever wants to be it.

    Attributes:
        rsa, ec: the issuer's good keys.
        stranger_rsa, stranger_ec: an attacker's keys, under the same ids.
        weak, encryption, wide, other_algorithm: keys that the issuer publishes and that must not verify anything.
    """

    def __init__(self, issuer: str, audience: str, now: float | None = None) -> None:
        self.issuer = issuer
        self.audience = audience
        self.now = int(time.time() if now is None else now)
        self.rsa = SigningKey.rsa("rsa-1")
        self.rsa_next = SigningKey.rsa("rsa-2")
        self.ec = SigningKey.ec("ec-1")
        self.stranger_rsa = SigningKey.rsa("rsa-1")
        self.stranger_ec = SigningKey.ec("ec-1")
        self.weak = SigningKey.rsa("weak", bits=1024)
        self.encryption = SigningKey.rsa("encryption", use="enc")
        self.signs_only = SigningKey.rsa("signs-only", key_ops=["sign"])
        self.wide = SigningKey.ec("wide", ec.SECP384R1())
        self.other_algorithm = SigningKey.rsa("other-algorithm", alg="PS256")

    def key_set(self) -> dict[str, Any]:
        """Return the issuer's JWK Set, with a symmetric key and nonsense in it."""
        keys = (self.rsa, self.rsa_next, self.ec, self.weak, self.encryption, self.signs_only, self.wide)
        symmetric = {"kty": "oct", "kid": "symmetric", "k": encode(b"secret")}
        nonsense: list[Any] = [{"kty": "RSA", "kid": "half"}, {}, "key", {"kty": "OKP", "crv": "Ed25519", "x": "AA"}]
        return {"keys": [*(key.jwk() for key in (*keys, self.other_algorithm)), symmetric, *nonsense]}

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Return good claims with changes; None removes a claim."""
        claims = {
            "iss": self.issuer,
            "aud": self.audience,
            "sub": "radiology-viewer",
            "iat": self.now,
            "nbf": self.now,
            "exp": self.now + HOUR,
            "jti": "b1",
            "scope": "bedside.infer",
        }
        return {name: value for name, value in (claims | changes).items() if value is not None}

    def token(self, key: SigningKey | None = None, header: dict[str, Any] | None = None, **changes: Any) -> str:
        """Return a token signed with ``key``; header members and claims may be changed, None removes one."""
        key = key or self.rsa
        members = {"alg": key.algorithm, "typ": "at+jwt", "kid": key.kid} | (header or {})
        kept = {name: value for name, value in members.items() if value is not None}
        return compact(kept, self.claims(**changes), key.sign)

    def with_hmac(self, secret: bytes, algorithm: str = "HS256") -> str:
        """Return a token whose 'signature' is an HMAC keyed with something public."""
        header = {"alg": algorithm, "typ": "JWT", "kid": self.rsa.kid}
        return compact(header, self.claims(), lambda data: hmac.new(secret, data, hashlib.sha256).digest())

    def hostile(self) -> dict[str, str]:
        """Return every hostile token by the name of its defect."""
        return {
            **self._algorithms(),
            **self._keys(),
            **self._headers(),
            **self._claims(),
            **self._shapes(),
            **self._signatures(),
        }

    def out_of_time(self) -> dict[str, str]:
        """Return tokens that are good but for the time."""
        return {
            "expired": self.token(exp=self.now - HOUR),
            "expired_a_moment_beyond_the_leeway": self.token(exp=self.now - 31),
            "not_yet_valid": self.token(nbf=self.now + HOUR),
        }

    def _algorithms(self) -> dict[str, str]:
        der, pem = serialization.Encoding.DER, serialization.Encoding.PEM
        return {
            "none_without_signature": f"{encode_json({'alg': 'none'})}.{encode_json(self.claims())}.",
            "none_with_signature": self.token(header={"alg": "none"}),
            "none_in_capitals": self.token(header={"alg": "NONE"}),
            "hs256_signed_with_public_key_pem": self.with_hmac(self.rsa.public_bytes(pem)),
            "hs256_signed_with_public_key_der": self.with_hmac(self.rsa.public_bytes(der)),
            "hs256_signed_with_public_key_jwk": self.with_hmac(json.dumps(self.rsa.jwk()).encode()),
            "hs256_signed_with_modulus": self.with_hmac(self.rsa.jwk()["n"].encode()),
            "hs256_signed_with_published_secret": compact(
                {"alg": "HS256", "kid": "symmetric"},
                self.claims(),
                lambda data: hmac.new(b"secret", data, hashlib.sha256).digest(),
            ),
            "rs256_claimed_for_hmac": self.with_hmac(self.rsa.public_bytes(pem), "RS256"),
            "rs512": self.token(header={"alg": "RS512"}),
            "ps256": self.token(self.other_algorithm, header={"alg": "PS256"}),
            "algorithm_missing": self.token(header={"alg": None}),
            "algorithm_is_list": self.token(header={"alg": ["RS256"]}),
            "rs256_with_id_of_ec_key": self.token(self.stranger_rsa, header={"kid": "ec-1"}),
            "es256_with_id_of_rsa_key": self.token(self.stranger_ec, header={"kid": "rsa-1"}),
            "rs256_claimed_for_ec_signature": self.token(self.ec, header={"alg": "RS256"}),
        }

    def _keys(self) -> dict[str, str]:
        return {
            "unknown_key_id": self.token(header={"kid": "made-up"}),
            "key_id_of_another_key": self.token(self.rsa, header={"kid": "rsa-2"}),
            "strangers_key_under_our_id": self.token(self.stranger_rsa),
            "strangers_ec_key_under_our_id": self.token(self.stranger_ec),
            "key_id_missing_with_two_keys": self.token(header={"kid": None}),
            "key_id_is_number": self.token(header={"kid": 1}),
            "key_id_is_empty": self.token(header={"kid": ""}),
            "key_id_is_path": self.token(self.stranger_rsa, header={"kid": "../../../../dev/null"}),
            "key_id_huge": self.token(header={"kid": "k" * 300}),
            "weak_rsa_key": self.token(self.weak),
            "encryption_key": self.token(self.encryption),
            "key_that_only_signs": self.token(self.signs_only),
            "p384_key": self.token(self.wide),
            "key_of_another_algorithm": self.token(self.other_algorithm),
            "key_in_the_header": self.token(self.stranger_rsa, header={"jwk": self.stranger_rsa.jwk(), "kid": "x"}),
            "certificate_in_the_header": self.token(self.stranger_rsa, header={"x5c": ["MIIB"], "kid": "x"}),
            "certificate_behind_an_address": self.token(self.stranger_rsa, header={"x5u": "http://127.0.0.1/c"}),
            "key_behind_an_address": self.token(header={"jku": "http://127.0.0.1/keys", "kid": "x"}),
        }

    def _headers(self) -> dict[str, str]:
        twice = encode(b'{"alg":"RS256","kid":"made-up","kid":"rsa-1","typ":"JWT"}')
        nested = encode(b"[" * 1500)
        return {
            "critical_extension": self.token(header={"crit": ["exp"]}),
            "critical_extension_empty": self.token(header={"crit": []}),
            "unencoded_payload": self.token(header={"crit": ["b64"], "b64": False}),
            "type_logout_token": self.token(header={"typ": "logout+jwt"}),
            "type_dpop_proof": self.token(header={"typ": "dpop+jwt"}),
            "type_is_number": self.token(header={"typ": 7}),
            "key_id_twice": compact(twice, self.claims(), self.rsa.sign),
            "header_deeply_nested": compact(nested, self.claims(), self.rsa.sign),
            "header_huge": self.token(header={"x": "h" * 3000}),
            "header_is_list": compact(["RS256"], self.claims(), self.rsa.sign),
            "header_is_no_json": compact(encode(b"{alg"), self.claims(), self.rsa.sign),
            "header_is_no_utf8": compact(encode(b"\xff\xfe"), self.claims(), self.rsa.sign),
        }

    def _claims(self) -> dict[str, str]:
        return {
            "audience_of_another": self.token(aud="another-service"),
            "audience_list_without_us": self.token(aud=["a", "b"]),
            "audience_missing": self.token(aud=None),
            "audience_is_number": self.token(aud=1),
            "audience_list_of_numbers": self.token(aud=[1, self.audience]),
            "issuer_of_another": self.token(iss="https://issuer.example/"),
            "issuer_with_a_slash_more": self.token(iss=self.issuer + "/"),
            "issuer_missing": self.token(iss=None),
            "issuer_is_list": self.token(iss=[self.issuer]),
            "expiry_missing": self.token(exp=None),
            "expiry_is_text": self.token(exp="tomorrow"),
            "expiry_is_numeric_text": self.token(exp=str(self.now + HOUR)),
            "expiry_is_list": self.token(exp=[self.now + HOUR]),
            "expiry_is_infinite": self.token(exp=float("inf")),
            "expiry_is_not_a_number": self.token(exp=float("nan")),
            "not_before_is_text": self.token(nbf="now"),
            "not_before_is_true": self.token(nbf=True),
            "expiry_is_true": self.token(exp=True),
            "expiry_in_milliseconds": self.token(exp=(self.now + HOUR) * 1000),
            "expiry_of_400_digits": self.token(exp=10**400),
            "expiry_negative": self.token(exp=-1),
            "subject_missing": self.token(sub=None),
            "subject_is_empty": self.token(sub=""),
            "subject_is_number": self.token(sub=7),
            "subject_huge": self.token(sub="s" * 2000),
            "scope_is_number": self.token(scope=7),
            "scopes_are_mixed": self.token(scp=["bedside.infer", 7]),
            "id_token": self.token(at_hash="LDktKdoQak3Pk0cnXxCltA"),
        }

    def _shapes(self) -> dict[str, str]:
        good = self.token()
        header, payload, signature = good.split(".")
        key = self.rsa
        return {
            "encrypted_five_parts": f"{encode_json({'alg': 'RSA-OAEP', 'enc': 'A256GCM'})}.AA.AA.AA.AA",
            "two_parts": f"{header}.{payload}",
            "four_parts": f"{good}.AA",
            "empty_parts": "..",
            "one_word": "bearer",
            "garbage": "\x00\x01{}[]",
            "not_latin": "ключ.ключ.ключ",
            "surrogate": "\ud800.\ud800.\ud800",
            "blank_at_the_end": good + " ",
            "line_break_at_the_end": good + "\n",
            "line_break_inside": good[:40] + "\n" + good[40:],
            "padded": good + "==",
            "standard_base64": f"{header}.{payload}.{signature[:-2]}+/",
            "impossible_length": f"{header}.{payload}.{signature[:-1]}",
            "signature_written_differently": f"{header}.{payload}.{_ignored_bits(signature)}",
            "huge": self.token(filler="f" * 20000),
            "payload_is_list": compact({"alg": "RS256", "kid": key.kid}, ["sub"], key.sign),
            "payload_is_no_json": compact({"alg": "RS256", "kid": key.kid}, encode(b"sub"), key.sign),
            "payload_with_claim_twice": compact(
                {"alg": "RS256", "kid": key.kid},
                encode(json.dumps(self.claims()).encode()[:-1] + b',"scope":"bedside.admin"}'),
                key.sign,
            ),
            "payload_in_utf16": compact(
                {"alg": "RS256", "kid": key.kid}, encode(json.dumps(self.claims()).encode("utf-16")), key.sign
            ),
            "payload_deeply_nested": compact(
                {"alg": "RS256", "kid": key.kid}, encode(b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}"), key.sign
            ),
        }

    def _signatures(self) -> dict[str, str]:
        header, payload, signature = self.token().split(".")
        other = self.token(sub="somebody-else").split(".")
        header_ec, payload_ec, _ = self.token(self.ec).split(".")
        return {
            "signature_changed": f"{header}.{payload}.{('B' if signature[0] == 'A' else 'A') + signature[1:]}",
            "signature_bit_flipped": f"{header}.{payload}.{_flipped(signature)}",
            "signature_short": f"{header}.{payload}.AAAA",
            "signature_of_another_token": f"{header}.{payload}.{other[2]}",
            "payload_of_another_token": f"{header}.{other[1]}.{signature}",
            "ec_signature_of_zeros": f"{header_ec}.{payload_ec}.{encode(bytes(64))}",  # CVE-2022-21449
        }


def _flipped(segment: str) -> str:
    """Return a signature with one bit of its last byte changed."""
    data = bytearray(base64.urlsafe_b64decode(segment + "=="))
    data[-1] ^= 1
    return encode(bytes(data))


def _ignored_bits(segment: str) -> str:
    """Return a signature of 256 bytes in other characters: the last one's low four bits are ignored."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return segment[:-1] + alphabet[alphabet.index(segment[-1]) ^ 1]


HOSTILE = tuple(Forge("https://issuer.invalid", "bedside").hostile())
"""Names of the hostile tokens, for parametrisation."""


def main(folder: Path) -> None:
    """Write all tokens and the JWK Set."""
    forge = Forge("https://issuer.invalid", "bedside")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "jwks.json").write_text(json.dumps(forge.key_set(), indent=1))
    for name, token in {"good": forge.token(), **forge.out_of_time(), **forge.hostile()}.items():
        (folder / f"token_{name}.jwt").write_bytes(token.encode(errors="replace"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
