"""Histograms that cost a third of a microsecond: nine of them stand on the way of every call.

``prometheus_client.Histogram.observe`` walks the buckets in Python and takes a lock per bucket, about 1.3 µs each. Here
a bucket is found by bisection, and one lock covers all observations of a call. The registry and the exposition remain
the library's: to it this is one more collector.
"""

import threading
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from time import time

from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar
from prometheus_client.utils import floatToGoString


class Cells:
    """The buckets of one child (one combination of labels), not cumulated."""

    __slots__ = ("bounds", "counts", "exemplars", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0
        self.exemplars: list[Exemplar | None] = [None] * len(self.counts)

    def observe(self, value: float, exemplar: dict[str, str] | None = None) -> None:
        """Count one value, of what these ids lead to; the caller holds the histogram's lock."""
        # bisect_left: a value on a bound belongs below it, as `le` means less than or equal.
        bucket = bisect_left(self.bounds, value)
        self.counts[bucket] += 1
        self.total += value
        if exemplar:
            self.exemplars[bucket] = Exemplar(exemplar, value, time())


class Histogram(Collector):
    """A histogram, with ids of the last request in each bucket where they were given.

    Args:
        name: of the metric, with its unit.
        documentation: what it tells.
        label_names: names of its labels.
        bounds: upper bounds of the buckets, ascending, without infinity.
        lock: guards all cells; may be shared between histograms.
    """

    def __init__(
        self, name: str, documentation: str, label_names: Sequence[str], bounds: Sequence[float], lock: threading.Lock
    ) -> None:
        self._name = name
        self._documentation = documentation
        self._label_names = tuple(label_names)
        self._bounds = tuple(bounds)
        self._lock = lock
        self._children: dict[tuple[str, ...], Cells] = {}

    def labels(self, *values: str) -> Cells:
        """Return the cells of one combination of labels, made at the first call."""
        with self._lock:
            return self._children.setdefault(values, Cells(self._bounds))

    def counts(self) -> dict[tuple[str, ...], tuple[tuple[int, ...], float]]:
        """Return what was counted so far: by labels, the buckets (the last one's bound is infinity) and the sum."""
        with self._lock:
            return {labels: (tuple(cells.counts), cells.total) for labels, cells in self._children.items()}

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """Yield what there is, for the registry."""
        family = HistogramMetricFamily(self._name, self._documentation, labels=self._label_names)
        with self._lock:
            children = [
                (labels, list(cells.counts), cells.total, list(cells.exemplars))
                for labels, cells in self._children.items()
            ]
        for labels, counts, total, exemplars in children:
            family.add_metric(labels, self._cumulated(counts, exemplars), total)
        yield family

    def describe(self) -> Iterable[HistogramMetricFamily]:
        """Yield the name alone, so that the registry can refuse a second metric with it."""
        yield HistogramMetricFamily(self._name, self._documentation, labels=self._label_names)

    def _cumulated(
        self, counts: Sequence[int], exemplars: Sequence[Exemplar | None]
    ) -> list[tuple[str, float] | tuple[str, float, Exemplar]]:
        cumulated, buckets = 0, []
        for bound, count, seen in zip((*self._bounds, float("inf")), counts, exemplars, strict=True):
            cumulated += count
            bucket = (_bound_label(bound), float(cumulated))
            # An exemplar is of its bucket alone (OpenMetrics 1.0, "Exemplars"); the plain text format leaves it out.
            buckets.append((*bucket, seen) if seen else bucket)
        return buckets


def _bound_label(bound: float) -> str:
    # The library's own spelling ("+Inf"), so that series keep their names when its histograms are used again.
    return str(floatToGoString(bound))  # type: ignore[no-untyped-call]
