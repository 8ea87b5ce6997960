"""What watches answers: built of the jobs' database and the metrics."""

import time
from collections.abc import Iterator
from functools import lru_cache
from typing import Self

from bedside.bundle.contract import Contract
from bedside.bundle.reference import parse_reference
from bedside.errors import BedsideError, ModelVersionNotFound, Unavailable
from bedside.interfaces import CallSink, ModelRepository
from bedside.jobs.tables import Database
from bedside.monitoring.decline import DeclineWatch, Served
from bedside.monitoring.desk import TruthDesk
from bedside.monitoring.drift import DriftWatch
from bedside.monitoring.monitor import Monitor
from bedside.monitoring.reference import Bundle, ReferenceDesk
from bedside.monitoring.sink import KeepingSink
from bedside.monitoring.store import PredictionStore
from bedside.monitoring_settings import MonitoringSettings
from bedside.observability.metrics import Metrics

_parsed = lru_cache(maxsize=64)(parse_reference)


class Monitoring:
    """Monitor and desk of one server."""

    def __init__(
        self, settings: MonitoringSettings, engine: Database, repository: ModelRepository, metrics: Metrics
    ) -> None:
        self._repository = repository
        self._enabled = settings.enabled
        store = PredictionStore(engine)
        watch = DriftWatch(metrics, store, self._bundle_or_none, settings, time.monotonic)
        decline = DeclineWatch(metrics, store, self._served, settings)
        self.monitor = Monitor(store, watch, settings, decline=decline)
        wanted = settings.reference_predictions
        self.references = ReferenceDesk(store, self._bundle_of, wanted) if settings.enabled else None
        self.desk = TruthDesk(store, self.monitor, metrics, self._contract_of)
        metrics.count_lost_predictions(lambda: self.monitor.lost)

    def __enter__(self) -> Self:
        """Begin to watch."""
        if self._enabled:
            self.monitor.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Write what waits, and end."""
        self.monitor.close()

    def sink(self, accountant: CallSink) -> CallSink:
        """Return what calls are told to: the accountant, and where predictions are kept the monitor too."""
        return KeepingSink(accountant, self.monitor.keep) if self.monitor.keeps else accountant

    def _served(self) -> Iterator[Served]:
        for status in self._repository.index():
            if status.digest:
                declared = self._contract_of(status.name, status.version).metrics
                yield Served(status.name, status.version, status.digest, declared)

    def _bundle_of(self, model: str, version: str | None) -> Bundle:
        served = self._repository.resolve(model, version)
        return served.version, served.digest, _parsed(self._repository.text(model, served.version, "reference"))

    def _bundle_or_none(self, model: str, version: str) -> Bundle | None:
        try:
            return self._bundle_of(model, version)
        except BedsideError:
            return None

    def _contract_of(self, model: str, version: str) -> Contract:
        try:
            return self._repository.resolve(model, version).contract
        except (ModelVersionNotFound, Unavailable):
            return self._repository.resolve(model, None).contract
