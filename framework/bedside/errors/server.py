"""What the caller cannot mend: the server, the model, its bundle or the site's settings."""

from bedside.errors.root import BedsideError


class Unavailable(BedsideError):
    """Try again after the stated time."""

    retry_after_seconds = 1


class ModelNotReady(Unavailable):
    """Wait until GET /v2/models/{model}/ready answers 200; the model is loading or could not be loaded."""

    retry_after_seconds = 5


class QueueFull(Unavailable):
    """Try again after the stated time; more requests wait for this model than its queue may hold."""


class Draining(Unavailable):
    """Try again: the server is shutting down and another replica will answer."""


class IssuerUnavailable(Unavailable):
    """Check that the server reaches the OIDC issuer's discovery and JWKS documents."""

    retry_after_seconds = 5


class AuditUnavailable(Unavailable):
    """Look at the disk of the audit trail: with audit.durability "strict", what cannot be recorded gets no answer."""


class StagingFull(Unavailable):
    """Have the file system of BEDSIDE_RUNTIME__STAGING_DIR enlarged; it has no room for the input."""


class SourceUnavailable(Unavailable):
    """Check that the server reaches the folder, bucket or registry that its bundles come from, and may read it."""

    retry_after_seconds = 30


class ArchiveUnavailable(Unavailable):
    """Check that the server reaches the archive in [dicom.sources], that it may read there, and that it answers."""

    retry_after_seconds = 10


class CallerLimitReached(Unavailable):
    """Wait: you have made too many requests, or have too many jobs or event streams under way; then try again."""

    retry_after_seconds = 10


class SpoolFull(Unavailable):
    """Have BEDSIDE_JOBS__SPOOL_BYTES raised, or results kept for less long (BEDSIDE_JOBS__RETENTION_SECONDS)."""

    retry_after_seconds = 60


class JobStoreUnavailable(Unavailable):
    """Look at the database of BEDSIDE_JOBS__DATABASE: it does not answer; what was asked may be asked again."""


class SpoolFailed(Unavailable):
    """Look at the file system of BEDSIDE_JOBS__SPOOL_DIR: a job's file could not be written or read there."""


class DeadlineExceeded(BedsideError):
    """Send the work as a job, or have BEDSIDE_LIMITS__REQUEST_SECONDS raised."""


class DeliveryFailed(BedsideError):
    """Look at the archive: it has not confirmed every object of a result, and is asked again."""


class ModelFailure(BedsideError):
    """Report the request id to whoever maintains the bundle."""

    def __init__(self, detail: str = "", *, field: str | None = None, cause: str = "", where: str = "") -> None:
        super().__init__(detail, field=field)
        self.cause = cause  # the exception's class name: its text may quote the input
        self.where = where  # file:line frames of the bundle's code


class InputNotProcessable(ModelFailure):
    """Check that the input is of the kind the bundle was made for; it refused it, or has no finite answer to it."""


class RunFailed(ModelFailure):
    """Report the request id: the bundle raised an error on an input that keeps its contract."""


class ModelOutOfMemory(ModelFailure):
    """Send a smaller input, or have the memory limit raised; the model needed more than it may take."""


class WorkerCrashed(ModelFailure):
    """Try again: the model's process ended and is being restarted. Report it if it happens again."""


class BundleError(BedsideError):
    """Correct the bundle; see the MONAI bundle specification."""


class InvalidBundle(BundleError):
    """Correct the named file of the bundle."""


class NotAdmitted(BundleError):
    """Run `bedside bundle vet` on the bundle: it names each finding, and what to do about it."""


class LoadFailed(BundleError):
    """Correct the bundle or install what it needs; it could not be built."""


class GoldenMismatch(BundleError):
    """Run `bedside bundle test` on the bundle: its answers are not those that its golden cases expect."""


class ConfigurationError(BedsideError):
    """Correct the named setting; docs/settings.md lists them all."""


class DicomNotInstalled(ConfigurationError):
    """Install what DICOM needs: pip install 'bedside[dicom]'."""
