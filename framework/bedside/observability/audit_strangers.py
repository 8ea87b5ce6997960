"""How much of the audit trail callers may fill whom nobody knows.

The trail has a bound, beyond which its oldest files go. Without a share for whoever has no token, a few minutes of
refused requests would push out what is recorded of everybody else (docs/decisions/0139).
"""

import threading

_SECONDS = 60.0


class Strangers:
    """Lets so many records through in each minute, and counts those beyond. Thread-safe.

    Args:
        most: records in a minute.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._begun = float("-inf")
        self._seen = self._beyond = 0

    def admits(self, now: float) -> bool:
        """Tell whether one more may be recorded; it is counted where not."""
        with self._lock:
            if self._is_over(now):
                self._begun, self._seen = now, 0
            self._seen += 1
            within = self._seen <= self._most
            self._beyond += not within
            return within

    def beyond(self, now: float | None = None) -> int:
        """Return how many were left out and not told before: once their minute is over, or at once without a time."""
        with self._lock:
            if now is not None and not self._is_over(now):
                return 0
            beyond, self._beyond = self._beyond, 0
            return beyond

    def _is_over(self, now: float) -> bool:
        return not self._begun <= now < self._begun + _SECONDS  # also where the clock was set back
