"""Do the answers of a model drift? Windows of them, compared with its first ones.

The histograms that Prometheus reads have counted already, so this costs a call nothing: a window is what they have now,
less what they had when it began. Only sums are kept and told, and none of few answers.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from math import log

from bedside.bundle.reference import Counts
from bedside.monitoring.reference import Bundle
from bedside.monitoring.store import PredictionStore
from bedside.monitoring_settings import MonitoringSettings
from bedside.observability.events import Event
from bedside.observability.fields import as_keyword
from bedside.observability.histograms import Histogram
from bedside.observability.logging import get_logger
from bedside.observability.metrics import Metrics

_SMOOTHING = 0.5

Of = tuple[str, str]
"""Model and version."""
Counted = Mapping[tuple[str, ...], tuple[tuple[int, ...], float]]
"""What a histogram has counted: by labels, the buckets and the sum."""


def population_stability_index(now: Mapping[str, int], reference: Mapping[str, int]) -> float:
    """Return the population stability index of two histograms: 0 where they agree.

    Below 0.1 nothing has changed, above 0.25 much has (Siddiqi, Credit Risk Scorecards, Wiley 2006, §"Scorecard
    monitoring"). Of n and m answers in k bins chance alone makes about (k-1)(1/n + 1/m) (Yurdakul and Naranjo,
    "Statistical properties of the population stability index", Journal of Risk Model Validation 14 (2020) 4).

    Half an answer is added to each bin (Jeffreys' prior): the logarithm of none has no end.
    """
    bins = {*now, *reference}
    totals = [sum(counts.values()) + _SMOOTHING * len(bins) for counts in (now, reference)]
    score = 0.0
    for label in bins:
        p = (now.get(label, 0) + _SMOOTHING) / totals[0]
        q = (reference.get(label, 0) + _SMOOTHING) / totals[1]
        score += (p - q) * log(p / q)
    return score


@dataclass(slots=True)
class Aspect:
    """One thing that is compared: the classes, how sure the answers were, a volume, a value.

    Attributes:
        kind: ``class``, ``confidence``, ``volume`` or ``value``.
        name: label or output; ``all`` for classes and confidence.
        counts: answers by bin.
        sums: by class or name, how many answers and the sum of their numbers.
    """

    kind: str
    name: str
    counts: Counter[str] = field(default_factory=Counter)
    sums: dict[str, tuple[int, float]] = field(default_factory=dict)


class DriftWatch:
    """Closes windows; call :meth:`look` every so often, from one thread.

    Args:
        metrics: counts the answers, and shows the scores.
        store: keeps what the first answers of each bundle were like.
        bundle_of: what answers for a model's version; None where it is not served.
        settings: size of windows.
        clock: seconds of any clock that does not jump.
    """

    def __init__(
        self,
        metrics: Metrics,
        store: PredictionStore,
        bundle_of: Callable[[str, str], Bundle | None],
        settings: MonitoringSettings,
        clock: Callable[[], float],
    ) -> None:
        self._metrics = metrics
        self._store = store
        self._bundle_of = bundle_of
        self._settings = settings
        self._clock = clock
        self._log = get_logger("bedside.monitoring")
        self._shown: set[tuple[str, str, str, str]] = set()
        self._began: dict[Of, tuple[float, Mapping[Histogram, Counted]]] = {}

    def look(self) -> None:
        """Sum up the windows that are long enough and hold enough. Raises JobStoreUnavailable."""
        now: dict[Of, dict[Histogram, dict[tuple[str, ...], tuple[tuple[int, ...], float]]]]
        now = defaultdict(lambda: defaultdict(dict))
        for histogram in _watched(self._metrics):
            for labels, so_far in histogram.counts().items():
                now[labels[0], labels[1]][histogram][labels] = so_far
        for of, series in now.items():
            began, before = self._began.setdefault(of, (self._clock(), {}))
            if self._clock() - began < self._settings.window_seconds:
                continue
            aspects = _aspects(self._metrics, series, before)
            answers = max(aspect.counts.total() for aspect in aspects)
            bundle = self._bundle_of(*of)
            if answers >= self._settings.window_predictions and bundle:
                self._began[of] = (self._clock(), series)
                self._sum_up(of, bundle, aspects)
        for labels in [shown for shown in self._shown if self._bundle_of(*shown[:2]) is None]:
            self._hide(labels)  # of what is served no more, nothing is said: its alert would never end

    def _sum_up(self, of: Of, bundle: Bundle, aspects: list[Aspect]) -> None:
        _, digest, shipped = bundle
        for aspect in aspects:
            key, given = (digest, aspect.kind, aspect.name), shipped.get((aspect.kind, aspect.name))
            reference = self._store.reference(key, aspect.counts, self._settings.reference_predictions, given)
            score = round(population_stability_index(aspect.counts, reference), 4) if reference else None
            self._show((*of, aspect.kind, aspect.name), score)
            for name, (count, total) in aspect.sums.items():
                self._log.info(
                    Event.PREDICTIONS_SUMMARISED,
                    model=of[0],
                    version=of[1],
                    digest=digest,
                    prediction_kind=aspect.kind,
                    prediction_name=as_keyword(name),
                    prediction_count=count,
                    prediction_mean=float(f"{total / count:.4g}"),
                    drift_score=score,
                )

    def _show(self, labels: tuple[str, str, str, str], score: float | None) -> None:
        if score is not None:
            self._metrics.drift.labels(*labels).set(score)
            self._shown.add(labels)
        elif labels in self._shown:  # the reference was renewed: there is none yet
            self._hide(labels)

    def _hide(self, labels: tuple[str, str, str, str]) -> None:
        self._metrics.drift.remove(*labels)
        self._shown.remove(labels)


def counted(metrics: Metrics) -> Counts:
    """Return all that one model has answered, as what drift is measured against: by kind and name, answers by bin."""
    now = {histogram: histogram.counts() for histogram in _watched(metrics)}
    return {(aspect.kind, aspect.name): aspect.counts for aspect in _aspects(metrics, now, {}) if aspect.counts}


def _watched(metrics: Metrics) -> tuple[Histogram, ...]:
    return metrics.predictions, metrics.volumes, metrics.values


def _aspects(metrics: Metrics, now: Mapping[Histogram, Counted], before: Mapping[Histogram, Counted]) -> list[Aspect]:
    def since(histogram: Histogram) -> Iterator[tuple[str, Counter[str], float]]:
        return _since(now.get(histogram, {}), before.get(histogram, {}))

    classes, confidence = Aspect("class", "all"), Aspect("confidence", "all")
    for name, answers, total in since(metrics.predictions):
        classes.counts[name] = answers.total()
        classes.sums[name] = (answers.total(), total)
        confidence.counts += answers
    if classes.sums:
        confidence.sums[confidence.name] = (
            confidence.counts.total(),
            sum(total for _, total in classes.sums.values()),
        )
    numbers = [
        Aspect(kind, name, answers, {name: (answers.total(), total)})
        for kind, histogram in (("volume", metrics.volumes), ("value", metrics.values))
        for name, answers, total in since(histogram)
    ]
    return [classes, confidence, *numbers]


def _since(now: Counted, before: Counted) -> Iterator[tuple[str, Counter[str], float]]:
    """Yield class, label or output, the answers by bin since then, and their sum."""
    for labels, (counts, total) in now.items():
        old, was = before.get(labels, ((0,) * len(counts), 0.0))
        pairs = enumerate(zip(counts, old, strict=True))
        answers = Counter({str(place): new - then for place, (new, then) in pairs if new > then})
        if answers:
            yield labels[2], answers, total - was
