"""What happens to models: loaded, failed, unloaded, crashed; one log event and the gauges for each change."""

from collections.abc import Mapping, Sequence

from bedside.observability.events import Event
from bedside.observability.logging import get_logger
from bedside.observability.metrics import Metrics

_EVENTS = {
    "LOADING": Event.MODEL_LOADING,
    "READY": Event.MODEL_READY,
    "UNAVAILABLE": Event.MODEL_LOAD_FAILED,
    "UNLOADED": Event.MODEL_UNLOADED,
}


class ModelObserver:
    """Logs and counts what happens to models. Make it after ``logging.configure``."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._log = get_logger("bedside.models").bind()

    def changed(self, model: tuple[str, str, str], state: str, seconds: float, shims: Sequence[str]) -> None:
        """Tell that a model is in another state; why it failed is in the repository's index, not in the log.

        Args:
            model: its name, version and digest; no digest while nothing has read the bundle.
            state: ``LOADING``, ``READY``, ``UNAVAILABLE`` or ``UNLOADED``.
            seconds: how long its last load took.
            shims: names of what the compatibility layer changed for it.
        """
        name, version, digest = model
        ready = state == "READY"
        metrics = self._metrics.for_model(name, version)
        metrics.ready.set(1 if ready else 0)
        load_ms = changed = None
        if ready:
            metrics.load_seconds.set(seconds)
            load_ms = round(seconds * 1e3, 3)
            changed = "+".join(shims) or None
        log = self._log.error if state == "UNAVAILABLE" else self._log.info
        log(_EVENTS[state], model=name, version=version, digest=digest or None, load_ms=load_ms, shims=changed)

    def golden(self, model: tuple[str, str, str], counts: Mapping[str, int], seconds: float) -> None:
        """Tell how the golden cases of a bundle went: ``model`` is name, version and digest, ``counts`` by outcome."""
        name, version, digest = model
        for outcome, count in counts.items():
            self._metrics.golden_cases.labels(name, version, outcome).inc(count)
        if not sum(counts.values()):
            return
        told = {"model": name, "version": version, "digest": digest, "seconds": seconds, **counts}
        if counts["failed"]:
            self._log.error(Event.GOLDEN_CASES_FAILED, **told)
        else:
            self._log.info(Event.GOLDEN_CASES_PASSED, **told)

    def acceleration_dropped(self, model: tuple[str, str, str], acceleration: str) -> None:
        """Tell that a network no longer runs in a quicker form: ``model`` is name, version and digest."""
        name, version, digest = model
        self._log.warning(
            Event.ACCELERATION_DROPPED, model=name, version=version, digest=digest, acceleration=acceleration
        )

    def runs_inline(self, model: tuple[str, str, str], record_seconds: float) -> None:
        """Tell that a bundle runs on the event loop: ``model`` is name, version and digest."""
        self._execution(model, "inline", record_seconds)

    def not_inline(self, model: tuple[str, str, str], why: str, record_seconds: float | None) -> None:
        """Tell that a bundle that asks for the event loop runs in a process of its own, and why."""
        self._execution(model, "process", record_seconds, why)

    def _execution(
        self, model: tuple[str, str, str], execution: str, record_seconds: float | None, why: str | None = None
    ) -> None:
        name, version, digest = model
        record_ms = None if record_seconds is None else round(record_seconds * 1e3, 3)
        told = {"model": name, "version": version, "digest": digest, "execution": execution}
        self._log.info(Event.MODEL_EXECUTION_CHOSEN, **told, record_ms=record_ms, why_process=why)

    def process_started(
        self,
        name: str,
        version: str,
        layers: Sequence[str],
        *,
        sharing_size: int,
        sharing_gain: float,
        why_alone: str,
        acceleration: str,
        why_eager: str,
    ) -> None:
        """Tell that a process holds the model, what confines it, how requests share its runs, and how it runs.

        What confines it is a keyword, for alerts on what is missing.
        """
        self._metrics.process_starts.labels(name).inc()
        sandbox = "+".join(layers) or "none"
        self._log.info(
            Event.MODEL_PROCESS_STARTED,
            model=name,
            version=version,
            sandbox=sandbox,
            sharing_size=sharing_size,
            sharing_gain=sharing_gain or None,
            why_alone=why_alone or None,
            acceleration=acceleration,
            why_eager=why_eager or None,
        )

    def crashed(self, name: str, version: str, exit_code: int | None) -> None:
        """Tell that a model's process ended by itself; ``exit_code`` is negative for signals."""
        self._metrics.crashes.labels(name).inc()
        self._log.error(Event.MODEL_PROCESS_CRASHED, model=name, version=version, exit_code=exit_code)
