"""Prometheus metrics: numbers about the server, with labels that are all our own words.

No label ever takes a caller's string: a made-up model name would grow the memory, and may be a person's name.
"""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector, disable_created_metrics
from prometheus_client.core import CounterMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from bedside.observability.histograms import Cells, Histogram
from bedside.observability.schema import STAGES
from bedside.types import Finding
from bedside.version import __version__

OTHER = "other"
"""Label of classes beyond the first hundred of a model: each would cost ten series."""
_MOST_CLASSES = 100

UNKNOWN = "unknown"
"""Label of calls whose model was not resolved."""

REQUEST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
PROBABILITY_BUCKETS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
_STEPS = tuple(float(f"{10 ** (quarter / 4):.3g}") for quarter in range(-8, 21))
VOLUME_BUCKETS = (0.0, *_STEPS)
"""Millilitres: nothing, then four steps a decade from 0.01 to 100,000."""
VALUE_BUCKETS = (*(-step for step in reversed(_STEPS)), 0.0, *_STEPS)
ERROR_BUCKETS = (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64)
STAGE_BUCKETS = (0.0001, 0.001, 0.01, 0.1, 1.0, 10.0, 100.0)


class ModelMetrics:
    """The metrics of one version of one model, labels bound once: looking them up costs more than counting.

    Attributes:
        queue_length: gauge of requests that wait.
        in_flight: gauge of requests being served.
        ready: gauge, 1 while the model would answer.
        load_seconds: gauge of the last load, first forward pass included.
    """

    __slots__ = (
        "_counted",
        "_lock",
        "_model",
        "_of",
        "_predictions",
        "_quantities",
        "_requests",
        "_seconds",
        "_stages",
        "_version",
        "in_flight",
        "load_seconds",
        "queue_length",
        "ready",
    )

    def __init__(self, metrics: "Metrics", model: str, version: str) -> None:
        self._of = metrics
        self._model = model
        self._version = version
        self._lock, self._counted = metrics.lock, metrics.requests
        self._requests: dict[tuple[str, str], tuple[str, ...]] = {}
        self._stages: dict[str, Cells] = {}
        self._predictions: dict[str, Cells] = {}
        self._quantities: dict[tuple[str, str], Cells] = {}
        self._seconds = metrics.request_seconds.labels(model, version)
        self.queue_length = metrics.queue_length.labels(model)
        self.in_flight = metrics.in_flight.labels(model)
        self.ready = metrics.model_ready.labels(model, version)
        self.load_seconds = metrics.model_load_seconds.labels(model, version)

    def finished(
        self,
        transport: str,
        outcome: str,
        seconds: float,
        stages: Mapping[str, float],
        exemplar: dict[str, str] | None = None,
    ) -> None:
        """Count a finished request.

        Args:
            transport: ``rest`` …, our own word.
            outcome: ``success`` or ``failure``.
            seconds: the whole request.
            stages: seconds by stage; names that are not in ``schema.STAGES`` are left out.
            exemplar: ids for the bucket that ``seconds`` falls into: from a slow bucket to its line in the log and to
                its trace. They are our own, or such that cannot be a person's (``request_id.py``).
        """
        labels = self._requests.get((transport, outcome))
        if labels is None:
            labels = self._requests[transport, outcome] = (self._model, self._version, transport, outcome)
        cells = [(self._stages.get(stage) or self._stage(stage), spent) for stage, spent in stages.items()]
        with self._lock:
            self._counted[labels] += 1
            self._seconds.observe(seconds, exemplar)
            for cell, spent in cells:
                if cell is not None:
                    cell.observe(spent)

    def answered(self, findings: Iterable[Finding]) -> None:
        """Count what the rows of one answer say; the names are the bundle's."""
        for predicted, quantities in findings:
            if predicted is not None:
                cells = self._predictions.get(predicted[0]) or self._prediction(predicted[0])
                with self._lock:
                    cells.observe(predicted[1])
            for said in quantities:
                cells = self._quantity(said.kind, said.name)
                with self._lock:
                    cells.observe(said.number)

    def _quantity(self, kind: str, name: str) -> Cells:
        found = self._quantities.get((kind, name))
        if found is None:
            named = name if len(self._quantities) < _MOST_CLASSES else OTHER
            of = self._of.volumes if kind == "volume" else self._of.values
            found = self._quantities[kind, name] = of.labels(self._model, self._version, named)
        return found

    def _prediction(self, name: str) -> Cells:
        named = name if len(self._predictions) < _MOST_CLASSES else OTHER
        cells = self._predictions[name] = self._of.predictions.labels(self._model, self._version, named)
        return cells

    def _stage(self, stage: str) -> Cells | None:
        if stage not in STAGES:
            return None
        cells = self._stages[stage] = self._of.stage_seconds.labels(self._model, stage)
        return cells


