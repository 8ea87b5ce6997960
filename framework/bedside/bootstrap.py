"""The one place that builds things and puts them together; nothing else knows which implementation is used."""

import asyncio
import gc
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, closing
from dataclasses import replace
from urllib.parse import urlsplit

from bedside.batching.adaptive import AdaptiveBatcher
from bedside.batching.bounded import BoundedExecutor
from bedside.bundle.contract import Contract
from bedside.bundle.folder import BundleFolder
from bedside.bundle.golden import read_golden
from bedside.bundle.vetting import may_run_inline, read_site_policy
from bedside.codecs import Answers, Codecs
from bedside.dataplane.auditing import Auditor
from bedside.dataplane.gate import Gate
from bedside.dataplane.inference import DataPlane
from bedside.dataplane.lifecycle import Door, Lifecycle, hold_open
from bedside.errors import ConfigurationError, DicomNotInstalled
from bedside.interfaces import BundleSource, Executor
from bedside.jobs.desk import JobDesk
from bedside.jobs.outbox import Outbox
from bedside.jobs.spool import Spool
from bedside.jobs.store import JobStore
from bedside.jobs.tables import connect
from bedside.observability.accounting import Accountant
from bedside.observability.audit import AuditTrail
from bedside.observability.events import Event
from bedside.observability.frames import safe_frames
from bedside.observability.logging import EventLogger, Log, get_logger
from bedside.observability.metrics import Metrics
from bedside.observability.models import ModelObserver
from bedside.observability.rendering import Service
from bedside.observability.shipping import open_log
from bedside.observability.tracing import open_tracer
from bedside.registry.admission import Admission, AdmissionLog
from bedside.registry.finding import Finder
from bedside.registry.golden import GoldenCheck, GoldenResult, outcomes, run_case
from bedside.registry.loading import Loader
from bedside.registry.parity import Comparison, compare_case
from bedside.registry.readiness import require_service
from bedside.registry.reporting import ExecutorGauges, SourceReport
from bedside.registry.repository import Repository, Version
from bedside.registry.tuning import Tuning, tune
from bedside.registry.watching import Watcher
from bedside.runtime.facts import Inspection, LoadedFacts
from bedside.runtime.inline import InlineExecutor
from bedside.runtime.memory import MemoryBudget, memory_limit
from bedside.runtime.process import ProcessEvents, ProcessExecutor
from bedside.runtime.reference import MonaiRun
from bedside.runtime.staging import Staging
from bedside.security.authenticator import TokenAuthenticator
from bedside.security.embedded import EmbeddedAuthenticator, EmbeddedIssuer
from bedside.security.key_file import load_or_create_secret
from bedside.security.oidc import OidcAuthenticator
from bedside.security.scopes import authorise_admin, authorise_inference, authorise_listing, authorise_retrieval
from bedside.settings import Settings
from bedside.transports.background import Jobs
from bedside.transports.dicom.assembly import Assembler
from bedside.transports.dicom.destinations import make_destinations, make_studies
from bedside.transports.dicom.inbox import Inbox
from bedside.transports.folders import Folder
from bedside.transports.intake import StudyIntake
from bedside.transports.jobs.courier import Courier
from bedside.transports.jobs.lane import JobLane
from bedside.transports.jobs.work import SpineWork
from bedside.transports.references import NONE, DicomwebReference, Fetch, FileReference, Reference, References
from bedside.transports.rest import server
from bedside.transports.rest.app import create_app
from bedside.transports.rest.parts import Parts
from bedside.version import __version__


async def inspect_bundle(settings: Settings, folder: BundleFolder) -> Inspection:
    """Load a bundle in a process of its own and run it. Raises BundleError."""
    async with loaded(settings, folder) as (executor, contract):
        return Inspection(contract, executor.layers, executor.memory, executor.batches, executor.acceleration)


async def run_golden_cases(
    settings: Settings, folder: BundleFolder, *, with_monai: bool = True
) -> list[tuple[GoldenResult, Comparison | None]]:
    """Run a bundle's golden cases the way a request would run, and the way MONAI would. Raises BundleError."""
    cases = read_golden(folder.root)
    if not cases:
        return []
    codecs, seconds = Codecs(settings.limits), settings.limits.request_seconds
    async with loaded(settings, folder) as (executor, contract):
        results = [await run_case(case, codecs, executor, contract, seconds=seconds) for case in cases]
        if not with_monai:
            return [(result, None) for result in results]
        with closing(Staging(settings.runtime.staging_dir)) as staging:
            reference = MonaiRun(folder, contract, settings.runtime, staging)
            return [
                (result, await compare_case(case, codecs, executor, contract, reference, seconds=seconds))
                for case, result in zip(cases, results, strict=True)
            ]


