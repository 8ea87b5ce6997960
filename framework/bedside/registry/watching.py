"""When the sources are looked at again: on SIGHUP, and every so many seconds where the operator wants that."""

import asyncio
import signal
from collections.abc import Awaitable, Callable

Rescan = Callable[[bool], Awaitable[None]]


class Watcher:
    """Has the sources looked at again; use as an asynchronous context manager, or :meth:`start` and :meth:`stop`.

    Args:
        rescan: looks; its argument says whether to leave alone what may still be being written.
        poll_seconds: pause between two looks; 0 for none but on SIGHUP.
        on_error: told of what a look raised; the next one comes all the same.
    """

    def __init__(self, rescan: Rescan, poll_seconds: float, on_error: Callable[[Exception], None]) -> None:
        self._rescan = rescan
        self._poll_seconds = poll_seconds
        self._on_error = on_error
        self._asked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Watch from now on."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._asked.set)
        self._task = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Watch no longer; SIGHUP is ignored from here on."""
        if self._task is not None:
            asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            asked = await self._pause()
            try:
                await self._rescan(not asked)
            except Exception as error:  # noqa: BLE001 - a look that fails must not be the last one
                self._on_error(error)

    async def _pause(self) -> bool:
        """Wait for the next look; tell whether somebody asked for it."""
        try:
            async with asyncio.timeout(self._poll_seconds or None):
                await self._asked.wait()
        except TimeoutError:
            return False
        self._asked.clear()
        return True
