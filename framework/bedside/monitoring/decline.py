"""Is a model still as right as it was? Its last truths, held against what its bundle declares, or against its first.

A window is the last truths that were told of answers that name a class, or of volumes and values, whenever they came
and whoever answered: it is read from the database, so a restart forgets nothing and replicas agree.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from bedside.monitoring.intervals import of_mean, wilson
from bedside.monitoring.store import TRUTH, PredictionStore
from bedside.monitoring_settings import MonitoringSettings
from bedside.observability.events import Event
from bedside.observability.fields import as_keyword
from bedside.observability.logging import get_logger
from bedside.observability.metrics import Metrics

Confusion = Mapping[tuple[str, str], int]
"""How many, by true and by predicted class."""
Shares = Mapping[tuple[str, str], tuple[int, int]]
"""By measure and class, how many were right and of how many."""
MEAN_ERROR = "mean_absolute_error"
"""What a bundle calls it in ``eval_metrics``, alone or by label or output; in millilitres, or the value's unit."""
_LEAST_ERRORS = 50
"""Of fewer truths of one volume or value its mean error says little."""


class Served(NamedTuple):
    """What answers now, and the metrics that its bundle declares."""

    model: str
    version: str
    digest: str
    declared: Mapping[str, float]


def shares(confusion: Confusion) -> dict[tuple[str, str], tuple[int, int]]:
    """Return the accuracy, and the sensitivity of each class that was true at least once."""
    total = sum(confusion.values())
    names = {true for true, _ in confusion}
    right = {name: confusion.get((name, name), 0) for name in names}
    found = {("accuracy", "all"): (sum(right.values()), total)}
    of = {name: sum(count for (true, _), count in confusion.items() if true == name) for name in names}
    return found | {("sensitivity", name): (right[name], of[name]) for name in sorted(names)}


class DeclineWatch:
    """Compares; call :meth:`look` every so often, from one thread.

    Args:
        metrics: shows how far each measure has fallen.
        store: has the truths, and keeps the first of each bundle.
        served: what answers now.
        settings: size of windows.
    """

    def __init__(
        self,
        metrics: Metrics,
        store: PredictionStore,
        served: Callable[[], Iterable[Served]],
        settings: MonitoringSettings,
    ) -> None:
        self._gauges = {"shortfall": metrics.shortfall, "excess": metrics.excess}
        self._store = store
        self._served = served
        self._most = settings.window_truths
        self._log = get_logger("bedside.monitoring")
        self._logged: dict[tuple[str, str, str, str], float] = {}
        self._shown: set[tuple[str, tuple[str, ...]]] = set()

    def look(self) -> None:
        """Compare the last truths of all that is served. Raises JobStoreUnavailable."""
        before, self._shown = self._shown, set()
        for of in self._served():
            self._look_at_classes(of)
            self._look_at_errors(of)
        for gauge, gone in before - self._shown:  # of what is served no more, nothing is said
            self._gauges[gauge].remove(*gone)

    def _look_at_classes(self, of: Served) -> None:
        last, told = self._store.truths(*of[:3], self._most)
        if sum(last.values()) < self._most:
            return
        first, news = self._first_classes(of), self._is_news("shortfall", of, told)
        for (measure, name), (right, cases) in shares(last).items():
            expected = _expected(of.declared, shares(first), (measure, name))
            if expected is None:
                continue
            shortfall = max(0.0, expected - wilson(right, cases, +1))
            self._show("shortfall", shortfall, (of.model, of.version, measure, name))
            if news:
                self._log.info(
                    Event.TRUTHS_SUMMARISED,
                    model=of.model,
                    version=of.version,
                    digest=of.digest,
                    truth_measure=measure,
                    truth_name=as_keyword(name),
                    truth_count=cases,
                    truth_share=round(right / cases, 4),
                    truth_expected=round(expected, 4),
                    truth_shortfall=round(shortfall, 4),
                )

    def _look_at_errors(self, of: Served) -> None:
        last, told, answers = self._store.errors(*of[:3], self._most)
        if answers < self._most:
            return
        first, news = self._store.errors(*of[:3], self._most, oldest=True)[0], self._is_news("excess", of, told)
        for (kind, name), errors in last.items():
            if errors.total() < _LEAST_ERRORS:
                continue
            expected = of.declared.get(f"{MEAN_ERROR}.{name}", of.declared.get(MEAN_ERROR) if len(last) == 1 else None)
            if expected is None or expected < 0:
                begun = first.get((kind, name), Counter())
                enough = begun if begun.total() >= _LEAST_ERRORS else errors
                expected = of_mean(self._first_errors(of, kind, name, enough))[2]
            low, mean, _ = of_mean(errors)
            excess = 1 - expected / low if low > expected else 0.0
            self._show("excess", excess, (of.model, of.version, kind, name))
            if news:
                self._log.info(
                    Event.TRUTH_ERRORS_SUMMARISED,
                    model=of.model,
                    version=of.version,
                    digest=of.digest,
                    prediction_kind=kind,
                    prediction_name=as_keyword(name),
                    truth_count=errors.total(),
                    truth_absolute_error=float(f"{mean:.3g}"),
                    truth_expected_error=float(f"{expected:.3g}"),
                    truth_excess=round(excess, 4),
                )

    def _show(self, gauge: str, value: float, labels: tuple[str, ...]) -> None:
        self._gauges[gauge].labels(*labels).set(value)
        self._shown.add((gauge, labels))

    def _is_news(self, gauge: str, of: Served, told: float) -> bool:
        news = self._logged.get((gauge, *of[:3])) != told
        self._logged[gauge, *of[:3]] = told
        return news

    def _first_classes(self, of: Served) -> Confusion:
        oldest, _ = self._store.truths(*of[:3], self._most, oldest=True)
        written = {json.dumps(pair): count for pair, count in oldest.items()}
        kept = self._store.reference((of.digest, TRUTH, "all"), written, self._most) or written
        return Counter({tuple(json.loads(pair)): count for pair, count in kept.items()})

    def _first_errors(self, of: Served, kind: str, name: str, oldest: Mapping[float, int]) -> Mapping[float, int]:
        written = {f"{error:g}": count for error, count in oldest.items()}
        kept = self._store.reference((of.digest, TRUTH, f"{kind}.{name}"), written, _LEAST_ERRORS) or written
        return {float(error): count for error, count in kept.items()}


def _expected(declared: Mapping[str, float], first: Shares, of: tuple[str, str]) -> float | None:
    """Return what the bundle declares, else what its first truths were beyond doubt."""
    measure, name = of
    stated = declared.get(measure if name == "all" else f"{measure}.{name}")
    if stated is not None and 0 <= stated <= 1:
        return stated
    return wilson(*first[of], -1) if of in first else None
