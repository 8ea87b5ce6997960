"""Tokens that are remembered, and when they are not."""

import pytest
from tests.unit.security.local_issuer import Clock

from bedside.security.token_cache import TokenCache
from bedside.types import Principal, UnverifiedToken

TOKEN = UnverifiedToken("secret.token.text")


def principal(expires_at: float = 2000.0) -> Principal:
    """Return a principal whose token expires then."""
    return Principal("somebody", "https://issuer.invalid", frozenset(), expires_at)


def test_token_is_remembered_until_its_time_is_over(clock: Clock) -> None:
    """token_cache_seconds after it was verified, it is verified again."""
    cache = TokenCache(8, 60.0, clock)
    cache.put(TOKEN, principal())
    clock.now += 59.9
    assert cache.get(TOKEN) == principal()
    clock.now += 0.1
    assert cache.get(TOKEN) is None
    assert len(cache) == 0


def test_clock_that_is_set_back_forgets(clock: Clock) -> None:
    """How long ago the token was verified is not known any more."""
    cache = TokenCache(8, 60.0, clock)
    cache.put(TOKEN, principal())
    clock.now -= 1
    assert cache.get(TOKEN) is None


def test_no_entry_outlives_its_expiry(clock: Clock) -> None:
    """Not even by the leeway that verification grants."""
    cache = TokenCache(8, 60.0, clock)
    cache.put(TOKEN, principal(expires_at=clock.now + 5))
    clock.now += 5
    assert cache.get(TOKEN) is None


@pytest.mark.parametrize(("size", "seconds", "expires_in"), [(0, 60.0, 100.0), (8, 0.0, 100.0), (8, 60.0, -1.0)])
def test_nothing_is_remembered_where_nothing_may_be(clock: Clock, size: int, seconds: float, expires_in: float) -> None:
    """A cache that is off, and a token that only the leeway keeps alive."""
    cache = TokenCache(size, seconds, clock)
    cache.put(TOKEN, principal(clock.now + expires_in))
    assert len(cache) == 0


def test_least_recently_used_token_leaves_first(clock: Clock) -> None:
    """Using a token keeps it."""
    cache = TokenCache(2, 60.0, clock)
    first, second, third = (UnverifiedToken(text) for text in ("first", "second", "third"))
    cache.put(first, principal())
    cache.put(second, principal())
    cache.get(first)
    cache.put(third, principal())
    assert cache.get(second) is None
    assert cache.get(first) == cache.get(third) == principal()


def test_clear_forgets_everything(clock: Clock) -> None:
    """As when the issuer's keys have changed."""
    cache = TokenCache(2, 60.0, clock)
    cache.put(TOKEN, principal())
    cache.clear()
    assert cache.get(TOKEN) is None


def test_representation_shows_no_token(clock: Clock) -> None:
    """A cache that ends up in a log line tells its size."""
    cache = TokenCache(2, 60.0, clock)
    cache.put(TOKEN, principal())
    assert repr(cache) == "TokenCache(1 of 2)"
