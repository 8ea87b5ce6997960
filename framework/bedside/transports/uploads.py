"""Inputs that are too large to be sent: a caller puts them into the site's bucket, and names them in a request."""

from collections.abc import Callable
from secrets import token_hex
from typing import Any

from bedside.bundle.media_types import suffix_of_media_type
from bedside.errors import PayloadTooLarge
from bedside.transports.buckets import Bucket
from bedside.types import Principal


class Uploads:
    """Offers a place in a bucket, under a name that nobody can guess and that says nothing.

    Args:
        name: of the bucket, as references have it.
        bucket: where the inputs lie.
        authorise: lets a principal use a source, by name; raises InsufficientScope.
        seconds: that an address is good for.
        most_bytes: of one input.
    """

    def __init__(
        self, name: str, bucket: Bucket, authorise: Callable[[Principal, str], None], seconds: int, most_bytes: int
    ) -> None:
        self._name, self._bucket, self._authorise = name, bucket, authorise
        self._seconds, self._most_bytes = seconds, most_bytes

    def offer(self, principal: Principal, size: int, media_type: str) -> dict[str, Any]:
        """Return where to put ``size`` bytes, and what names them afterwards.

        Raises:
            InsufficientScope: the caller may have nothing read from the bucket.
            PayloadTooLarge: they would not be read.
            ArchiveUnavailable: the server has no credentials for the bucket.
        """
        self._authorise(principal, self._name)
        if size > self._most_bytes:
            raise PayloadTooLarge(f"an input has at most {self._most_bytes} bytes", field="bytes")
        step = token_hex(16) + suffix_of_media_type(media_type)
        url = self._bucket.offer(step, size, self._seconds)
        source = {"s3": self._name, "path": step}
        return {"method": "PUT", "url": url, "expires_seconds": self._seconds, "source": source}
