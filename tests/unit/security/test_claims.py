"""Our own look at the claims, without the library's before it: the second of two locks must hold alone."""

from typing import Any

import pytest

from bedside.errors import ExpiredToken, InvalidToken
from bedside.security.claims import Expectations, principal_of

NOW = 1_000_000.0
EXPECTED = Expectations("https://issuer.invalid", "bedside", 30, lambda: NOW)
GOOD: dict[str, Any] = {"iss": "https://issuer.invalid", "aud": "bedside", "sub": "somebody", "exp": NOW + 60}


def test_good_claims_make_a_principal() -> None:
    """Whatever else is in the token is not carried on."""
    principal = principal_of(GOOD | {"email": "doe@example.org"}, EXPECTED)
    assert (principal.subject, principal.scopes, principal.expires_at) == ("somebody", frozenset(), NOW + 60)


@pytest.mark.parametrize("claim", ["iss", "aud", "sub", "exp"])
@pytest.mark.parametrize("value", [None, "", True, [], {}, ["bedsid"]])
def test_claim_of_the_wrong_kind_is_refused(claim: str, value: object) -> None:
    """Missing, empty, another type: every required claim."""
    with pytest.raises(InvalidToken):
        principal_of(GOOD | {claim: value}, EXPECTED)


@pytest.mark.parametrize("value", [NOW * 1e6, 10**400, float("nan"), float("inf"), -1])
def test_time_that_is_none_is_refused(value: float) -> None:
    """Milliseconds, numbers without a float, and what JSON does not have."""
    with pytest.raises(InvalidToken, match="exp"):
        principal_of(GOOD | {"exp": value}, EXPECTED)


@pytest.mark.parametrize("left", [-29.9, 0, 1])
@pytest.mark.parametrize("ahead", [-1, 0, 30])
def test_times_within_the_leeway_pass(left: float, ahead: float) -> None:
    """Clocks differ by seconds."""
    assert principal_of(GOOD | {"exp": NOW + left, "nbf": NOW + ahead}, EXPECTED)


@pytest.mark.parametrize("change", [{"exp": NOW - 30}, {"nbf": NOW + 30.1}])
def test_times_beyond_the_leeway_do_not(change: dict[str, float]) -> None:
    """RFC 7519 §4.1.4: on or after exp it must not be accepted; §4.1.5: nor before nbf."""
    with pytest.raises(ExpiredToken):
        principal_of(GOOD | change, EXPECTED)
