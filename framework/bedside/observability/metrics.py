"""Prometheus metrics. Labels come from our own names only: a made-up model name would stay as a label for ever."""

from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.exposition import choose_encoder

from bedside.version import __version__

# From a small tabular model to a large volume.
SECONDS_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
STAGES = ("authenticate", "decode", "queue", "run", "preprocess", "inference", "encode")


@dataclass(frozen=True, slots=True)
class ModelChildren:
    """The metrics of one model, with their labels bound once: looking labels up costs more than counting."""

    succeeded: Counter
    failed: Counter
    seconds: Histogram
    stages: dict[str, Histogram]


class Metrics:
    """The metrics of one server, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "bedside_requests_total",
            "Calls that reached a model, by outcome.",
            ("model", "version", "transport", "outcome"),
            registry=self.registry,
        )
        self._refused = Counter(
            "bedside_refused_total", "Calls that failed, by class of the error.", ("error",), registry=self.registry
        )
        self._seconds = Histogram(
            "bedside_request_seconds",
            "Time from a call's headers to its answer.",
            ("model", "version"),
            buckets=SECONDS_BUCKETS,
            registry=self.registry,
        )
        self._stages = Histogram(
            "bedside_stage_seconds",
            "Time in one stage of the spine.",
            ("model", "stage"),
            buckets=SECONDS_BUCKETS,
            registry=self.registry,
        )
        self._ready = Gauge(
            "bedside_model_ready", "1 when the model would answer.", ("model", "version"), registry=self.registry
        )
        self._load_seconds = Gauge(
            "bedside_model_load_seconds",
            "Time to build the bundle and run it once.",
            ("model",),
            registry=self.registry,
        )
        self._pending = Gauge("bedside_pending_requests", "Items that run or wait.", ("model",), registry=self.registry)
        self._restarts = Counter(
            "bedside_model_process_ended_total",
            "Model processes that ended by themselves.",
            ("model",),
            registry=self.registry,
        )
        Info("bedside_build", "What runs here.", registry=self.registry).info({"version": __version__})
        self._children: dict[tuple[str, str, str], ModelChildren] = {}

    def of(self, model: str, version: str, transport: str) -> ModelChildren:
        """Return the bound metrics of one model."""
        key = (model, version, transport)
        found = self._children.get(key)
        if found is None:
            found = self._children[key] = ModelChildren(
                self._requests.labels(model, version, transport, "success"),
                self._requests.labels(model, version, transport, "failure"),
                self._seconds.labels(model, version),
                {stage: self._stages.labels(model, stage) for stage in STAGES},
            )
        return found

    def refused(self, error: str) -> None:
        """Count one failed call; ``error`` is the name of one of our own classes."""
        self._refused.labels(error).inc()

    def model_ready(self, model: str, version: str, *, ready: bool, load_seconds: float) -> None:
        """Say whether a model would answer, and how long it took to load."""
        self._ready.labels(model, version).set(ready)
        if ready:
            self._load_seconds.labels(model).set(load_seconds)

    def watch_pending(self, model: str, count: Callable[[], int]) -> None:
        """Ask ``count`` at each scrape how many items of a model run or wait."""
        self._pending.labels(model).set_function(count)

    def process_ended(self, model: str) -> None:
        """Count one model process that ended by itself."""
        self._restarts.labels(model).inc()

    def render(self, accept: str) -> tuple[bytes, str]:
        """Return everything, and its media type: Prometheus's text format or OpenMetrics, as ``accept`` asks."""
        encode, media_type = choose_encoder(accept)
        return encode(self.registry), media_type
