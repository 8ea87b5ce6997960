"""A server's metrics as somebody else reads them: what is there now, and what happened between two readings."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf, nan

from prometheus_client.parser import text_string_to_metric_families

Labels = Mapping[str, str]


class Unreadable(ValueError):
    """The text is not Prometheus' format."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Metrics at one moment.

    Attributes:
        at: seconds, of any clock that does not jump.
        samples: by name, all combinations of labels with their values.
    """

    at: float
    samples: Mapping[str, Sequence[tuple[Labels, float]]]

    def value(self, name: str, **labels: str) -> float:
        """Return the sum of what has these labels; 0 where there is nothing."""
        wanted = labels.items()
        return sum(value for found, value in self.samples.get(name, ()) if wanted <= found.items())

    def labels(self, name: str) -> Iterator[Labels]:
        """Yield the combinations of labels of a metric."""
        return (found for found, _ in self.samples.get(name, ()))


NOTHING = Snapshot(0.0, {})
"""Before the server was started."""


def read(text: str, at: float) -> Snapshot:
    """Parse an exposition. Raises Unreadable."""
    samples: dict[str, list[tuple[Labels, float]]] = defaultdict(list)
    try:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                samples[sample.name].append((sample.labels, sample.value))
    except (ValueError, KeyError, IndexError) as error:
        raise Unreadable(type(error).__name__) from None
    return Snapshot(at, samples)


@dataclass(frozen=True, slots=True)
class ModelActivity:
    """What one version of a model did.

    ``p50`` and ``p95`` are seconds, NaN without calls; ``queue``, ``in_flight`` and ``crashes`` are the whole model's.
    """

    name: str
    version: str
    ready: bool
    calls_per_second: float
    failures_per_second: float
    p50: float
    p95: float
    queue: int
    in_flight: int
    crashes: int


@dataclass(frozen=True, slots=True)
class Activity:
    """What happened between two readings, and how it is now.

    Attributes:
        before: the earlier reading; ``NOTHING`` for all that happened since the start.
        after: the later reading.
        seconds: time between them.
    """

    before: Snapshot
    after: Snapshot
    seconds: float

    def models(self) -> list[ModelActivity]:
        """Return what each version of each model did, by name and version."""
        named = [*self.after.labels("bedside_model_ready"), *self.after.labels("bedside_requests_total")]
        return [self._model(*key) for key in sorted({(found["model"], found["version"]) for found in named})]

    def refusals(self) -> dict[str, int]:
        """Return how often calls were refused or failed, by reason, the most frequent first."""
        found = {labels["reason"]: self._increase("bedside_refused_total", **labels) for labels in self._refused()}
        ranked = sorted(found.items(), key=lambda entry: (-entry[1], entry[0]))
        return {reason: round(count) for reason, count in ranked if count}

    def rate(self, name: str, **labels: str) -> float:
        """Return how much a counter grew in a second, summed over what has these labels; never negative."""
        return self._increase(name, **labels) / self.seconds if self.seconds > 0 else 0.0

    def quantile(self, rank: float, name: str, **labels: str) -> float:
        """Return a quantile of a histogram as Prometheus estimates it: in a straight line within its bucket."""
        bounds = sorted({found["le"] for found in self.after.labels(f"{name}_bucket")}, key=float)
        counts = [self._increase(f"{name}_bucket", le=bound, **labels) for bound in bounds]
        return _quantile(rank, [float(bound) for bound in bounds], counts)

    def _refused(self) -> Iterator[Labels]:
        return self.after.labels("bedside_refused_total")

    def _increase(self, name: str, **labels: str) -> float:
        wanted = labels.items()
        earlier = {_key(found): value for found, value in self.before.samples.get(name, ())}
        grown = 0.0
        for found, value in self.after.samples.get(name, ()):
            if wanted <= found.items():
                was = earlier.get(_key(found), 0.0)
                # A counter that is smaller than it was has begun anew: the server was restarted.
                grown += value - was if value >= was else value
        return grown

    def _model(self, name: str, version: str) -> ModelActivity:
        of = {"model": name, "version": version}
        return ModelActivity(
            name,
            version,
            self.after.value("bedside_model_ready", **of) > 0,
            self.rate("bedside_requests_total", **of),
            self.rate("bedside_requests_total", **of, outcome="failure"),
            self.quantile(0.5, "bedside_request_seconds", **of),
            self.quantile(0.95, "bedside_request_seconds", **of),
            round(self.after.value("bedside_queue_length", model=name)),
            round(self.after.value("bedside_in_flight", model=name)),
            round(self.after.value("bedside_model_crashes_total", model=name)),
        )


def _key(labels: Labels) -> frozenset[tuple[str, str]]:
    return frozenset(labels.items())


def _quantile(rank: float, bounds: Sequence[float], counts: Sequence[float]) -> float:
    """Return a quantile of cumulated counts; NaN where there are none."""
    if not counts or counts[-1] <= 0:
        return nan
    wanted = rank * counts[-1]
    steps = pairwise([(0.0, 0.0), *zip(bounds, counts, strict=True)])
    (lower, below), (upper, reached) = next(step for step in steps if step[1][1] >= wanted)
    if upper == inf:
        return lower
    inside = reached - below
    return lower + (upper - lower) * ((wanted - below) / inside if inside > 0 else 1.0)
