"""Which keys of a JWK Set may verify what."""

from typing import Any

import pytest
from tests.assets.tokens.make_tokens import Forge, SigningKey

from bedside.security.keys import MOST_KEYS, Algorithm, read_key_set

BOTH: tuple[Algorithm, ...] = ("RS256", "ES256")


def test_only_fitting_keys_are_kept(forge: Forge) -> None:
    """Of eight good-looking keys, three are signature keys of an allowed algorithm and size."""
    keys = read_key_set(forge.key_set(), BOTH)
    assert len(keys) == 3
    assert {entry[:2] for entry in keys.identity} == {("rsa-1", "RS256"), ("rsa-2", "RS256"), ("ec-1", "ES256")}


def test_algorithms_that_the_site_excludes_leave_their_keys_out(forge: Forge) -> None:
    """With RS256 alone there are no EC keys."""
    assert len(read_key_set(forge.key_set(), ("RS256",))) == 2


def test_private_members_are_not_kept(forge: Forge) -> None:
    """An issuer that publishes its private key by mistake does not make us hold it."""
    entry = forge.rsa.jwk() | {"d": "AQAB", "p": "AQAB"}
    (key,) = read_key_set({"keys": [entry]}, BOTH).candidates("rsa-1", "RS256")
    assert "d" not in key.to_dict()


@pytest.mark.parametrize(
    "change",
    [
        {"kty": "oct"},
        {"kty": None},
        {"use": "enc"},
        {"use": 7},
        {"alg": "RS512"},
        {"alg": "HS256"},
        {"key_ops": ["encrypt"]},
        {"key_ops": "verify"},
        {"kid": 7},
        {"n": None},
        {"n": ""},
        {"n": "A+/="},
        {"n": "A" * 3000},
        {"e": "AA"},
        {"e": ["AQAB"]},
    ],
)
def test_rsa_key_with_a_defect_is_left_out(forge: Forge, change: dict[str, Any]) -> None:
    """Wrong type, purpose, algorithm or members."""
    assert len(read_key_set({"keys": [forge.rsa.jwk() | change]}, BOTH)) == 0


@pytest.mark.parametrize(
    "change", [{"crv": "P-384"}, {"crv": "secp256k1"}, {"x": "AQAB"}, {"y": None}, {"alg": "RS256"}]
)
def test_ec_key_with_a_defect_is_left_out(forge: Forge, change: dict[str, Any]) -> None:
    """Another curve, a point that is not on it, another algorithm."""
    assert len(read_key_set({"keys": [forge.ec.jwk() | change]}, BOTH)) == 0


def test_huge_rsa_key_is_left_out(forge: Forge) -> None:
    """A modulus of 12,000 bits would make each verification a denial of service."""
    assert len(read_key_set({"keys": [forge.rsa.jwk() | {"n": "x" * 2000}]}, BOTH)) == 0


def test_keys_that_share_an_id_are_all_candidates(forge: Forge) -> None:
    """RFC 7517 §4.5 only says that ids should be distinct."""
    keys = read_key_set({"keys": [forge.rsa.jwk(), forge.stranger_rsa.jwk()]}, BOTH)
    assert len(keys.candidates("rsa-1", "RS256")) == 2


def test_key_without_an_id_serves_tokens_without_one(forge: Forge) -> None:
    """Both are optional."""
    entry = forge.rsa.jwk()
    del entry["kid"]
    keys = read_key_set({"keys": [entry]}, BOTH)
    assert len(keys.candidates(None, "RS256")) == 1
    assert keys.candidates("rsa-1", "RS256") == ()


def test_number_of_keys_is_bounded() -> None:
    """An issuer with a thousand keys is not one that we know."""
    entry = SigningKey.ec("many").jwk()
    assert len(read_key_set({"keys": [entry] * (MOST_KEYS + 10)}, BOTH)) == MOST_KEYS


@pytest.mark.parametrize("document", [None, [], "keys", {}, {"keys": None}, {"keys": {}}])
def test_what_is_no_key_set_raises(document: object) -> None:
    """RFC 7517 §5: an object with an array 'keys'."""
    with pytest.raises(ValueError, match="JWK Set"):
        read_key_set(document, BOTH)
