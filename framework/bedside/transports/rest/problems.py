"""What went wrong, in HTTP: the one table from the error tree to statuses and problem types (RFC 9457).

V2 paths keep the Open Inference Protocol's ``{"error": "..."}``, with 400 where the contract is not kept.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from bedside import errors
from bedside.errors import BedsideError
from bedside.transports.rest.reply import Header, Reply

PROBLEM_NAMESPACE = "urn:bedside:problem:"
"""Prefix of ``type``: an identifier, not an address, for a hospital without internet (docs/decisions/0031)."""

PROBLEM_MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class ProblemType:
    """One row of the table (RFC 9457 §3.1).

    Attributes:
        status: status code (RFC 9110 §15).
        slug: last part of ``type``.
        title: short summary that does not change from occurrence to occurrence.
    """

    status: int
    slug: str
    title: str

    @property
    def type(self) -> str:
        """Return the problem type's identifier."""
        return PROBLEM_NAMESPACE + self.slug


_DICOM_REFUSED: Sequence[type[errors.DicomRefused]] = (errors.DicomRefused, *errors.DicomRefused.__subclasses__())
_DICOM_TITLES: Mapping[type[BedsideError], str] = {
    errors.NotDicom: "Not DICOM",
    errors.UnsupportedSopClass: "Unsupported SOP class",
    errors.MixedSopClass: "Mixed SOP class",
    errors.MultiFrame: "Multi-frame image",
    errors.NonSquarePixels: "Pixels are not square",
}
"""Of reasons whose own words do not say it as people write it."""

