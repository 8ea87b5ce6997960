"""Work on a thread of its own, now and then."""

import threading
from collections.abc import Callable

from bedside.observability.events import Event
from bedside.observability.frames import safe_frames
from bedside.observability.logging import get_logger


class Periodic:
    """Calls ``work`` every so many seconds, sooner where :attr:`due` is set, and once more at the end.

    Args:
        name: of the thread, and of the logger below ``bedside``.
        seconds: between two calls.
        work: what is to be done; where it fails, that is logged.
    """

    def __init__(self, name: str, seconds: float, work: Callable[[], None]) -> None:
        self._seconds = seconds
        self._work = work
        self._closing = False
        self._events = get_logger(f"bedside.{name}")
        self.due = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"bedside-{name}", daemon=True)
        self._thread.start()

    def close(self, seconds: float) -> None:
        """Work once more, and wait for that so many seconds at most."""
        self._closing = True
        self.due.set()
        self._thread.join(seconds)

    def _run(self) -> None:
        closing = False
        while not closing:
            self.due.wait(self._seconds)
            self.due.clear()
            closing = self._closing  # asked before the work: what was there when it was closed is done
            try:
                self._work()
            except Exception as error:  # noqa: BLE001 - a defect; its text may quote anything
                self._events.error(Event.TELEMETRY_FAILED, error_type=type(error).__name__, frames=safe_frames(error))
