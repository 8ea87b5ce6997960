"""Work that outlives its request: jobs, and what they read and deliver."""

from collections.abc import Callable

from bedside.dataplane.call import Call
from bedside.dataplane.inference import DataPlane
from bedside.errors import ConfigurationError
from bedside.jobs.desk import JobDesk
from bedside.jobs.outbox import Outbox
from bedside.jobs.spool import Spool
from bedside.jobs.store import JobStore
from bedside.jobs.tables import Database, connect
from bedside.observability.metrics import Metrics
from bedside.observability.traceparent import TraceParent
from bedside.observability.tracing import Tracer
from bedside.registry.repository import Repository
from bedside.security.scopes import authorise_retrieval
from bedside.settings import Settings
from bedside.transports.background import Jobs
from bedside.transports.buckets import Bucket
from bedside.transports.dicom.assembly import Assembler
from bedside.transports.dicom.destinations import make_destinations, make_studies
from bedside.transports.dicom.inbox import Inbox
from bedside.transports.folders import Folder
from bedside.transports.intake import StudyIntake
from bedside.transports.jobs.courier import Courier
from bedside.transports.jobs.lane import JobLane
from bedside.transports.jobs.work import SpineWork
from bedside.transports.references import (
    BucketReference,
    DicomwebReference,
    Fetch,
    FileReference,
    Reference,
    References,
)
from bedside.transports.room import Room
from bedside.transports.uploads import Uploads


def open_database(settings: Settings) -> Database:
    """Return the database of jobs and of what is kept of answers. Raises ConfigurationError."""
    jobs, state_dir = settings.jobs, settings.runtime.state_dir
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    return connect(f"sqlite:///{state_dir / 'jobs.db'}" if jobs.database is None else jobs.database.get_secret_value())


def make_jobs(
    settings: Settings,
    engine: Database,
    repository: Repository,
    dataplane: DataPlane,
    references: References,
    tracer: Tracer,
    metrics: Metrics,
) -> Jobs:
    """Return where jobs are handed in, what runs them here and delivers their results. Raises ConfigurationError."""
    jobs = settings.jobs
    store, spool = JobStore(engine), Spool(jobs.spool_dir or settings.runtime.state_dir / "spool")

    def digests() -> list[str]:
        ready = [status for status in repository.index() if status.state == "READY"]
        return [repository.resolve(status.name, status.version).digest for status in ready]

    desk = JobDesk(store, spool, jobs)
    work = SpineWork(dataplane, jobs, references, store.remember_reading)
    lane = JobLane(store, spool, work, digests, jobs, desk.tidy)
    metrics.show_waiting_jobs(lambda: lane.waiting)
    destinations = make_destinations(settings.dicom, settings.limits)
    # Without destinations there is no courier: it would fail what other replicas can deliver.
    outbox = Outbox(engine)
    courier = Courier(outbox, store, spool, destinations, jobs, tracer=tracer) if destinations else None
    return Jobs(desk, lane, outbox, courier, _assembler(settings, repository, dataplane, desk, lane, tracer))


def _assembler(
    settings: Settings, repository: Repository, dataplane: DataPlane, desk: JobDesk, lane: JobLane, tracer: Tracer
) -> Assembler | None:
    if not settings.dicom.routes:
        return None
    intake = StudyIntake(dataplane, desk, lane.wake, settings.dicom)
    retention_seconds = settings.jobs.retention_seconds
    return Assembler(make_inbox(settings), intake, repository.resolve, settings.dicom, retention_seconds, tracer=tracer)


def make_inbox(settings: Settings) -> Inbox:
    """Return where received instances lie until they are jobs."""
    folder = settings.dicom.inbox_dir or settings.runtime.state_dir / "inbox"
    return Inbox(Spool(folder), settings.limits, settings.jobs.spool_bytes)


def make_references(
    settings: Settings, span: Callable[[Call], TraceParent | None]
) -> tuple[References, Uploads | None]:
    """Return what requests may name instead of sending it, and where callers may put it. Raises ConfigurationError."""
    own = settings.references
    most_bytes = own.input_bytes or settings.limits.body_bytes
    limits = settings.limits.model_copy(update={"body_bytes": most_bytes})
    settings = settings.model_copy(update={"limits": limits})
    sources: dict[tuple[type[Reference], str], Fetch] = {
        (DicomwebReference, name): fetch for name, fetch in make_studies(settings).items()
    }
    for name, root in own.folders.items():
        sources[FileReference, name] = Folder(root, limits)
    buckets = {name: Bucket(bucket, limits, own) for name, bucket in own.buckets.items()}
    sources |= {(BucketReference, name): bucket for name, bucket in buckets.items()}
    room = Room(own.concurrency, own.held_bytes, len(sources))
    references = References(sources, authorise_retrieval, own.seconds, most_bytes, room, span)
    if own.uploads is None:
        return references, None
    if own.uploads not in buckets:
        raise ConfigurationError("names none of references.buckets", field="references.uploads")
    return references, Uploads(own.uploads, buckets[own.uploads], authorise_retrieval, own, most_bytes)
