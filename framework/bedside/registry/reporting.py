"""What the registry tells the log, the metrics and the person at the terminal."""

from collections.abc import Callable, Sequence
from typing import Protocol
from weakref import WeakSet

from bedside.errors import BedsideError
from bedside.interfaces import BundleSource
from bedside.observability.events import Event
from bedside.observability.logging import get_logger
from bedside.observability.metrics import Metrics
from bedside.registry.loading import Model


class SourceReport:
    """Tells of sources that do not answer. Make it after ``logging.configure``."""

    def __init__(self, sources: Sequence[BundleSource], announce: Callable[[str], None]) -> None:
        self._sources = sources
        self._announce = announce
        self._log = get_logger("bedside.registry").bind()

    def __call__(self, source: BundleSource, error: BedsideError) -> None:
        """Write one event: the number of the source, for its location may hold a person's name."""
        number = next(number for number, one in enumerate(self._sources, 1) if one is source)
        self._log.error(Event.SOURCE_UNAVAILABLE, source=number, error_type=type(error).__name__)
        self._announce(f"{source.location}: {error.detail}")


class Queue(Protocol):
    """What is gauged of an executor; ``batching.bounded.BoundedExecutor`` has it."""

    @property
    def running(self) -> int:
        """Return how many items run."""
        ...

    @property
    def waiting(self) -> int:
        """Return how many items wait."""
        ...


class ExecutorGauges:
    """Shows how much a model has to do, summed over its versions and over copies that are being replaced."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._watched: dict[str, tuple[WeakSet[Queue], WeakSet[Model]]] = {}

    def watch(self, model: str, queue: Queue) -> None:
        """Count a new executor in, until nobody uses it any more."""
        self._of(model)[0].add(queue)

    def watch_inline(self, copy: Model) -> None:
        """Count in a copy that runs on the event loop: it has no queue, but it knows the calls that hold it."""
        self._of(copy.name)[1].add(copy)

    def _of(self, model: str) -> tuple[WeakSet[Queue], WeakSet[Model]]:
        if model not in self._watched:
            queues, copies = self._watched[model] = WeakSet[Queue](), WeakSet[Model]()
            self._metrics.in_flight.labels(model).set_function(
                lambda: sum(queue.running for queue in queues) + sum(copy.calls for copy in copies)
            )
            self._metrics.queue_length.labels(model).set_function(lambda: sum(queue.waiting for queue in queues))
        return self._watched[model]
