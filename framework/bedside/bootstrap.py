"""The one place that builds things and puts them together; nothing else knows which implementation is used."""

import gc
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Literal
from urllib.parse import urlsplit

from bedside.batching.bounded import BoundedExecutor
from bedside.bundle.contract import Contract
from bedside.bundle.folder import BundleFolder
from bedside.bundle.golden import GoldenCase, PackageMissing, read_golden
from bedside.bundle.validation import validate
from bedside.bundle.vetting import pure_configuration, read_site_policy
from bedside.codecs import Answers, Codecs
from bedside.dataplane.gate import Gate
from bedside.dataplane.inference import DataPlane
from bedside.dataplane.lifecycle import Door, Lifecycle
from bedside.errors import BedsideError, ConfigurationError
from bedside.interfaces import Executor
from bedside.observability.accounting import Accountant
from bedside.observability.events import Event
from bedside.observability.logging import EventLogger, Log, configure, get_logger
from bedside.observability.metrics import Metrics
from bedside.observability.models import ModelObserver
from bedside.registry.admission import Admission, AdmissionLog
from bedside.registry.repository import Model, Repository
from bedside.runtime.inline import InlineExecutor
from bedside.runtime.process import ProcessExecutor
from bedside.runtime.staging import Staging
from bedside.security.authenticator import TokenAuthenticator
from bedside.security.embedded import EmbeddedAuthenticator, EmbeddedIssuer
from bedside.security.oidc import OidcAuthenticator
from bedside.security.scopes import authorise_admin, authorise_inference, authorise_listing
from bedside.settings import Settings
from bedside.transports.rest import server
from bedside.transports.rest.app import create_app
from bedside.transports.rest.parts import Parts
from bedside.types import DecodedInput, RawPart, RawRecord
from bedside.version import __version__


@dataclass(frozen=True, slots=True)
class GoldenResult:
    """How one golden case went; ``remarks`` says what differs, or why it was skipped."""

    name: str
    outcome: Literal["passed", "failed", "skipped"]
    seconds: float
    remarks: tuple[str, ...] = ()


async def inspect_bundle(settings: Settings, folder: BundleFolder) -> Contract:
    """Load a bundle in a process of its own, run it once, and return its contract. Raises BundleError."""
    async with _loaded(settings, folder) as (_, contract):
        return contract


async def run_golden_cases(settings: Settings, folder: BundleFolder) -> list[GoldenResult]:
    """Run a bundle's golden cases the way a request would run. Raises BundleError."""
    cases = read_golden(folder.root)
    if not cases:
        return []
    codecs = Codecs(settings.limits)
    async with _loaded(settings, folder) as (executor, contract):
        return [await _golden(case, codecs, executor, contract, settings) for case in cases]


@asynccontextmanager
async def _loaded(settings: Settings, folder: BundleFolder) -> AsyncIterator[tuple[Executor, Contract]]:
    await Admission(settings.admission, read_site_policy(settings.admission.policy_file)).admit(folder)
    staging = Staging(settings.runtime.staging_dir)
    executor = ProcessExecutor(folder, settings.runtime, staging)
    try:
        yield executor, await executor.load()
    finally:
        await executor.close()
        staging.close()


async def _golden(
    case: GoldenCase, codecs: Codecs, executor: Executor, contract: Contract, settings: Settings
) -> GoldenResult:
    begin = perf_counter()
    try:
        raw = case.raw_inputs()
        inputs = validate(contract, [_decode(codecs, contract, item) for item in raw])
        prediction = await executor.run(inputs, timeout_seconds=settings.limits.request_seconds)
    except PackageMissing as missing:
        return GoldenResult(case.name, "skipped", 0.0, (str(missing),))
    except BedsideError as error:
        return GoldenResult(case.name, "failed", perf_counter() - begin, (error.detail,))
    labels = {output.name: output.labels for output in contract.outputs}
    remarks = case.differences({output.name: output for output in prediction.arrays}, labels)
    return GoldenResult(case.name, "failed" if remarks else "passed", perf_counter() - begin, tuple(remarks))


def _decode(codecs: Codecs, contract: Contract, item: RawPart | RawRecord) -> DecodedInput:
    if isinstance(item, RawRecord):
        return codecs.decode_record(item, contract.inputs[0])
    return codecs.decode_part(item, contract.input(item.name or "") or contract.inputs[0])


def mint_token(settings: Settings, *, subject: str, scopes: Sequence[str], seconds: int) -> str:
    """Return a token of the embedded issuer.

    Raises:
        ConfigurationError: another issuer is configured, or this is production.
    """
    if settings.auth.issuer:
        raise ConfigurationError("auth.issuer is set: get tokens from that issuer", field="auth.issuer")
    return EmbeddedIssuer(settings).mint(subject, scopes, seconds)


