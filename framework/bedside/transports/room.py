"""What sources may cost all calls together: so many readings of each at one time, so many bytes of inputs held.

A request that names its input has a hundred bytes; what it names has half a gigabyte and comes as slowly as its source
likes. Each source has places of its own, so that an archive that hangs takes none of another's.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Lock
from typing import TypeVar

from bedside.errors import ArchiveUnavailable, PayloadTooLarge, QueueFull

T = TypeVar("T")


class Room:
    """Bounds the readings of one server. Thread-safe.

    Args:
        places: readings of each source at one time.
        held_bytes: bytes of inputs that were read, until their calls are answered.
        sources: how many there are.
    """

    def __init__(self, places: int, held_bytes: int, sources: int) -> None:
        self.places, self.held_bytes = places, held_bytes
        self.lock = Lock()
        self.readings: Counter[Hashable] = Counter()
        self.bytes = 0
        # Not asyncio's own threads: a source that hangs would take those that look for jobs, too.
        self.threads = ThreadPoolExecutor(max(1, places * sources), thread_name_prefix="references")

    @contextmanager
    def hold(self, source: Hashable) -> Iterator["Hold"]:
        """Give one reading its place, and let go of what it has taken when the block ends. Raises QueueFull."""
        hold = Hold(self, source)
        try:
            yield hold
        finally:
            hold.close()


class Hold:
    """What one reading takes: a place at its source until it is over, bytes until its call is."""

    def __init__(self, room: Room, source: Hashable) -> None:
        self._room, self._source = room, source
        self._bytes = 0
        self._users = 1  # the reading, and threads that work for it
        self._reading = self._open = True
        with room.lock:
            if room.readings[source] >= room.places:
                raise QueueFull("the source is read for as many calls as references.concurrency allows")
            room.readings[source] += 1

    def take(self, size: int) -> None:
        """Make room for so many bytes more.

        Raises:
            PayloadTooLarge: there will never be.
            QueueFull: there is none now.
            ArchiveUnavailable: nobody waits any more.
        """
        with self._room.lock:
            if not self._open:
                raise ArchiveUnavailable("the transfer was given up")
            if self._bytes + size > self._room.held_bytes:
                raise PayloadTooLarge("the input is larger than references.held_bytes", field="source")
            if self._room.bytes + size > self._room.held_bytes:
                raise QueueFull("inputs that were read fill references.held_bytes")
            self._bytes += size
            self._room.bytes += size

    def give(self, size: int) -> None:
        """Let go of so many bytes that are not needed any more."""
        with self._room.lock:
            self._bytes -= size
            self._room.bytes -= size

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Let go of what the block takes where it raises."""
        before = self._bytes
        try:
            yield
        except BaseException:
            self.give(self._bytes - before)
            raise

    async def in_thread(self, work: Callable[..., T], *arguments: object) -> T:
        """Run ``work`` in a thread. None can be cancelled: what it holds stays taken until it has ended."""
        with self._room.lock:
            self._users += 1
        future = self._room.threads.submit(work, *arguments)
        future.add_done_callback(lambda _: self._leave())
        return await asyncio.wrap_future(future)

    def done(self) -> None:
        """End the reading: the next may begin."""
        if self._reading:
            self._reading = False
            self._leave()

    def close(self) -> None:
        """End the call: what was read is not needed any more."""
        self.done()
        with self._room.lock:
            self._open = False
            self._settle()

    def _leave(self) -> None:
        with self._room.lock:
            self._users -= 1
            if not self._users:
                self._room.readings[self._source] -= 1
            self._settle()

    def _settle(self) -> None:
        if not self._open and not self._users:
            self._room.bytes -= self._bytes
            self._bytes = 0
