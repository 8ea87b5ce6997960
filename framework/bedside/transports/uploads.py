"""Inputs that are too large to be sent: a caller puts them into the site's bucket, and names them in a request."""

import math
import time
from collections import Counter, deque
from collections.abc import Callable
from secrets import token_hex
from typing import Any

from bedside.bundle.media_types import suffix_of_media_type
from bedside.errors import CallerLimitReached, PayloadTooLarge
from bedside.reference_settings import ReferenceSettings
from bedside.transports.buckets import Bucket
from bedside.types import Principal


class Uploads:
    """Offers a place in a bucket, under a name that nobody can guess and that says nothing.

    Args:
        name: of the bucket, as references have it.
        bucket: where the inputs lie.
        authorise: lets a principal use a source, by name; raises InsufficientScope.
        settings: how long an address is good, and how many of them one caller may have.
        most_bytes: of one input.
        clock: seconds of a clock that is not set.
    """

    def __init__(
        self,
        name: str,
        bucket: Bucket,
        authorise: Callable[[Principal, str], None],
        settings: ReferenceSettings,
        most_bytes: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name, self._bucket, self._authorise = name, bucket, authorise
        self._seconds, self._most, self._most_bytes = settings.upload_seconds, settings.uploads_open, most_bytes
        self._clock = clock
        self._open: deque[tuple[float, tuple[str, str]]] = deque()
        self._counts: Counter[tuple[str, str]] = Counter()

    def offer(self, principal: Principal, size: int, media_type: str) -> dict[str, Any]:
        """Return where to put ``size`` bytes, and what names them afterwards.

        Raises:
            InsufficientScope: the caller may have nothing read from the bucket.
            PayloadTooLarge: they would not be read.
            CallerLimitReached: the caller has as many addresses as are allowed, with the time until one expires.
            ArchiveUnavailable: the server has no credentials for the bucket.
        """
        self._authorise(principal, self._name)
        if size > self._most_bytes:
            raise PayloadTooLarge(f"an input has at most {self._most_bytes} bytes", field="bytes")
        ends = self._clock() + self._seconds
        caller = self._with_room(principal)
        step = token_hex(16) + suffix_of_media_type(media_type)
        url = self._bucket.offer(step, size, self._seconds)
        self._open.append((ends, caller))
        self._counts[caller] += 1
        source = {"s3": self._name, "path": step}
        return {"method": "PUT", "url": url, "expires_seconds": self._seconds, "source": source}

    def _with_room(self, principal: Principal) -> tuple[str, str]:
        """Return the caller, who may have another address. Raises CallerLimitReached."""
        now, caller = self._clock(), (principal.issuer, principal.subject)
        while self._open and self._open[0][0] <= now:
            self._counts -= Counter([self._open.popleft()[1]])  # this keeps no zeros
        if self._counts[caller] >= self._most:
            error = CallerLimitReached(f"{self._most} addresses of yours are open (references.uploads_open)")
            error.retry_after_seconds = math.ceil(next(ends for ends, who in self._open if who == caller) - now)
            raise error
        return caller
