"""Is a model still as right as it was? Its last truths, held against what its bundle declares, or against its first.

A window is the last truths that were told of answers that name a class, whenever they came and whoever answered: it is
read from the database, so a restart forgets nothing and replicas agree.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from math import sqrt

from bedside.monitoring.store import TRUTH, PredictionStore
from bedside.monitoring_settings import MonitoringSettings
from bedside.observability.events import Event
from bedside.observability.fields import as_keyword
from bedside.observability.logging import get_logger
from bedside.observability.metrics import Metrics

Z = 2.576
"""Of 99 % (two-sided): of windows of a model that is as good as before, one in two hundred says that it is not."""

Confusion = Mapping[tuple[str, str], int]
"""How many, by true and by predicted class."""
Shares = Mapping[tuple[str, str], tuple[int, int]]
"""By measure and class, how many were right and of how many."""
Served = tuple[str, str, str, Mapping[str, float]]
"""Model, version, digest, and the metrics that its bundle declares."""


def wilson(right: int, of: int, sign: int) -> float:
    """Return the upper (``sign`` 1) or lower (-1) end of Wilson's interval of a share (JASA 22 (1927) 209)."""
    share, spread = right / of, Z * Z / of
    middle = (share + spread / 2) / (1 + spread)
    return middle + sign * Z * sqrt(share * (1 - share) / of + spread / (4 * of)) / (1 + spread)


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
        self._shortfall = metrics.shortfall
        self._store = store
        self._served = served
        self._most = settings.window_truths
        self._log = get_logger("bedside.monitoring")
        self._logged: dict[tuple[str, str, str], float] = {}
        self._shown: set[tuple[str, ...]] = set()

    def look(self) -> None:
        """Compare the last truths of all that is served. Raises JobStoreUnavailable."""
        shown: set[tuple[str, ...]] = set()
        for model, version, digest, declared in self._served():
            last, told = self._store.truths(model, version, digest, self._most)
            if sum(last.values()) == self._most:
                first = self._first(model, version, digest)
                news = self._logged.get((model, version, digest)) != told
                self._logged[model, version, digest] = told
                for (measure, name), of in shares(last).items():
                    expected = _expected(declared, shares(first), (measure, name))
                    if expected is not None:
                        labels = (model, version, measure, name)
                        shown.add(labels)
                        self._tell(labels, digest, of, expected, news=news)
        for gone in self._shown - shown:  # of what is served no more, nothing is said
            self._shortfall.remove(*gone)
        self._shown = shown

    def _tell(
        self, labels: tuple[str, str, str, str], digest: str, of: tuple[int, int], expected: float, *, news: bool
    ) -> None:
        shortfall = max(0.0, expected - wilson(*of, +1))
        self._shortfall.labels(*labels).set(shortfall)
        if news:
            self._log.info(
                Event.TRUTHS_SUMMARISED,
                model=labels[0],
                version=labels[1],
                digest=digest,
                truth_measure=labels[2],
                truth_name=as_keyword(labels[3]),
                truth_count=of[1],
                truth_share=round(of[0] / of[1], 4),
                truth_expected=round(expected, 4),
                truth_shortfall=round(shortfall, 4),
            )

    def _first(self, model: str, version: str, digest: str) -> Confusion:
        oldest, _ = self._store.truths(model, version, digest, self._most, oldest=True)
        written = {json.dumps(pair): count for pair, count in oldest.items()}
        kept = self._store.reference((digest, TRUTH, "all"), written, self._most) or written
        return Counter({tuple(json.loads(pair)): count for pair, count in kept.items()})


def _expected(declared: Mapping[str, float], first: Shares, of: tuple[str, str]) -> float | None:
    """Return what the bundle declares, else what its first truths were beyond doubt."""
    measure, name = of
    stated = declared.get(measure if name == "all" else f"{measure}.{name}")
    if stated is not None and 0 <= stated <= 1:
        return stated
    return wilson(*first[of], -1) if of in first else None
