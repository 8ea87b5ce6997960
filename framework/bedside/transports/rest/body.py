"""The body of a request, read only once the caller has been let in, and never more of it than the limits allow."""

import io
from collections.abc import AsyncIterator

from bedside.errors import ClientGone, PayloadTooLarge
from bedside.transports.rest.head import Head
from bedside.transports.rest.reply import Receive


class Body:
    """Reads one request's body.

    Attributes:
        complete: True once the last byte has been read; until then the connection cannot be used again.
        size: bytes read so far.
    """

    __slots__ = ("_head", "_receive", "complete", "size")

    def __init__(self, receive: Receive, head: Head) -> None:
        self._receive = receive
        self._head = head
        self.complete = not head.expects_body
        self.size = 0

    async def read(self, limit: int) -> bytes:
        """Return the whole body.

        Raises:
            PayloadTooLarge: more than ``limit`` bytes are announced (then nothing is read) or have come.
            ClientGone: the caller closed the connection.
        """
        self._check_announced(limit)
        data = await self._next(limit)
        if self.complete:
            return data
        whole = io.BytesIO()  # joining chunks would take twice the room of a study
        whole.write(data)
        while not self.complete:
            whole.write(await self._next(limit))
        return whole.getvalue()

    async def chunks(self, limit: int) -> AsyncIterator[bytes]:
        """Yield the body as it arrives. Raises as :meth:`read`."""
        self._check_announced(limit)
        while not self.complete:
            yield await self._next(limit)

    async def discard(self, limit: int) -> None:
        """Read and forget what still comes, up to ``limit`` bytes, until the caller ends or goes."""
        remaining = limit
        while not self.complete and remaining > 0:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                return
            remaining -= len(message.get("body", b""))
            self.complete = not message.get("more_body", False)

    def _check_announced(self, limit: int) -> None:
        announced = self._head.content_length
        if announced is not None and announced > limit:
            raise PayloadTooLarge(f"the body has {announced} bytes, the limit is {limit}", field="Content-Length")

    async def _next(self, limit: int) -> bytes:
        if self.complete:
            return b""
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        data: bytes = message.get("body", b"")
        self.size += len(data)
        self.complete = not message.get("more_body", False)
        if self.size > limit:
            raise PayloadTooLarge(f"the body has more than {limit} bytes", field="body")
        return data