async def tune_bundle(settings: Settings, folder: BundleFolder, rounds: int) -> Tuning:
    """Measure the ways of running a bundle's network beside PyTorch's own. Raises BundleError."""

    def load(name: str) -> AbstractAsyncContextManager[tuple[ProcessExecutor, Contract]]:
        asked = settings.runtime.model_copy(update={"acceleration": name, "forecast_seconds": 0, "batch_size": 1})
        return loaded(settings.model_copy(update={"runtime": asked}), folder)

    return await tune(folder, load, Codecs(settings.limits), rounds=rounds, seconds=settings.limits.request_seconds)


@asynccontextmanager
async def loaded(settings: Settings, folder: BundleFolder) -> AsyncIterator[tuple[ProcessExecutor, Contract]]:
    """Admit a bundle and load it in a process of its own, for as long as the block lasts. Raises BundleError."""
    await Admission(settings.admission, read_site_policy(settings.admission.policy_file)).admit(folder)
    staging = Staging(settings.runtime.staging_dir)
    executor = ProcessExecutor(folder, settings.runtime, staging)
    try:
        yield executor, await executor.load()
    finally:
        await executor.close()
        staging.close()


def mint_token(settings: Settings, *, subject: str, scopes: Sequence[str], seconds: int) -> str:
    """Return a token of the embedded issuer.

    Raises:
        ConfigurationError: another issuer is configured, or this is production.
    """
    if settings.auth.issuer:
        raise ConfigurationError("auth.issuer is set: get tokens from that issuer", field="auth.issuer")
    return EmbeddedIssuer(settings).mint(subject, scopes, seconds)


def serve(
    settings: Settings, sources: Sequence[BundleSource], announce: Callable[[str], None], model_name: str | None = None
) -> None:
    """Serve bundles until SIGTERM or SIGINT; ``announce`` is told what a person at the terminal wants to know.

    With ``model_name`` the one model that the sources hold is served under that name.

    Raises:
        ConfigurationError: the address, the certificate or the issuer cannot be used.
        BundleError: nothing can be served, or with ``registry.strict`` not everything.
    """
    with ExitStack() as ending:
        _serve(settings, sources, announce, model_name, ending)


def _serve(
    settings: Settings,
    sources: Sequence[BundleSource],
    announce: Callable[[str], None],
    model_name: str | None,
    ending: ExitStack,
) -> None:
    # Whatever is opened is closed, also where something after it cannot be made.
    log = open_log(settings, metrics := Metrics())
    ending.callback(_end, log)
    audit = make_audit(settings, metrics)
    if audit is not None:
        ending.callback(audit.close)
    events = get_logger("bedside.server")
    staging = ending.enter_context(closing(Staging(settings.runtime.staging_dir)))
    authenticator = make_authenticator(settings)
    finder = Finder(sources, SourceReport(sources, announce), model_name)
    repository = make_repository(settings, finder, staging, metrics, announce, audit)
    auditor = Auditor(audit, repository)
    watcher = make_watcher(settings, repository)
    tracer = open_tracer(settings)
    if tracer is not None:
        ending.callback(tracer.close)
    accountant = Accountant(metrics, _pseudonym_key(settings), log, tracer)
    dataplane = make_dataplane(settings, authenticator, repository, accountant, auditor)
    references = make_references(settings)
    jobs = make_jobs(settings, repository, dataplane, references)

    async def startup() -> None:
        watcher.start()
        await _start(authenticator, repository)
        require_service(repository, finder, settings.registry)
        jobs.start()
        events.info(Event.SERVER_READY, models=len(repository.index()))

    async def shutdown() -> None:
        events.info(Event.SERVER_STOPPING)
        await watcher.stop()
        await jobs.stop()
        await repository.close()
        await dataplane.close()

    lifecycle = Lifecycle(startup, shutdown)
    on_listening = _listening(events, sources, announce)
    parts = make_parts(settings, lifecycle, authenticator, repository, dataplane, metrics, jobs)
    parts = replace(parts, tell_redrive=accountant.redriven, references=references, auditor=auditor)
    _add_doors(lifecycle, parts, on_listening)
    server.serve(create_app(parts), settings, lifecycle, on_listening=on_listening)


def _end(log: Log) -> None:
    get_logger("bedside.server").info(Event.SERVER_STOPPED)
    log.close()


