"""Sends all metrics, from a thread of its own."""

from collections.abc import Mapping
from time import time_ns

from bedside.observability.metrics import Metrics
from bedside.observability.otlp.collector import Collector
from bedside.observability.otlp.metrics import encode
from bedside.observability.periodic import Periodic
from bedside.otlp_settings import MetricsSettings


class Meter:
    """Sends what ``/metrics`` tells; what a collector misses, the next request tells again: sums are cumulative.

    Args:
        collector: where they go.
        settings: how often.
        metrics: all there are.
        about: the resource.
    """

    def __init__(
        self, collector: Collector, settings: MetricsSettings, metrics: Metrics, about: Mapping[str, str]
    ) -> None:
        self._collector = collector
        self._settings = settings
        self._metrics = metrics
        self._about = about
        self._start = time_ns()
        self._periodic = Periodic("metrics", settings.interval_seconds, self._export)

    def close(self) -> None:
        """Send once more, for ``metrics.stop_seconds`` at most."""
        self._periodic.close(self._settings.stop_seconds)
        self._collector.close()

    def _export(self) -> None:
        self._collector.send(encode(self._metrics.registry, self._about, self._start))
