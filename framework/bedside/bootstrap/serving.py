"""The server, from its settings to its end."""

import gc
import secrets
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace

from bedside.bootstrap.doors import add_doors, end, listening
from bedside.bootstrap.models import make_repository, make_watcher
from bedside.bootstrap.monitoring import Monitoring
from bedside.bootstrap.work import make_jobs, make_references, open_database
from bedside.codecs import Answers, Codecs
from bedside.dataplane.auditing import Auditor
from bedside.dataplane.gate import Gate
from bedside.dataplane.inference import DataPlane
from bedside.dataplane.lifecycle import Lifecycle
from bedside.errors import ConfigurationError
from bedside.interfaces import Authenticator, BundleSource, CallSink
from bedside.observability.accounting import Accountant
from bedside.observability.audit import AuditTrail
from bedside.observability.events import Event
from bedside.observability.logging import get_logger
from bedside.observability.metrics import Metrics
from bedside.observability.otlp import open_telemetry
from bedside.observability.rendering import Service
from bedside.observability.shipping import open_log, open_trail
from bedside.registry.finding import Finder
from bedside.registry.readiness import require_service
from bedside.registry.reporting import SourceReport
from bedside.registry.repository import Repository
from bedside.runtime.staging import Staging
from bedside.security.authenticator import TokenAuthenticator
from bedside.security.embedded import EmbeddedAuthenticator, EmbeddedIssuer
from bedside.security.key_file import load_or_create_secret
from bedside.security.oidc import OidcAuthenticator
from bedside.security.quota import CallerQuota
from bedside.security.scopes import authorise_admin, authorise_inference, authorise_listing
from bedside.settings import Settings
from bedside.transports.background import Jobs
from bedside.transports.rest import server
from bedside.transports.rest.app import create_app
from bedside.transports.rest.parts import Parts
from bedside.version import __version__


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
    ending.callback(end, log)
    if settings.audit.ships(settings.log.sink):
        ending.callback(open_trail(settings, metrics).close)
    audit = make_audit(settings, metrics)
    if audit is not None:
        ending.callback(audit.close)  # before what ships it, which so has its end
    events = get_logger("bedside.server")
    staging = ending.enter_context(closing(Staging(settings.runtime.staging_dir)))
    callers = limited(authenticator := make_authenticator(settings), settings)
    finder = Finder(sources, SourceReport(sources, announce), model_name)
    repository = make_repository(settings, finder, staging, metrics, announce, audit)
    auditor = Auditor(audit, repository)
    watcher = make_watcher(settings, repository)
    tracer = open_telemetry(settings, metrics, ending)
    accountant = Accountant(metrics, _pseudonym_key(settings), log, tracer)
    engine = open_database(settings)
    monitoring = ending.enter_context(Monitoring(settings.monitoring, engine, repository, metrics))
    dataplane = make_dataplane(settings, callers, repository, monitoring.sink(accountant), auditor)
    references, uploads = make_references(settings, accountant.begin)
    jobs = make_jobs(settings, engine, repository, dataplane, references, tracer, metrics)

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
    on_listening = listening(events, sources, announce)
    parts = make_parts(settings, lifecycle, callers, repository, dataplane, metrics, jobs, monitoring)
    parts = replace(parts, tell_redrive=accountant.redriven, references=references, uploads=uploads, auditor=auditor)
    add_doors(lifecycle, parts, on_listening)
    server.serve(create_app(parts), settings, lifecycle, on_listening=on_listening)


async def _start(authenticator: TokenAuthenticator, repository: Repository) -> None:
    if isinstance(authenticator, OidcAuthenticator):
        await authenticator.prefetch()
    await repository.rescan()
    # Half a million objects of torch and MONAI stay for good: a full collection would walk them all, and stop the
    # event loop for a tenth of a second.
    gc.collect()
    gc.freeze()


def make_audit(settings: Settings, metrics: Metrics) -> AuditTrail | None:
    """Return the audit trail, None where it is off. Raises ConfigurationError."""
    if not settings.audit.enabled:
        return None
    audit, state_dir = settings.audit, settings.runtime.state_dir
    key = audit.secret or load_or_create_secret(audit.key_file_in(state_dir), "audit.key_file")
    trail = AuditTrail(audit.folder_in(state_dir), key, audit, Service(settings.service_name, settings.env))
    metrics.count_lost_records(lambda: trail.lost_records)
    return trail


def make_dataplane(
    settings: Settings,
    authenticator: Authenticator,
    repository: Repository,
    sink: CallSink,
    auditor: Auditor | None = None,
) -> DataPlane:
    """Return the spine with the stages that this server uses."""
    return DataPlane(
        authenticator=authenticator,
        authorise=authorise_inference,
        repository=repository,
        codec=Codecs(settings.limits),
        encoder=Answers(watches=settings.monitoring.enabled),
        sink=sink,
        limits=settings.limits,
        auditor=auditor,
    )


def make_parts(
    settings: Settings,
    lifecycle: Lifecycle,
    authenticator: Authenticator,
    repository: Repository,
    dataplane: DataPlane,
    metrics: Metrics,
    jobs: Jobs,
    monitoring: Monitoring,
) -> Parts:
    """Return what the REST transport is built from."""
    return Parts(
        dataplane=dataplane,
        repository=repository,
        gate=Gate(authenticator.authenticate, authorise_inference, authorise_admin, authorise_listing),
        render_metrics=metrics.expose,
        settings=settings,
        version=__version__,
        lifecycle=lifecycle,
        jobs=jobs.desk,
        wake_jobs=jobs.lane.wake,
        outbox=jobs.outbox,
        truth=monitoring.desk,
        reference=monitoring.references,
    )


def make_authenticator(settings: Settings) -> TokenAuthenticator:
    """Return the authenticator of the configured issuer, or of the embedded one. Raises ConfigurationError."""
    return OidcAuthenticator(settings.auth) if settings.auth.issuer else EmbeddedAuthenticator(settings)


def limited(authenticator: Authenticator, settings: Settings) -> Authenticator:
    """Return what tells who calls, and lets nobody call more often than the site allows."""
    most = settings.limits.caller_per_minute
    return CallerQuota(authenticator, most) if most else authenticator


def mint_token(settings: Settings, *, subject: str, scopes: Sequence[str], seconds: int) -> str:
    """Return a token of the embedded issuer.

    Raises:
        ConfigurationError: another issuer is configured, or this is production.
    """
    if settings.auth.issuer:
        raise ConfigurationError("auth.issuer is set: get tokens from that issuer", field="auth.issuer")
    return EmbeddedIssuer(settings).mint(subject, scopes, seconds)


def _pseudonym_key(settings: Settings) -> bytes:
    secret = settings.log.pseudonym_key
    return secrets.token_bytes(32) if secret is None else secret.get_secret_value().encode()
