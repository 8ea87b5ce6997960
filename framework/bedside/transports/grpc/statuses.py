"""What went wrong, in gRPC: the one table from the error tree to status codes (grpc/grpc, doc/statuscodes.md)."""

from collections.abc import Mapping

from grpc import StatusCode

from bedside import errors
from bedside.errors import BedsideError

STATUSES: Mapping[type[BedsideError], StatusCode] = {
    BedsideError: StatusCode.INTERNAL,
    errors.RequestError: StatusCode.INVALID_ARGUMENT,
    # stage 2
    errors.Unauthenticated: StatusCode.UNAUTHENTICATED,
    errors.MissingToken: StatusCode.UNAUTHENTICATED,
    errors.InvalidToken: StatusCode.UNAUTHENTICATED,
    errors.ExpiredToken: StatusCode.UNAUTHENTICATED,
    errors.InsufficientScope: StatusCode.PERMISSION_DENIED,
    # stage 3
    errors.ModelNotFound: StatusCode.NOT_FOUND,
    errors.ModelVersionNotFound: StatusCode.NOT_FOUND,
    errors.JobNotFound: StatusCode.NOT_FOUND,
    errors.JobNotFinished: StatusCode.FAILED_PRECONDITION,
    errors.JobNotDead: StatusCode.FAILED_PRECONDITION,
    errors.PredictionNotFound: StatusCode.NOT_FOUND,
    errors.DriftReferenceNotFound: StatusCode.NOT_FOUND,
    errors.TruthConflict: StatusCode.FAILED_PRECONDITION,
    errors.NoRoute: StatusCode.INVALID_ARGUMENT,
    errors.ReferenceNotFound: StatusCode.INVALID_ARGUMENT,
    errors.ReferenceChanged: StatusCode.FAILED_PRECONDITION,
    # stages 1 and 4
    errors.NotAcceptable: StatusCode.INVALID_ARGUMENT,
    errors.RequestTimeout: StatusCode.DEADLINE_EXCEEDED,
    errors.ClientGone: StatusCode.CANCELLED,
    errors.PayloadTooLarge: StatusCode.RESOURCE_EXHAUSTED,
    errors.DecompressedTooLarge: StatusCode.RESOURCE_EXHAUSTED,
    errors.MemoryLimitExceeded: StatusCode.RESOURCE_EXHAUSTED,
    errors.UnsupportedMediaType: StatusCode.INVALID_ARGUMENT,
    errors.MalformedPayload: StatusCode.INVALID_ARGUMENT,
    errors.TooManyInstances: StatusCode.RESOURCE_EXHAUSTED,
    **dict.fromkeys((errors.DicomRefused, *errors.DicomRefused.__subclasses__()), StatusCode.INVALID_ARGUMENT),
    # stage 5
    errors.ContractViolation: StatusCode.INVALID_ARGUMENT,
    errors.UnknownInput: StatusCode.INVALID_ARGUMENT,
    errors.MissingInput: StatusCode.INVALID_ARGUMENT,
    errors.WrongDatatype: StatusCode.INVALID_ARGUMENT,
    errors.WrongShape: StatusCode.INVALID_ARGUMENT,
    errors.WrongChannelCount: StatusCode.INVALID_ARGUMENT,
    errors.UnknownFeature: StatusCode.INVALID_ARGUMENT,
    errors.MissingFeature: StatusCode.INVALID_ARGUMENT,
    errors.NonFiniteValue: StatusCode.INVALID_ARGUMENT,
    errors.BadParameter: StatusCode.INVALID_ARGUMENT,
    # stage 6: UNAVAILABLE says that the call may be repeated as it is
    errors.Unavailable: StatusCode.UNAVAILABLE,
    errors.ModelNotReady: StatusCode.UNAVAILABLE,
    errors.QueueFull: StatusCode.UNAVAILABLE,
    errors.Draining: StatusCode.UNAVAILABLE,
    errors.IssuerUnavailable: StatusCode.UNAVAILABLE,
    errors.StagingFull: StatusCode.UNAVAILABLE,
    errors.AuditUnavailable: StatusCode.UNAVAILABLE,
    errors.SourceUnavailable: StatusCode.UNAVAILABLE,
    errors.ArchiveUnavailable: StatusCode.UNAVAILABLE,
    errors.CallerLimitReached: StatusCode.RESOURCE_EXHAUSTED,
    errors.SpoolFull: StatusCode.UNAVAILABLE,
    errors.JobStoreUnavailable: StatusCode.UNAVAILABLE,
    errors.SpoolFailed: StatusCode.UNAVAILABLE,
    errors.DeadlineExceeded: StatusCode.DEADLINE_EXCEEDED,
    errors.DeliveryFailed: StatusCode.INTERNAL,
    # stage 7
    errors.ModelFailure: StatusCode.INTERNAL,
    errors.InputNotProcessable: StatusCode.INVALID_ARGUMENT,
    errors.RunFailed: StatusCode.INTERNAL,
    # Not UNAVAILABLE: clients that repeat by themselves would carry an input that kills from replica to replica.
    errors.ModelOutOfMemory: StatusCode.INTERNAL,
    errors.WorkerCrashed: StatusCode.INTERNAL,
    # only loading a model shows these: "the system is not in a state required for the operation's execution"
    errors.BundleError: StatusCode.FAILED_PRECONDITION,
    errors.InvalidBundle: StatusCode.FAILED_PRECONDITION,
    errors.NotAdmitted: StatusCode.FAILED_PRECONDITION,
    errors.LoadFailed: StatusCode.FAILED_PRECONDITION,
    errors.GoldenMismatch: StatusCode.FAILED_PRECONDITION,
    errors.ConfigurationError: StatusCode.INTERNAL,
    errors.DicomNotInstalled: StatusCode.UNIMPLEMENTED,
}

_OURS = (StatusCode.INTERNAL, StatusCode.DEADLINE_EXCEEDED)


def status_of(error: BedsideError) -> StatusCode:
    """Return the table's code of an error: its own, else its nearest ancestor's."""
    return next(STATUSES[cls] for cls in type(error).__mro__ if cls in STATUSES)


def details_of(error: BedsideError, request_id: str) -> str:
    """Return what the caller is told: the field, what to correct, and the request id where the log knows more."""
    return f"{error.text} (request id {request_id})" if status_of(error) in _OURS else error.text


def metadata_of(error: BedsideError) -> tuple[tuple[str, str], ...]:
    """Return the trailing metadata that tell the caller what to do next; names as in HTTP."""
    if isinstance(error, errors.Unavailable):
        return (("retry-after", str(error.retry_after_seconds)),)
    return ()