def serve(settings: Settings, folders: Sequence[BundleFolder], announce: Callable[[str], None]) -> None:
    """Serve bundles until SIGTERM or SIGINT; ``announce`` is told what a person at the terminal wants to know.

    Raises:
        ConfigurationError: the address, the certificate or the issuer cannot be used.
    """
    log, metrics = configure(settings), Metrics()
    metrics.count_lost_lines(lambda: log.lost_lines)
    events = get_logger("bedside.server")
    staging = Staging(settings.runtime.staging_dir)
    authenticator = make_authenticator(settings)
    repository = make_repository(settings, folders, staging, metrics, announce)
    dataplane = make_dataplane(settings, authenticator, repository, log, metrics)

    async def startup() -> None:
        await _start(authenticator, repository)
        events.info(Event.SERVER_READY, models=len(folders))

    async def shutdown() -> None:
        events.info(Event.SERVER_STOPPING)
        await repository.close()
        await dataplane.close()

    lifecycle = Lifecycle(startup, shutdown)

    on_listening = _listening(events, folders, announce)
    parts = Parts(
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
    )
    if settings.server.grpc_port is not None:
        lifecycle.add(_grpc_door(parts, on_listening))
    try:
        server.serve(create_app(parts), settings, lifecycle, on_listening=on_listening)
    finally:
        staging.close()
        events.info(Event.SERVER_STOPPED)
        log.close()


def _listening(
    events: EventLogger, folders: Sequence[BundleFolder], announce: Callable[[str], None]
) -> Callable[[str], None]:
    def on_listening(url: str) -> None:
        address = urlsplit(url)
        transport = "grpc" if address.scheme.startswith("grpc") else "rest"
        place = {"transport": transport, "host": address.hostname, "port": address.port}
        events.info(Event.SERVER_STARTED, **place, models=len(folders))
        loading = f" and loads {', '.join(folder.name for folder in folders)}" if transport == "rest" else ""
        announce(f"Bedside listens on {url}{loading}")

    return on_listening


def _grpc_door(parts: Parts, on_listening: Callable[[str], None]) -> Door:
    # Imported where it is asked for: gRPC costs 15 MB and starts threads.
    from bedside.transports.grpc.parts import Parts as GrpcParts  # noqa: PLC0415
    from bedside.transports.grpc.server import Server  # noqa: PLC0415

    gate = Gate(parts.authenticate, parts.authorise, parts.authorise_admin, parts.authorise_listing)
    shared = (parts.settings, parts.version, parts.lifecycle)
    return Server(GrpcParts(parts.dataplane, parts.repository, gate, *shared), on_listening)


async def _start(authenticator: TokenAuthenticator, repository: Repository) -> None:
    if isinstance(authenticator, OidcAuthenticator):
        await authenticator.prefetch()
    await repository.load_all()
    # Half a million objects of torch and MONAI stay for good: a full collection would walk them all, and stop the
    # event loop for a tenth of a second.
    gc.collect()
    gc.freeze()


def make_dataplane(
    settings: Settings, authenticator: TokenAuthenticator, repository: Repository, log: Log, metrics: Metrics
) -> DataPlane:
    """Return the spine with the stages that this server uses."""
    return DataPlane(
        authenticator=authenticator,
        authorise=authorise_inference,
        repository=repository,
        codec=Codecs(settings.limits),
        encoder=Answers(),
        sink=Accountant(metrics, _pseudonym_key(settings), log),
        limits=settings.limits,
    )


def make_authenticator(settings: Settings) -> TokenAuthenticator:
    """Return the authenticator of the configured issuer, or of the embedded one. Raises ConfigurationError."""
    return OidcAuthenticator(settings.auth) if settings.auth.issuer else EmbeddedAuthenticator(settings)


def make_repository(
    settings: Settings,
    folders: Sequence[BundleFolder],
    staging: Staging,
    metrics: Metrics,
    announce: Callable[[str], None],
) -> Repository:
    """Return the models to serve, none of them loaded yet."""
    observer = ModelObserver(metrics)

    def on_crash(folder: BundleFolder, code: int | None) -> None:
        observer.crashed(folder.name, folder.metadata.version, code)

    def on_change(model: Model) -> None:
        observer.changed(model)
        if model.state == "UNAVAILABLE":
            announce(f"{model.name} could not be loaded: {model.reason}")
        elif model.state == "READY":
            announce(f"{model.name} {model.version} is ready")

    def new_executor(folder: BundleFolder) -> Executor:
        executor = make_executor(folder, settings, staging, on_crash)
        if isinstance(executor, BoundedExecutor):
            gauges = metrics.for_model(folder.name, folder.metadata.version)
            gauges.in_flight.set_function(lambda: executor.running)
            gauges.queue_length.set_function(lambda: executor.waiting)
        return executor

    policy = read_site_policy(settings.admission.policy_file)
    admission = Admission(settings.admission, policy, AdmissionLog(settings.admission.mode))
    return Repository(folders, new_executor, on_change, admission.admit)


def _pseudonym_key(settings: Settings) -> bytes:
    secret = settings.log.pseudonym_key
    return secrets.token_bytes(32) if secret is None else secret.get_secret_value().encode()


def make_executor(
    folder: BundleFolder, settings: Settings, staging: Staging, on_crash: Callable[..., None]
) -> Executor:
    """Choose how a bundle runs: on the event loop where it asks for it and may, else in processes of its own."""
    if folder.policy.execution == "inline" and _may_run_inline(folder):
        return InlineExecutor(folder, settings.runtime, staging)
    runtime = settings.runtime
    return BoundedExecutor(
        ProcessExecutor(folder, runtime, staging, on_crash),
        slots=runtime.workers,
        queue_length=settings.limits.queue_length,
    )


def _may_run_inline(folder: BundleFolder) -> bool:
    # Records have no spatial shape; what touches files or runs code of its own stays behind a process boundary.
    record = all(not tensor.spatial_shape for tensor in folder.metadata.inputs.values())
    return record and bool(folder.metadata.inputs) and pure_configuration(folder)
