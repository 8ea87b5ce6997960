"""What the caller can mend."""

from bedside.errors.root import BedsideError


class RequestError(BedsideError):
    """Correct the request and send it again."""


class Unauthenticated(RequestError):
    """Send 'Authorization: Bearer <token>' with a token of the configured issuer."""

    reason = "invalid_token"  # RFC 6750 §3.1


class MissingToken(Unauthenticated):
    """Send 'Authorization: Bearer <token>'; no token was found."""

    reason = ""  # RFC 6750 §3.1: no error code where the request carries no authentication


class InvalidToken(Unauthenticated):
    """Get a new token from the configured issuer; this one does not verify."""


class ExpiredToken(Unauthenticated):
    """Get a new token; this one is outside its validity (exp/nbf)."""


class InsufficientScope(RequestError):
    """Ask the identity provider's administrator for the missing scope."""

    def __init__(self, detail: str = "", *, scope: str = "") -> None:
        super().__init__(detail)
        self.scope = scope


class ModelNotFound(RequestError):
    """Choose a model from GET /v2/repository/index; this name is not served here."""


class ModelVersionNotFound(ModelNotFound):
    """Choose a version from GET /v2/models/{model}; this one is not served here."""


class JobNotFound(RequestError):
    """Check the job's id; it is not there, not yours, or was forgotten after jobs.retention_seconds."""


class JobNotFinished(RequestError):
    """Follow the job's events; it has no result yet, or will have none."""


class JobNotDead(RequestError):
    """Look at the job's state; only a dead job can be driven again, and only while the same work is not under way."""


class PredictionNotFound(RequestError):
    """Check the request id; no such answer of this model is kept, or no longer (monitoring.predictions_seconds)."""


class DriftReferenceNotFound(RequestError):
    """Wait: the first answers, which later ones are compared with, are still being counted."""


class TruthConflict(RequestError):
    """Look at what was told before: another truth has come for this answer, and a truth is told once."""


class NoRoute(RequestError):
    """Add a [[dicom.routes]] that matches the study, and restart; it is kept until then."""


class ReferenceChanged(RequestError):
    """Hand the job in again; what it refers to is not what its first attempt has read."""


class UnsupportedMediaType(RequestError):
    """Send one of the media types that the model's input accepts."""


class ReferenceNotFound(RequestError):
    """Check what the request refers to; the source holds nothing of that name."""


class NotAcceptable(RequestError):
    """Ask for one of the media types that the model can answer with."""

    def __init__(self, detail: str = "", *, available: tuple[str, ...] = ()) -> None:
        super().__init__(detail, field="Accept")
        self.available = available


class PayloadTooLarge(RequestError):
    """Send a smaller body, or have BEDSIDE_LIMITS__BODY_BYTES raised."""


class DecompressedTooLarge(PayloadTooLarge):
    """Send a smaller image, or have BEDSIDE_LIMITS__DECOMPRESSED_BYTES raised."""


class TooManyInstances(PayloadTooLarge):
    """Send fewer files, or have BEDSIDE_LIMITS__DICOM_INSTANCES raised."""


class MemoryLimitExceeded(PayloadTooLarge):
    """Send a smaller image, or have BEDSIDE_RUNTIME__MEMORY_LIMIT_MIB raised."""


class RequestTimeout(RequestError):
    """Send the body faster; the server stopped waiting for it."""


class ClientGone(RequestTimeout):
    """Send the request again; the caller went away before the answer."""


class MalformedPayload(RequestError):
    """Send a complete, well-formed body of the declared media type."""


class ContractViolation(RequestError):
    """Read the model's contract (GET /v2/models/{model}) and correct the named field."""


class UnknownInput(ContractViolation):
    """Use the input names of the model's contract."""


class MissingInput(ContractViolation):
    """Send every required input of the model's contract."""


class WrongDatatype(ContractViolation):
    """Send the datatype that the contract names."""


class WrongShape(ContractViolation):
    """Send the rank and shape that the contract names."""


class WrongChannelCount(WrongShape):
    """Send the number of channels that the contract names."""


class UnknownFeature(ContractViolation):
    """Use the feature names of the model's contract."""


class MissingFeature(ContractViolation):
    """Send every feature of the model's contract; null where a value is missing."""


class NonFiniteValue(ContractViolation):
    """Send finite numbers; NaN and infinity are not accepted in this field."""


class BadParameter(ContractViolation):
    """Correct the named parameter."""
