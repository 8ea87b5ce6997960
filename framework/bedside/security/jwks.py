"""The issuer's keys over time: fetched, kept, refreshed, served stale while the issuer is down."""

import asyncio
import time
from collections.abc import Callable

from jose.backends.base import Key

from bedside.errors import IssuerUnavailable
from bedside.observability.events import Event
from bedside.observability.logging import get_logger
from bedside.security.issuer_client import FetchFailed, IssuerClient
from bedside.security.keys import KeySet
from bedside.security.verification import TokenHeader
from bedside.settings import AuthSettings

_log = get_logger("bedside.security.jwks")


class IssuerKeys:
    """Implements ``authenticator.KeySource`` with the keys of an OIDC issuer.

    A call only waits for the issuer when it cannot go on without: no keys are known, those known are too old even for
    an outage or nobody has asked for new ones for long, or the token's key is not among them. Then all such calls wait
    for the same fetch.

    Args:
        settings: ages and intervals.
        client: fetches.
        on_change: called when the keys are not those of before.
        clock: seconds of a clock that is not set (``time.monotonic``).
    """

    def __init__(
        self,
        settings: AuthSettings,
        client: IssuerClient,
        on_change: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._client = client
        self._on_change = on_change
        self._clock = clock
        self._keys: KeySet | None = None
        self._fetched_at = 0.0
        self._attempted_at: float | None = None
        self._fetch: asyncio.Task[None] | None = None
        self._failing = False
        self._generation = 0

    async def find(self, header: TokenHeader) -> tuple[Key, ...]:
        """Return the keys that may verify a token with this header, fetching where needed.

        Raises:
            IssuerUnavailable: no keys that may be used are known.
        """
        if not self._usable() or self._forgotten():
            await self._refresh()
        elif self._age() > self._settings.jwks_max_age_seconds:
            self._start_fetch()  # in the background: the known keys may still be used
        found = self._candidates(header)
        if not found:
            # Perhaps the issuer has rotated its keys. Rate-limited, so that made-up key ids do not flood it.
            await self._refresh()
            found = self._candidates(header)
        return found

    async def prefetch(self) -> bool:
        """Fetch the keys before the first call needs them. Return whether there are any; never raises."""
        await self._refresh()
        return self._usable()

    async def close(self) -> None:
        """End a fetch that is under way."""
        if self._fetch is not None:
            self._fetch.cancel()
            await asyncio.gather(self._fetch, return_exceptions=True)

    def _candidates(self, header: TokenHeader) -> tuple[Key, ...]:
        if self._keys is None or not self._usable():
            raise IssuerUnavailable
        return self._keys.candidates(header.kid, header.algorithm)

    def _age(self) -> float:
        return self._clock() - self._fetched_at

    def _usable(self) -> bool:
        # Keys are fresh up to jwks_max_age, and usable beyond that up to jwks_stale, whichever is later.
        most = max(self._settings.jwks_max_age_seconds, self._settings.jwks_stale_seconds)
        return self._keys is not None and len(self._keys) > 0 and self._age() <= most

    def _forgotten(self) -> bool:
        # After an idle night the keys are old because nobody asked, not because the issuer is down: one that was
        # withdrawn meanwhile must not verify the first call of the morning.
        attempted_at = self._attempted_at
        return attempted_at is not None and self._clock() - attempted_at > 2 * self._settings.jwks_max_age_seconds

    async def _refresh(self) -> None:
        fetch = self._start_fetch()
        if fetch is not None:
            # Waited for, not awaited: a caller that gives up does not end the fetch that others wait for, and the
            # end of the fetch (`close`) does not cancel its callers.
            await asyncio.wait((fetch,))

    def _start_fetch(self) -> asyncio.Task[None] | None:
        """Return the fetch under way, or a new one; None where the last one is too recent."""
        fetch = self._fetch
        # One left behind by an event loop that has ended will never be done.
        if fetch is not None and not fetch.done() and fetch.get_loop() is asyncio.get_running_loop():
            return fetch
        now = self._clock()
        if self._attempted_at is not None and now - self._attempted_at < self._settings.jwks_refresh_interval_seconds:
            return None
        self._attempted_at = now
        self._fetch = asyncio.create_task(self._fetch_once(), name="fetch-issuer-keys")
        return self._fetch

    async def _fetch_once(self) -> None:
        try:
            keys = await self._client.fetch_keys()
        except FetchFailed as failure:
            self._report(failure.reason)
        except Exception:  # noqa: BLE001 - a fault in here must not become an error of whoever waits
            self._report("unexpected")
        else:
            self._take(keys)

    def _take(self, keys: KeySet) -> None:
        changed = self._keys is None or not self._keys.same_as(keys)
        recovered, self._failing = self._failing, False
        # A well-formed set without usable keys is the issuer's word too: it has taken its keys back.
        self._keys = keys
        self._fetched_at = self._clock()
        if changed:
            self._generation += 1
            self._on_change()
        if not len(keys):
            self._report("no_usable_keys")
        elif changed or recovered:
            _log.info(Event.TOKEN_KEYS_REFRESHED, keys=len(keys), generation=self._generation)

    def _report(self, reason: str) -> None:
        self._failing = True
        if self._keys is not None and self._usable():
            _log.warning(Event.TOKEN_KEYS_STALE, reason=reason, seconds=self._age(), keys=len(self._keys))
        else:
            _log.error(Event.TOKEN_KEYS_UNAVAILABLE, reason=reason)