def make_audit(settings: Settings, metrics: Metrics) -> AuditTrail | None:
    """Return the audit trail, None where it is off. Raises ConfigurationError."""
    if not settings.audit.enabled:
        return None
    audit, state_dir = settings.audit, settings.runtime.state_dir
    key = load_or_create_secret(audit.key_file_in(state_dir), "audit.key_file")
    trail = AuditTrail(audit.folder_in(state_dir), key, audit, Service(settings.service_name, settings.env))
    metrics.count_lost_records(lambda: trail.lost_records)
    return trail


def make_parts(
    settings: Settings,
    lifecycle: Lifecycle,
    authenticator: TokenAuthenticator,
    repository: Repository,
    dataplane: DataPlane,
    metrics: Metrics,
    jobs: Jobs,
) -> Parts:
    """Return what the REST transport is built from."""
    return Parts(
        dataplane=dataplane,
        repository=repository,
        authenticate=authenticator.authenticate,
        authorise=authorise_inference,
        authorise_admin=authorise_admin,
        authorise_listing=authorise_listing,
        render_metrics=metrics.expose,
        settings=settings,
        version=__version__,
        lifecycle=lifecycle,
        jobs=jobs.desk,
        wake_jobs=jobs.lane.wake,
        outbox=jobs.outbox,
    )


def _listening(
    events: EventLogger, sources: Sequence[BundleSource], announce: Callable[[str], None]
) -> Callable[[str], None]:
    def on_listening(url: str) -> None:
        address = urlsplit(url)
        transport = next((name for name in ("grpc", "dicom") if address.scheme.startswith(name)), "rest")
        place = {"transport": transport, "host": address.hostname, "port": address.port}
        events.info(Event.SERVER_STARTED, **place)
        loading = f" and loads {', '.join(source.location for source in sources)}" if transport == "rest" else ""
        announce(f"Bedside listens on {url}{loading}")

    return on_listening


def _add_doors(lifecycle: Lifecycle, parts: Parts, on_listening: Callable[[str], None]) -> None:
    if parts.settings.server.grpc_port is not None:
        lifecycle.add(_grpc_door(parts, on_listening))
    if parts.settings.dicom.port is not None:
        lifecycle.add(_dicom_door(parts.settings, on_listening))


def _grpc_door(parts: Parts, on_listening: Callable[[str], None]) -> Door:
    # Imported where it is asked for: it takes 10 MB of memory.
    from bedside.transports.grpc.parts import Parts as GrpcParts  # noqa: PLC0415
    from bedside.transports.grpc.server import Server  # noqa: PLC0415

    gate = Gate(parts.authenticate, parts.authorise, parts.authorise_admin, parts.authorise_listing)
    shared = (parts.settings, parts.version, parts.lifecycle)
    return Server(GrpcParts(parts.dataplane, parts.repository, gate, *shared, parts.auditor), on_listening)


async def _start(authenticator: TokenAuthenticator, repository: Repository) -> None:
    if isinstance(authenticator, OidcAuthenticator):
        await authenticator.prefetch()
    await repository.rescan()
    # Half a million objects of torch and MONAI stay for good: a full collection would walk them all, and stop the
    # event loop for a tenth of a second.
    gc.collect()
    gc.freeze()


def make_dataplane(
    settings: Settings,
    authenticator: TokenAuthenticator,
    repository: Repository,
    accountant: Accountant,
    auditor: Auditor | None = None,
) -> DataPlane:
    """Return the spine with the stages that this server uses."""
    return DataPlane(
        authenticator=authenticator,
        authorise=authorise_inference,
        repository=repository,
        codec=Codecs(settings.limits),
        encoder=Answers(),
        sink=accountant,
        limits=settings.limits,
        auditor=auditor,
    )


def make_jobs(settings: Settings, repository: Repository, dataplane: DataPlane, references: References = NONE) -> Jobs:
    """Return where jobs are handed in, what runs them here and delivers their results. Raises ConfigurationError."""
    jobs, state_dir = settings.jobs, settings.runtime.state_dir
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    url = f"sqlite:///{state_dir / 'jobs.db'}" if jobs.database is None else jobs.database.get_secret_value()
    engine, spool = connect(url), Spool(jobs.spool_dir or state_dir / "spool")
    store = JobStore(engine)

    def digests() -> list[str]:
        ready = [status for status in repository.index() if status.state == "READY"]
        return [repository.resolve(status.name, status.version).digest for status in ready]

    desk = JobDesk(store, spool, jobs)
    lane = JobLane(store, spool, SpineWork(dataplane, jobs, references), digests, jobs, desk.tidy)
    destinations = make_destinations(settings.dicom, settings.limits)
    # Without destinations there is no courier: it would fail what other replicas can deliver.
    outbox = Outbox(engine)
    courier = Courier(outbox, store, spool, destinations, jobs) if destinations else None
    return Jobs(desk, lane, outbox, courier, _assembler(settings, repository, dataplane, desk, lane))