PROBLEMS: Mapping[type[BedsideError], ProblemType] = {
    BedsideError: ProblemType(500, "internal-error", "Internal error"),
    errors.RequestError: ProblemType(400, "bad-request", "Bad request"),
    # stage 2
    errors.Unauthenticated: ProblemType(401, "unauthenticated", "Authentication required"),
    errors.MissingToken: ProblemType(401, "missing-token", "Authentication required"),
    errors.InvalidToken: ProblemType(401, "invalid-token", "Token not valid"),
    errors.ExpiredToken: ProblemType(401, "expired-token", "Token outside its validity"),
    errors.InsufficientScope: ProblemType(403, "insufficient-scope", "Scope missing"),
    # stage 3
    errors.ModelNotFound: ProblemType(404, "model-not-found", "Model not found"),
    errors.ModelVersionNotFound: ProblemType(404, "model-version-not-found", "Model version not found"),
    errors.JobNotFound: ProblemType(404, "job-not-found", "Job not found"),
    errors.JobNotFinished: ProblemType(409, "job-not-finished", "Job has no result"),
    errors.JobNotDead: ProblemType(409, "job-not-dead", "Job is not dead"),
    errors.PredictionNotFound: ProblemType(404, "prediction-not-found", "Prediction not found"),
    errors.DriftReferenceNotFound: ProblemType(404, "drift-reference-not-found", "Drift reference not found"),
    errors.TruthConflict: ProblemType(409, "truth-conflict", "Another truth was told"),
    errors.NoRoute: ProblemType(422, "no-route", "No model is meant"),
    errors.ReferenceNotFound: ProblemType(422, "reference-not-found", "What is referred to is not there"),
    errors.ReferenceChanged: ProblemType(409, "reference-changed", "What is referred to has changed"),
    # stages 1 and 4
    errors.NotAcceptable: ProblemType(406, "not-acceptable", "No acceptable answer format"),
    errors.RequestTimeout: ProblemType(408, "request-timeout", "Body did not arrive in time"),
    errors.ClientGone: ProblemType(408, "client-gone", "Caller went away"),
    errors.PayloadTooLarge: ProblemType(413, "payload-too-large", "Body too large"),
    errors.DecompressedTooLarge: ProblemType(413, "decompressed-too-large", "Decoded input too large"),
    errors.MemoryLimitExceeded: ProblemType(413, "memory-limit-exceeded", "Input needs more memory than there is"),
    errors.UnsupportedMediaType: ProblemType(415, "unsupported-media-type", "Media type not supported"),
    errors.MalformedPayload: ProblemType(400, "malformed-payload", "Body cannot be read"),
    errors.TooManyInstances: ProblemType(413, "too-many-instances", "Too many DICOM instances"),
    # stage 4, DICOM: the slug is the reason (docs/dicom.md)
    **{
        kind: ProblemType(422, kind.reason(), _DICOM_TITLES.get(kind) or kind.reason().replace("-", " ").capitalize())
        for kind in _DICOM_REFUSED
    },
    # stage 5
    errors.ContractViolation: ProblemType(422, "contract-violation", "Input breaks the model's contract"),
    errors.UnknownInput: ProblemType(422, "unknown-input", "Unknown input"),
    errors.MissingInput: ProblemType(422, "missing-input", "Input missing"),
    errors.WrongDatatype: ProblemType(422, "wrong-datatype", "Wrong datatype"),
    errors.WrongShape: ProblemType(422, "wrong-shape", "Wrong shape"),
    errors.WrongChannelCount: ProblemType(422, "wrong-channel-count", "Wrong number of channels"),
    errors.UnknownFeature: ProblemType(422, "unknown-feature", "Unknown feature"),
    errors.MissingFeature: ProblemType(422, "missing-feature", "Feature missing"),
    errors.NonFiniteValue: ProblemType(422, "non-finite-value", "Value is not finite"),
    errors.BadParameter: ProblemType(422, "bad-parameter", "Bad parameter"),
    # stage 6
    errors.Unavailable: ProblemType(503, "unavailable", "Try again later"),
    errors.ModelNotReady: ProblemType(503, "model-not-ready", "Model not ready"),
    errors.QueueFull: ProblemType(503, "queue-full", "Too many requests wait"),
    errors.Draining: ProblemType(503, "draining", "Server is shutting down"),
    errors.IssuerUnavailable: ProblemType(503, "issuer-unavailable", "Token issuer not reachable"),
    errors.StagingFull: ProblemType(503, "staging-full", "No room for the input"),
    errors.AuditUnavailable: ProblemType(503, "audit-unavailable", "Audit trail not writable"),
    errors.SourceUnavailable: ProblemType(503, "source-unavailable", "Source of bundles not reachable"),
    errors.ArchiveUnavailable: ProblemType(503, "archive-unavailable", "Archive does not answer"),
    # RFC 6585 §4: this caller asks for too much; others are served
    errors.CallerLimitReached: ProblemType(429, "caller-limit-reached", "Limit of one caller reached"),
    errors.SpoolFull: ProblemType(503, "spool-full", "No room for the job's input"),
    errors.JobStoreUnavailable: ProblemType(503, "job-store-unavailable", "The jobs' database does not answer"),
    errors.SpoolFailed: ProblemType(503, "spool-failed", "Job files not accessible"),
    errors.DeadlineExceeded: ProblemType(504, "deadline-exceeded", "Time limit reached"),
    errors.DeliveryFailed: ProblemType(502, "delivery-failed", "Result not delivered"),
    # stage 7
    errors.ModelFailure: ProblemType(500, "model-failure", "Model failed"),
    errors.InputNotProcessable: ProblemType(422, "input-not-processable", "Model cannot process the input"),
    errors.RunFailed: ProblemType(500, "run-failed", "Model failed"),
    errors.ModelOutOfMemory: ProblemType(500, "model-out-of-memory", "Model ran out of memory"),
    # 502, not 503: a proxy that repeats a request on 503 would carry an input that kills from replica to replica.
    errors.WorkerCrashed: ProblemType(502, "worker-crashed", "Model process ended"),
    # only loading a model shows these: the bundle's state conflicts with the request (RFC 9110 §15.5.10)
    errors.BundleError: ProblemType(409, "bundle-error", "Bundle cannot be served"),
    errors.InvalidBundle: ProblemType(409, "invalid-bundle", "Bundle not valid"),
    errors.NotAdmitted: ProblemType(409, "not-admitted", "Bundle not admitted"),
    errors.LoadFailed: ProblemType(409, "load-failed", "Bundle could not be loaded"),
    errors.GoldenMismatch: ProblemType(409, "golden-mismatch", "Bundle gives other answers than it promises"),
    errors.ConfigurationError: ProblemType(500, "configuration-error", "Server misconfigured"),
    errors.DicomNotInstalled: ProblemType(501, "dicom-not-installed", "Server without DICOM support"),
}

_MOST_INSTANCES = 100
"""SOP Instance UIDs in one answer: a series can have thousands, and the first hundred tell what is wrong."""

_V2_STATUS = {422: 400}
"""The protocol knows no 422: "a failed request must be indicated by an HTTP error status (typically 400)"."""


def problem_of(error: BedsideError) -> ProblemType:
    """Return the table's row of an error: its own, else its nearest ancestor's."""
    return next(PROBLEMS[cls] for cls in type(error).__mro__ if cls in PROBLEMS)


