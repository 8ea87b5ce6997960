"""One thread beside the answering one: writes down what was predicted, sums it up, and forgets what is old."""

import threading
import time
from collections import deque
from collections.abc import Callable

from bedside.errors import JobStoreUnavailable
from bedside.monitoring.decline import DeclineWatch
from bedside.monitoring.drift import DriftWatch
from bedside.monitoring.records import Predicted
from bedside.monitoring.store import PredictionStore
from bedside.monitoring_settings import MonitoringSettings
from bedside.observability.events import Event
from bedside.observability.logging import get_logger
from bedside.observability.periodic import Periodic

MOST_WAITING = 20_000
"""Predictions on their way to the database; what finds no room is lost and counted, as what it refuses."""
WRITE_SECONDS = 0.5
LOOK_SECONDS = 10.0
COMPARE_SECONDS = 300.0
PURGE_SECONDS = 600.0
_STOP_SECONDS = 10.0
_AT_ONCE = 5000

Clock = Callable[[], float]


class Monitor:
    """Keeps predictions, and watches them.

    Args:
        store: where predictions are kept.
        watch: sums up and compares.
        settings: how long and how many.
        clock: seconds since the epoch.
        decline: compares the truths that have come.
    """

    def __init__(
        self,
        store: PredictionStore,
        watch: DriftWatch,
        settings: MonitoringSettings,
        clock: Clock = time.time,
        decline: DeclineWatch | None = None,
    ) -> None:
        self._store = store
        self._watch = watch
        self._settings = settings
        self._clock = clock
        self._waiting: deque[Predicted] = deque()
        self._writing = threading.Lock()
        self._decline = decline
        self._looked = self._purged = self._compared = 0.0
        self._events = get_logger("bedside.monitoring")
        self._periodic: Periodic | None = None
        self.lost = 0

    @property
    def keeps(self) -> bool:
        """Tell whether predictions are kept for their truth."""
        return self._settings.predictions_seconds > 0

    def start(self) -> None:
        """Begin to work."""
        self._periodic = Periodic("monitoring", WRITE_SECONDS if self.keeps else LOOK_SECONDS, self.work)

    def close(self) -> None:
        """Write what waits, and end."""
        if self._periodic is not None:
            self._periodic.close(_STOP_SECONDS)

    def keep(self, predicted: Predicted) -> None:
        """Have a prediction written down soon. Never blocks and never raises."""
        if len(self._waiting) < MOST_WAITING:
            self._waiting.append(predicted)
        else:
            self.lost += 1

    def flush(self) -> None:
        """Write down what waits. Raises JobStoreUnavailable; it then goes on waiting."""
        with self._writing:
            while self._waiting:
                some = [self._waiting[place] for place in range(min(len(self._waiting), _AT_ONCE))]
                self.lost += self._store.add(some)
                for _ in some:
                    self._waiting.popleft()

    def work(self) -> None:
        """Do what is due."""
        now = self._clock()
        try:
            self.flush()
            if now - self._looked >= min(LOOK_SECONDS, self._settings.window_seconds):
                self._looked = now
                self._watch.look()
            due = min(COMPARE_SECONDS, self._settings.window_seconds)
            if self.keeps and self._decline and now - self._compared >= due:
                self._compared = now
                self._decline.look()
            if self.keeps and now - self._purged >= PURGE_SECONDS:
                self._purged = now
                self._store.purge(now - self._settings.predictions_seconds, self._settings.predictions_most)
        except JobStoreUnavailable as error:
            self._events.error(Event.JOB_STORE_FAILED, error_type=type(error).__name__)