def _assembler(
    settings: Settings, repository: Repository, dataplane: DataPlane, desk: JobDesk, lane: JobLane
) -> Assembler | None:
    if not settings.dicom.routes:
        return None
    intake = StudyIntake(dataplane, desk, lane.wake, settings.dicom)
    return Assembler(make_inbox(settings), intake, repository.resolve, settings.dicom, settings.jobs.retention_seconds)


def make_references(settings: Settings) -> References:
    """Return what requests may name instead of sending it. Raises ConfigurationError."""
    sources: dict[tuple[type[Reference], str], Fetch] = {
        (DicomwebReference, name): fetch for name, fetch in make_studies(settings).items()
    }
    for name, root in settings.references.folders.items():
        sources[FileReference, name] = Folder(root, settings.limits)
    return References(sources, authorise_retrieval, settings.references.seconds)


def make_inbox(settings: Settings) -> Inbox:
    """Return where received instances lie until they are jobs."""
    folder = settings.dicom.inbox_dir or settings.runtime.state_dir / "inbox"
    return Inbox(Spool(folder), settings.limits, settings.jobs.spool_bytes)


def listen(settings: Settings, announce: Callable[[str], None]) -> None:
    """Receive DICOM until SIGTERM or SIGINT; servers that share the inbox make jobs of it.

    Raises:
        ConfigurationError: the port, the AE titles or the certificate cannot be used.
    """
    if settings.dicom.port is None:
        raise ConfigurationError("no port to listen on: give --port or set dicom.port", field="dicom.port")
    log = open_log(settings, Metrics())
    try:
        asyncio.run(hold_open(_dicom_door(settings, _listening(get_logger("bedside.server"), (), announce))))
    finally:
        _end(log)


def _dicom_door(settings: Settings, on_listening: Callable[[str], None]) -> Door:
    try:
        from bedside.transports.dicom.store_scp import StoreScp  # noqa: PLC0415 - needs an extra
    except ModuleNotFoundError:
        raise DicomNotInstalled("DIMSE needs pip install 'bedside[dicom-network]'", field="dicom.port") from None
    return StoreScp(make_inbox(settings), settings.dicom, on_listening)


def make_authenticator(settings: Settings) -> TokenAuthenticator:
    """Return the authenticator of the configured issuer, or of the embedded one. Raises ConfigurationError."""
    return OidcAuthenticator(settings.auth) if settings.auth.issuer else EmbeddedAuthenticator(settings)


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

    events = _Processes(observer)
    budget = MemoryBudget(memory_limit(settings.runtime.memory_limit_mib))
    metrics.show_memory(lambda: budget.capacity, lambda: budget.reserved)

    def new_executor(folder: BundleFolder) -> Executor:
        executor = make_executor(folder, settings, staging, events, budget)
        if isinstance(executor, BoundedExecutor):
            gauges.watch(folder.name, executor)
        return executor

    told = AdmissionLog(settings.admission.mode, audit)
    admission = Admission(settings.admission, read_site_policy(settings.admission.policy_file), told)
    check = GoldenCheck(settings.registry, Codecs(settings.limits), on_golden)
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


def make_watcher(settings: Settings, repository: Repository) -> Watcher:
    """Return who looks at the sources again."""
    events = get_logger("bedside.registry")

    def on_error(error: Exception) -> None:
        events.error(Event.RESCAN_FAILED, error_type=type(error).__name__, frames=safe_frames(error))

    return Watcher(lambda settled: repository.rescan(settled=settled), settings.registry.poll_seconds, on_error)


def _pseudonym_key(settings: Settings) -> bytes:
    secret = settings.log.pseudonym_key
    return secrets.token_bytes(32) if secret is None else secret.get_secret_value().encode()


def make_executor(
    folder: BundleFolder, settings: Settings, staging: Staging, events: ProcessEvents, budget: MemoryBudget
) -> Executor:
    """Choose how a bundle runs: on the event loop where it asks for it and may, else in processes of its own."""
    if folder.policy.execution == "inline" and may_run_inline(folder):
        return InlineExecutor(folder, settings.runtime, staging)
    runtime = settings.runtime
    return BoundedExecutor(
        AdaptiveBatcher(ProcessExecutor(folder, runtime, staging, events, budget), budget_ms=runtime.batch_budget_ms),
        queue_length=settings.limits.queue_length,
    )