class _CountedElsewhere(Collector):
    """A counter whose values, by labels, are kept elsewhere: the library has none, and a gauge is no counter."""

    def __init__(
        self, name: str, description: str, labels: tuple[str, ...], counts: Callable[[], Mapping[tuple[str, ...], int]]
    ) -> None:
        self._about = name, description, None, labels
        self._counts = counts

    def collect(self) -> Iterator[CounterMetricFamily]:
        family = CounterMetricFamily(*self._about)
        for labels, count in self._counts().items():
            family.add_metric(labels, count)
        yield family


class Metrics:
    """One server's metrics, in a registry of their own: two servers in one process do not mix.

    Attributes:
        registry: the registry, for further collectors.
        lock: guards the histograms and ``requests``.
        requests: finished ones by model, version, transport and outcome; under the lock that a call takes anyhow.
    """

    def __init__(self) -> None:
        # Process-wide in the library: the `_created` series double the exposition and nobody graphs them.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.lock = threading.Lock()
        self.registry = CollectorRegistry(auto_describe=True)
        ProcessCollector(registry=self.registry)
        self._requests_and_time()
        self._models_and_server()
        self._of_model: dict[tuple[str, str], ModelMetrics] = {}
        self._refusals: dict[str, Counter] = {}

    def _requests_and_time(self) -> None:
        registry, version = self.registry, ("model", "version")
        self.requests: defaultdict[tuple[str, ...], int] = defaultdict(int)
        labels = (*version, "transport", "outcome")
        registry.register(_CountedElsewhere("bedside_requests", "Finished requests.", labels, self._counted_requests))
        self.request_seconds = Histogram(
            "bedside_request_seconds",
            "From a request's arrival to its answer, in seconds.",
            version,
            REQUEST_BUCKETS,
            self.lock,
        )
        registry.register(self.request_seconds)
        self.stage_seconds = Histogram(
            "bedside_stage_seconds",
            "Time in each stage of the spine, in seconds.",
            ("model", "stage"),
            STAGE_BUCKETS,
            self.lock,
        )
        registry.register(self.stage_seconds)
        self.batch_size = Histogram(
            "bedside_batch_size",
            "Requests that went into one run, of models whose requests may share runs.",
            version,
            BATCH_BUCKETS,
            self.lock,
        )
        registry.register(self.batch_size)
        # Sums, not events: the log holds no answers, and whose answer it was cannot be told from these.
        self.predictions = Histogram(
            "bedside_prediction_probability",
            "Probability of the class that an answer (JSON) names, by class; its count is how often each was named.",
            (*version, "prediction"),
            PROBABILITY_BUCKETS,
            self.lock,
        )
        registry.register(self.predictions)
        self._quantities_and_truth()
        self.refused = Counter(
            "bedside_refused", "Requests that were refused or failed, by reason.", ("reason",), registry=registry
        )

    def _quantities_and_truth(self) -> None:
        registry, version = self.registry, ("model", "version")
        self.volumes = Histogram(
            "bedside_prediction_volume_ml",
            "Volume of each label of the segmentations answered, in millilitres.",
            (*version, "label"),
            VOLUME_BUCKETS,
            self.lock,
        )
        registry.register(self.volumes)
        self.values = Histogram(
            "bedside_prediction_value",
            "Values answered by regressions, in the model's own unit.",
            (*version, "output"),
            VALUE_BUCKETS,
            self.lock,
        )
        registry.register(self.values)
        self.drift = Gauge(
            "bedside_prediction_drift",
            "Population stability index of the last window of answers against the model's first ones.",
            (*version, "kind", "name"),
            registry=registry,
        )
        self.shortfall = Gauge(
            "bedside_truth_shortfall_ratio",
            "How far the accuracy or a sensitivity of the last truths is beyond chance below the expected one; else 0.",
            (*version, "measure", "name"),
            registry=registry,
        )
        self.excess = Gauge(
            "bedside_truth_excess_ratio",
            "Part of a volume's or value's mean error in the last truths that is beyond chance and the expected one.",
            (*version, "kind", "name"),
            registry=registry,
        )
        self.truths = Counter(
            "bedside_truths",
            "Truths that came for answers that named a class.",
            (*version, "prediction", "truth", "correct"),
            registry=registry,
        )
        self.truth_errors = Histogram(
            "bedside_truth_absolute_error",
            "How far volumes (in millilitres) and values were from the truth that came for them.",
            (*version, "kind", "name"),
            ERROR_BUCKETS,
            self.lock,
        )
        registry.register(self.truth_errors)

    def _models_and_server(self) -> None:
        registry, version = self.registry, ("model", "version")
        self.queue_length = Gauge("bedside_queue_length", "Requests that wait.", ("model",), registry=registry)
        self.in_flight = Gauge("bedside_in_flight", "Requests being served.", ("model",), registry=registry)
        self.model_ready = Gauge("bedside_model_ready", "1 while it would answer.", version, registry=registry)
        self.model_load_seconds = Gauge(
            "bedside_model_load_seconds",
            "Last load, first forward pass included, in seconds.",
            version,
            registry=registry,
        )
        self.crashes = Counter(
            "bedside_model_crashes", "Model processes that ended by themselves.", ("model",), registry=registry
        )
        self.golden_cases = Counter(
            "bedside_golden_cases", "Golden cases run at load, by outcome.", (*version, "outcome"), registry=registry
        )
        self.memory_capacity = Gauge(
            "bedside_memory_capacity_bytes", "Memory for running requests, beside loaded models.", registry=registry
        )
        self.memory_reserved = Gauge(
            "bedside_memory_reserved_bytes", "Forecast of the memory of requests that run.", registry=registry
        )
        self.process_starts = Counter(
            "bedside_model_process_starts",
            "Model processes that were started, restarts included.",
            ("model",),
            registry=registry,
        )
        self.waiting_jobs = Gauge(
            "bedside_waiting_jobs", "Jobs that wait and could run here, of all replicas.", registry=registry
        )
        self.unaccounted = Counter("bedside_unaccounted_requests", "Calls whose account failed.", registry=registry)
        build = Gauge("bedside_build_info", "Version of Bedside; always 1.", ("version",), registry=registry)
        build.labels(__version__).set(1)

    def for_model(self, model: str, version: str) -> ModelMetrics:
        """Return a model's metrics, made at the first call.

        ``model`` and ``version`` must be those of a served bundle; both empty for calls that named none we know.
        """
        key = (model, version)
        bound = self._of_model.get(key)
        if bound is None:
            bound = self._of_model[key] = ModelMetrics(self, model or UNKNOWN, version or UNKNOWN)
        return bound

    def count_run(self, model: str, version: str, size: int) -> None:
        """Count a run of a served model that ``size`` requests share."""
        cells = self.batch_size.labels(model, version)
        with self.lock:
            cells.observe(size)

    def refusal(self, reason: str) -> Counter:
        """Return the counter of one reason: a slug of ``accounting.slug``."""
        counter = self._refusals.get(reason)
        if counter is None:
            counter = self._refusals[reason] = self.refused.labels(reason)
        return counter

    def show_memory(self, capacity: Callable[[], float], reserved: Callable[[], float]) -> None:
        """Show the memory that there is for requests, and what those that run are forecast to take."""
        self.memory_capacity.set_function(capacity)
        self.memory_reserved.set_function(reserved)

    def show_waiting_jobs(self, waiting: Callable[[], float]) -> None:
        """Show how many jobs wait that could run here."""
        self.waiting_jobs.set_function(waiting)

    def count_lost_predictions(self, lost: Callable[[], int]) -> None:
        """Show how many predictions no truth will find; call it once."""
        self._count("bedside_lost_predictions", "Predictions that found no room on their way to the database.", lost)

    def count_lost_lines(self, lost_lines: Callable[[], int]) -> None:
        """Show how many log lines were lost; call it once."""
        self._count("bedside_lost_log_lines", "Log lines that could not be written.", lost_lines)

    def count_lost_records(self, lost_records: Callable[[], int]) -> None:
        """Show how many audit records were lost; call it once."""
        self._count("bedside_lost_audit_records", "Audit records that found no room.", lost_records)

    def show_shipping(self, shipped: Callable[[], int], refused: Callable[[], int], waiting: Callable[[], int]) -> None:
        """Show what becomes of the lines that go straight to Elasticsearch; call it once."""
        self._count("bedside_shipped_log_lines", "Log lines that Elasticsearch has taken.", shipped)
        self._count("bedside_refused_log_lines", "Log lines that Elasticsearch will never take.", refused)
        spooled = Gauge("bedside_spooled_log_lines", "Log lines that wait in the spool.", registry=self.registry)
        spooled.set_function(waiting)

    def show_audit_shipping(
        self,
        shipped: Callable[[], int],
        refused: Callable[[], int],
        missed: Callable[[], int],
        waiting: Callable[[], int],
    ) -> None:
        """Show what becomes of the audit records that go straight to Elasticsearch; call it once."""
        self._count("bedside_shipped_audit_records", "Audit records that Elasticsearch has taken.", shipped)
        self._count("bedside_refused_audit_records", "Audit records that Elasticsearch will never take.", refused)
        self._count(
            "bedside_missed_audit_records", "Audit records that were removed before Elasticsearch had them.", missed
        )
        text = "Size of the audit trail that Elasticsearch does not have yet."
        Gauge("bedside_waiting_audit_bytes", text, registry=self.registry).set_function(waiting)

    def show_spans(self, sent: Callable[[], int], lost: Callable[[], int]) -> None:
        """Show what becomes of the spans that go to a collector; call it once."""
        self._count("bedside_sent_spans", "Spans that the collector has taken.", sent)
        self._count("bedside_lost_spans", "Spans that found no room or no collector that took them.", lost)

    def _count(self, name: str, documentation: str, count: Callable[[], int]) -> None:
        self.registry.register(_CountedElsewhere(name, documentation, (), lambda: {(): count()}))

    def _counted_requests(self) -> dict[tuple[str, ...], int]:
        with self.lock:
            return dict(self.requests)

    def expose(self, accept: str) -> tuple[bytes, str]:
        """Return the exposition and its media type as the scraper's ``Accept`` asks for it."""
        encoder, media_type = choose_encoder(accept)
        return encoder(self.registry), media_type
