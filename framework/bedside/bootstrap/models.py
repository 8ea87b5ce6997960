"""The models to serve: how they are found, admitted, loaded, checked and run."""

from collections.abc import Callable, Sequence
from functools import partial

from bedside.batching.adaptive import AdaptiveBatcher
from bedside.batching.bounded import BoundedExecutor
from bedside.bundle.folder import BundleFolder
from bedside.bundle.vetting import may_run_inline, read_site_policy
from bedside.codecs import Codecs
from bedside.interfaces import Executor
from bedside.observability.audit import AuditTrail
from bedside.observability.events import Event
from bedside.observability.frames import safe_frames
from bedside.observability.logging import get_logger
from bedside.observability.metrics import Metrics
from bedside.observability.models import ModelObserver
from bedside.registry.admission import Admission, AdmissionLog
from bedside.registry.finding import Finder
from bedside.registry.golden import GoldenCheck, GoldenResult, outcomes
from bedside.registry.loading import Loader
from bedside.registry.reporting import ExecutorGauges
from bedside.registry.repository import Repository, Version
from bedside.registry.watching import Watcher
from bedside.runtime.facts import LoadedFacts
from bedside.runtime.inline import InlineExecutor
from bedside.runtime.memory import MemoryBudget, memory_limit
from bedside.runtime.process import ProcessEvents, ProcessExecutor
from bedside.runtime.staging import Staging
from bedside.settings import Settings


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
    gauges = ExecutorGauges(metrics)

    def on_change(version: Version) -> None:
        observer.changed(version)
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

    def new_executor(folder: BundleFolder) -> Executor:
        on_run = partial(metrics.count_run, folder.name, folder.metadata.version)
        executor = make_executor(folder, settings, staging, events, budget, on_run)
        if isinstance(executor, BoundedExecutor):
            gauges.watch(folder.name, executor)
        return executor

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


def make_executor(
    folder: BundleFolder,
    settings: Settings,
    staging: Staging,
    events: ProcessEvents,
    budget: MemoryBudget,
    on_run: Callable[[int], None],
) -> Executor:
    """Choose how a bundle runs: on the event loop where it asks for it and may, else in processes of its own."""
    if folder.policy.execution == "inline" and may_run_inline(folder):
        return InlineExecutor(folder, settings.runtime, staging)
    runtime = settings.runtime
    alone = ProcessExecutor(folder, runtime, staging, events, budget)
    batcher = AdaptiveBatcher(alone, budget_ms=runtime.batch_budget_ms, on_run=on_run)
    return BoundedExecutor(batcher, queue_length=settings.limits.queue_length)


def make_watcher(settings: Settings, repository: Repository) -> Watcher:
    """Return who looks at the sources again."""
    events = get_logger("bedside.registry")

    def on_error(error: Exception) -> None:
        events.error(Event.RESCAN_FAILED, error_type=type(error).__name__, frames=safe_frames(error))

    return Watcher(lambda settled: repository.rescan(settled=settled), settings.registry.poll_seconds, on_error)
