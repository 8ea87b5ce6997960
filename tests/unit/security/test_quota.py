"""How many requests one caller may make in a minute."""

import pytest
from tests.unit.transports.fakes import FakeAuthenticator

from bedside.errors import CallerLimitReached, InvalidToken
from bedside.security.quota import CallerQuota
from bedside.types import UnverifiedToken

USER, ADMIN = UnverifiedToken("user"), UnverifiedToken("admin")


async def test_each_caller_has_so_many_in_a_minute() -> None:
    """The next is told how long the minute still is; others have theirs, and so has the next minute."""
    now = [100.0]
    quota = CallerQuota(FakeAuthenticator(), 2, lambda: now[0])
    assert [(await quota.authenticate(USER)).subject for _ in range(2)] == ["user", "user"]
    now[0] += 20.5
    with pytest.raises(CallerLimitReached, match="more than 2 requests") as caught:
        await quota.authenticate(USER)
    assert caught.value.retry_after_seconds == 40
    assert (await quota.authenticate(ADMIN)).subject == "admin"
    now[0] += 39.5
    assert (await quota.authenticate(USER)).subject == "user"
    await quota.close()


async def test_what_does_not_verify_counts_for_nobody() -> None:
    """Nor does it change who is told what."""
    quota = CallerQuota(FakeAuthenticator(), 1)
    for _ in range(3):
        with pytest.raises(InvalidToken):
            await quota.authenticate(UnverifiedToken("made-up"))
    assert await quota.authenticate(USER)
