"""What the tests of monitoring share: a log that is read back, and servers over one database."""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import nan
from pathlib import Path
from typing import Any

import pytest
from tests.unit.observability.conftest import Capture, capture

from bedside.bundle.contract import Contract, OutputSpec
from bedside.bundle.reference import Counts
from bedside.jobs.tables import connect
from bedside.monitoring.decline import DeclineWatch, Served
from bedside.monitoring.desk import TruthDesk
from bedside.monitoring.drift import DriftWatch
from bedside.monitoring.monitor import Monitor
from bedside.monitoring.records import Predicted
from bedside.monitoring.reference import ReferenceDesk
from bedside.monitoring.store import PredictionStore
from bedside.monitoring_settings import MonitoringSettings
from bedside.observability.metrics import Metrics

__all__ = ["capture"]

DIGEST = "sha256:" + "0" * 64
CLASSES = Contract(
    *("cxr", "1", DIGEST, "", "", ()),
    (OutputSpec("pred", "probabilities", labels={0: "normal", 1: "pneumonia", 2: "not sure"}),),
    {},
)
SETTINGS = MonitoringSettings(
    predictions_seconds=1000, window_seconds=10, window_predictions=100, reference_predictions=100, window_truths=50
)


@dataclass
class Replica:
    """One server's monitoring over a database that others may share; its clock stands until it is moved."""

    url: str
    settings: MonitoringSettings = SETTINGS
    now: float = 0.0
    metrics: Metrics = field(default_factory=Metrics)
    shipped: Counts = field(default_factory=dict)
    served: list[Served] = field(default_factory=lambda: [Served("cxr", "1", DIGEST, {})])

    def __post_init__(self) -> None:
        """Put it together."""
        self.store = PredictionStore(connect(self.url))
        bundle = ("1", DIGEST, self.shipped)
        self.watch = DriftWatch(
            self.metrics, self.store, lambda *_: bundle if self.served else None, self.settings, lambda: self.now
        )
        self.references = ReferenceDesk(self.store, lambda *_: bundle, self.settings.reference_predictions)
        self.decline = DeclineWatch(self.metrics, self.store, lambda: self.served, self.settings)
        self.monitor = Monitor(self.store, self.watch, self.settings, lambda: self.now, self.decline)
        self.desk = TruthDesk(self.store, self.monitor, self.metrics, lambda *_: CLASSES, lambda: self.now)

    def keep(self, request_id: str, prediction: str = "normal", **more: Any) -> None:
        """Keep an answer."""
        self.monitor.keep(Predicted(request_id, "cxr", "1", DIGEST, self.now, prediction, 0.9, **more))

    def value(self, metric: str, /, **labels: str) -> float:
        """Return a sample of its metrics, NaN where there is none."""
        found = self.metrics.registry.get_sample_value(metric, labels)
        return nan if found is None else found


@pytest.fixture
def told(capture: Callable[..., Capture]) -> Callable[[str], list[dict[str, Any]]]:
    """Return what returns the logged events of a name, each held against the schema."""
    log = capture()
    return lambda name: [record for record in log.records if record["message"] == name]


@pytest.fixture
def replicas(told: Callable[[str], Any], tmp_path: Path) -> Callable[..., Replica]:
    """Return what makes a server over one database, once there is a log."""
    return lambda **options: Replica(f"sqlite:///{tmp_path / 'jobs.db'}", **options)
