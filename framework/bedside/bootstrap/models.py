"""The models to serve: how they are found, admitted, loaded, checked and run."""

from collections.abc import Callable, Sequence
from functools import partial

from bedside.batching.adaptive import AdaptiveBatcher
from bedside.batching.bounded import BoundedExecutor
from bedside.bundle.folder import BundleFolder
from bedside.bundle.vetting import may_run_inline, read_site_policy
from bedside.codecs import Codecs
from bedside.interfaces import Executor, NotInline
from bedside.observability.audit import AuditTrail
from bedside.observability.events import Event
from bedside.observability.frames import safe_frames
from bedside.observability.logging import get_logger
from bedside.observability.metrics import Metrics
from bedside.observability.models import ModelObserver
from bedside.registry.admission import Admission, AdmissionLog
from bedside.registry.finding import Finder
from bedside.registry.golden import GoldenCheck, GoldenResult, outcomes
from bedside.registry.loading import Loader, Model
from bedside.registry.reporting import ExecutorGauges
from bedside.registry.repository import Repository, Version
from bedside.registry.watching import Watcher
from bedside.runtime.facts import LoadedFacts
from bedside.runtime.inline import InlineExecutor
from bedside.runtime.memory import MemoryBudget, memory_limit
from bedside.runtime.process import ProcessEvents, ProcessExecutor
from bedside.runtime.staging import Staging
from bedside.settings import RuntimeSettings, Settings


def make_repository(
    settings: Settings,
    finder: Finder,
    staging: Staging,
    metrics: Metrics,
    announce: Callable[[str], None],
    audit: AuditTrail | None = None,
) -> Repository:
    """Return the models to serve, none of them found or loaded yet."""
    observer = ModelObserver(metrics)

    def on_change(version: Version) -> None:
        model = version.name, version.version, version.digest
        observer.changed(model, version.state, version.seconds, version.shims)
        new_executor.watch(version.current)
        if version.reason:
            announce(f"{version.name} {version.version} could not be loaded: {version.reason}")
        elif version.state == "READY":
            announce(f"{version.name} {version.version} is ready")

    def on_golden(folder: BundleFolder, results: Sequence[GoldenResult]) -> None:
        seconds = sum(result.seconds for result in results)
        observer.golden((folder.name, folder.metadata.version, folder.digest), outcomes(results), seconds)

    def on_fallback(folder: BundleFolder, left: str) -> None:
        observer.acceleration_dropped((folder.name, folder.metadata.version, folder.digest), left)
        announce(f"{folder.name} {folder.metadata.version} runs as PyTorch runs it: its golden cases refuse {left}")

    events = _Processes(observer)
    budget = MemoryBudget(memory_limit(settings.runtime.memory_limit_mib))
    metrics.show_memory(lambda: budget.capacity, lambda: budget.reserved)

    new_executor = _Executors(settings, staging, metrics, observer, events, budget, announce)
    told = AdmissionLog(settings.admission.mode, audit)
    admission = Admission(settings.admission, read_site_policy(settings.admission.policy_file), told)
    check = GoldenCheck(settings.registry, Codecs(settings.limits), on_golden, on_fallback)
    loader = Loader(admission.admitted, new_executor, check)
    pins, ready_when = settings.registry.pins, settings.server.ready_when
    repository = Repository(finder.find, loader, on_change, pins=pins, ready_when=ready_when)
    events.repository = repository
    return repository


class _Processes(ProcessEvents):
    """Tells the log, the metrics and the repository what happens to model processes."""

    def __init__(self, observer: ModelObserver) -> None:
        self._observer = observer
        self.repository: Repository | None = None

    def started(self, folder: BundleFolder, facts: LoadedFacts) -> None:
        """Tell the log what confines the process, how requests share its runs, and how its network runs."""
        self._observer.process_started(folder.name, folder.metadata.version, facts.layers, **facts.told())

    def crashed(self, folder: BundleFolder, exit_code: int | None) -> None:
        """Tell the log and the metrics."""
        self._observer.crashed(folder.name, folder.metadata.version, exit_code)

    def gave_up(self, folder: BundleFolder, reason: str) -> None:
        """Tell the repository, whose index shows the reason."""
        if self.repository is not None:
            self.repository.failed(folder, reason)


class _Executors:
    """Makes what runs a bundle: on the event loop where it asks for that and may, else in processes of its own."""

    def __init__(
        self,
        settings: Settings,
        staging: Staging,
        metrics: Metrics,
        observer: ModelObserver,
        events: ProcessEvents,
        budget: MemoryBudget,
        announce: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._staging = staging
        self._metrics = metrics
        self._observer = observer
        self._events = events
        self._budget = budget
        self._announce = announce
        self._gauges = ExecutorGauges(metrics)

    def __call__(self, folder: BundleFolder, not_inline: NotInline | None = None) -> Executor:
        """Return an executor; ``not_inline`` tells why the one that was made before is not to run it."""
        runtime = self._settings.runtime
        if folder.policy.execution == "inline":
            model = folder.name, folder.metadata.version, folder.digest
            not_inline = not_inline or _why_not_inline(folder, runtime)
            if not_inline is None:
                return InlineExecutor(folder, runtime, self._staging, partial(self._observer.runs_inline, model))
            self._observer.not_inline(model, not_inline.why, not_inline.record_seconds)
            self._announce(f"{folder.name} {folder.metadata.version} runs in a process of its own: {not_inline.why}")
        on_run = partial(self._metrics.count_run, folder.name, folder.metadata.version)
        alone = ProcessExecutor(folder, runtime, self._staging, self._events, self._budget)
        batcher = AdaptiveBatcher(alone, budget_ms=runtime.batch_budget_ms, on_run=on_run)
        executor = BoundedExecutor(batcher, queue_length=self._settings.limits.queue_length)
        self._gauges.watch(folder.name, executor)
        return executor

    def watch(self, model: Model | None) -> None:
        """Show how much a model has to do that runs on the event loop; the others are shown from the start."""
        if model is not None and isinstance(model.executor, InlineExecutor):
            self._gauges.watch_inline(model)


def _why_not_inline(folder: BundleFolder, settings: RuntimeSettings) -> NotInline | None:
    """Tell why a bundle may not run on the event loop, as far as that is known before it is loaded."""
    if settings.inline == "off":
        return NotInline("switched_off")
    return None if may_run_inline(folder) else NotInline("not_configuration")


def make_watcher(settings: Settings, repository: Repository) -> Watcher:
    """Return who looks at the sources again."""
    events = get_logger("bedside.registry")

    def on_error(error: Exception) -> None:
        events.error(Event.RESCAN_FAILED, error_type=type(error).__name__, frames=safe_frames(error))

    return Watcher(lambda settled: repository.rescan(settled=settled), settings.registry.poll_seconds, on_error)