def problem_reply(error: BedsideError, request_id: str) -> Reply:
    """Return the answer of ``/v1`` and the rest: ``application/problem+json`` (RFC 9457)."""
    kind = problem_of(error)
    document: dict[str, Any] = {
        "type": kind.type,
        "title": kind.title,
        "status": kind.status,
        "detail": error.detail,
        "request_id": request_id,
        **_extensions(error),
    }
    return Reply(kind.status, PROBLEM_MEDIA_TYPE, orjson.dumps(document), error_headers(error))


def v2_error_reply(error: BedsideError, request_id: str) -> Reply:
    """Return the answer of ``/v2``: ``{"error": "..."}``, the field named in the text (Open Inference Protocol)."""
    status = problem_of(error).status
    text = error.text
    if status >= 500 and not isinstance(error, errors.Unavailable):
        text = f"{text} (request id {request_id})"
    return Reply(
        _V2_STATUS.get(status, status), "application/json", orjson.dumps({"error": text}), error_headers(error)
    )


def error_reply(error: BedsideError, request_id: str, path: str) -> Reply:
    """Return the answer in the shape that the path's callers understand."""
    return v2_error_reply(error, request_id) if is_v2(path) else problem_reply(error, request_id)


def is_v2(path: str) -> bool:
    """Tell whether a path is the Open Inference Protocol's."""
    return path == "/v2" or path.startswith("/v2/")


_HTTP_PROBLEMS = {
    404: ("not-found", "Not found", "nothing is served at this path"),
    405: ("method-not-allowed", "Method not allowed", "this path has other methods, see Allow"),
}


def http_problem(status: int, request_id: str, path: str, allow: str = "") -> Reply:
    """Return a problem that HTTP itself has: no such path, or a method that the path has not.

    OPTIONS is answered rather than refused (RFC 9110 §9.3.7).
    """
    slug, title, detail = _HTTP_PROBLEMS.get(status, ("http-error", "Request refused", "the request was refused"))
    document: dict[str, Any] = {"error": detail}
    if not is_v2(path):
        document = {"type": PROBLEM_NAMESPACE + slug, "title": title, "status": status, "detail": detail}
        document["request_id"] = request_id
    media_type = "application/json" if is_v2(path) else PROBLEM_MEDIA_TYPE
    headers = ((b"allow", allow.encode("latin-1")),) if allow else ()
    return Reply(status, media_type, orjson.dumps(document), headers)


def options_reply(allow: str) -> Reply:
    """Return the answer of OPTIONS (RFC 9110 §9.3.7)."""
    return Reply(204, "", b"", ((b"allow", allow.encode("latin-1")),))


def _extensions(error: BedsideError) -> dict[str, Any]:
    members: dict[str, Any] = {}
    if error.field:
        members["field"] = error.field
    if isinstance(error, errors.DicomRefused):
        members["reason"] = error.reason()
        members["instances"] = list(error.instances[:_MOST_INSTANCES])
    if isinstance(error, errors.NotAcceptable):
        members["available"] = list(error.available)
    if isinstance(error, errors.InsufficientScope) and error.scope:
        members["scope"] = error.scope
    return members


def error_headers(error: BedsideError) -> tuple[Header, ...]:
    """Return the header fields that tell the caller what to do next."""
    if isinstance(error, errors.Unauthenticated | errors.InsufficientScope):
        return ((b"www-authenticate", _challenge(error).encode("latin-1")),)
    if isinstance(error, errors.UnsupportedMediaType) and error.field == "Content-Encoding":
        # RFC 9110 §15.5.16: tells that the coding was the problem, and which one is none.
        return ((b"accept-encoding", b"identity"),)
    if isinstance(error, errors.Unavailable):
        return ((b"retry-after", str(error.retry_after_seconds).encode()),)
    return ()


def _challenge(error: errors.Unauthenticated | errors.InsufficientScope) -> str:
    # RFC 6750 §3: no error code where the request carried no credentials; §3.1 names the codes.
    challenge = 'Bearer realm="bedside"'
    if isinstance(error, errors.InsufficientScope):
        challenge += ', error="insufficient_scope"'
        return f'{challenge}, scope="{error.scope}"' if _is_scope(error.scope) else challenge
    return f'{challenge}, error="{error.reason}"' if error.reason else challenge


def _is_scope(scope: str) -> bool:
    # RFC 6749 §3.3: a scope token has no quote and no backslash. A model name from the path may hold anything.
    return bool(scope) and all("!" <= letter <= "~" and letter not in '"\\' for letter in scope.replace(" ", "!"))
