"""How many requests one caller may make: each costs work, and a record that outlives it (docs/decisions/0149)."""

import math
import time
from collections import Counter
from collections.abc import Callable

from bedside.errors import CallerLimitReached
from bedside.interfaces import Authenticator
from bedside.types import Principal, UnverifiedToken

_SECONDS = 60.0


class CallerQuota:
    """Implements ``interfaces.Authenticator``: lets each caller through so many times in a minute.

    Args:
        authenticator: tells who calls.
        most: requests of one caller, by issuer and subject, in a minute; other tokens of the same caller count with it.
        clock: seconds of a clock that is not set.
    """

    def __init__(self, authenticator: Authenticator, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._authenticator, self._most, self._clock = authenticator, most, clock
        self._made: Counter[tuple[str, str]] = Counter()
        self._ends = clock() + _SECONDS

    async def authenticate(self, token: UnverifiedToken) -> Principal:
        """Return who calls.

        Raises:
            Unauthenticated, IssuerUnavailable: as the authenticator.
            CallerLimitReached: with the time until the minute is over.
        """
        principal = await self._authenticator.authenticate(token)
        now = self._clock()
        if now >= self._ends:
            self._ends = now + _SECONDS
            self._made.clear()
        caller = (principal.issuer, principal.subject)
        self._made[caller] += 1
        if self._made[caller] > self._most:
            error = CallerLimitReached(f"more than {self._most} requests of yours in a minute")
            error.retry_after_seconds = math.ceil(self._ends - now)
            raise error
        return principal

    async def close(self) -> None:
        """Release connections."""
        await self._authenticator.close()
