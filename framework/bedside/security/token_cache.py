"""Verified tokens, remembered for a short time: checking an RSA signature costs more than a small model."""

import time
from collections import OrderedDict
from collections.abc import Callable

from bedside.types import Principal, UnverifiedToken


class TokenCache:
    """Bounded, least recently *verified* first out.

    An entry ends with the token's ``exp`` or after ``seconds``, whichever comes first, and all end when the issuer's
    keys change. The tokens themselves are the keys of the dictionary; nothing here is ever logged.

    Args:
        size: most entries; 0 remembers nothing.
        seconds: longest that an entry lives.
        now: seconds since the epoch.
    """

    def __init__(self, size: int, seconds: float, now: Callable[[], float] = time.time) -> None:
        self._size = size
        self._seconds = seconds
        self._now = now
        self._entries: OrderedDict[UnverifiedToken, tuple[float, Principal]] = OrderedDict()

    def get(self, token: UnverifiedToken) -> Principal | None:
        """Return the principal of a token verified before, None where it must be verified (again)."""
        entry = self._entries.get(token)
        if entry is None:
            return None
        if self._now() >= entry[0]:
            del self._entries[token]
            return None
        return entry[1]

    def put(self, token: UnverifiedToken, principal: Principal) -> None:
        """Remember a token that has just been verified."""
        until = min(principal.expires_at, self._now() + self._seconds)
        if not self._size or until <= self._now():
            return
        self._entries[token] = (until, principal)
        if len(self._entries) > self._size:
            self._entries.popitem(last=False)

    def clear(self) -> None:
        """Forget everything; called when the issuer's keys have changed."""
        self._entries.clear()
