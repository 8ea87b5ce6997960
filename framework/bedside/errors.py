"""Everything that can go wrong, as one tree.

The class docstring is the advice: it is what the caller or the site engineer should do next.
No HTTP and no DICOM here; each transport maps leaves to its own statuses in one table, and a test
checks that every leaf is in every table.

Nothing in ``detail`` or ``field`` may come from the caller's values: they end up in answers and logs,
and a value may name a patient. Names of contract fields are ours (they come from the bundle); a name
the caller made up is only repeated through :func:`echo`.

BedsideError
├── RequestError                the caller can mend it
│   ├── Unauthenticated         ├── MissingToken ├── InvalidToken ├── ExpiredToken
│   ├── InsufficientScope
│   ├── ModelNotFound           └── ModelVersionNotFound
│   ├── JobNotFound  ├── JobNotFinished  └── JobNotDead
│   ├── NoRoute
│   ├── ReferenceNotFound
│   ├── UnsupportedMediaType
│   ├── NotAcceptable
│   ├── PayloadTooLarge         ├── DecompressedTooLarge ├── MemoryLimitExceeded └── TooManyInstances
│   ├── RequestTimeout          └── ClientGone
│   ├── MalformedPayload
│   ├── DicomRefused            ├── NotDicom ├── UnsupportedTransferSyntax ├── UnsupportedSopClass ├── MissingTag
│   │                           ├── InvalidTag ├── SeveralStudies ├── NoMatchingSeries ├── AmbiguousSeries
│   │                           ├── WrongModality ├── WrongBodyPart ├── LocalizerMixedIn ├── FourDimensional
│   │                           ├── TooFewSlices ├── MissingSlice ├── DuplicateSlice ├── UnevenSpacing
│   │                           ├── GantryTilt ├── MixedOrientation ├── MixedSize ├── MixedPixelSpacing
│   │                           ├── MixedRescaleType ├── MixedFrameOfReference ├── MixedPixelFormat
│   │                           ├── MixedSopClass ├── NotMonochrome ├── MultiFrame ├── NonSquarePixels
│   │                           ├── NonlinearRescale ├── PaddingPixels ├── TruncatedPixelData
│   │                           ├── PixelDataContradictsHeader ├── ValueOverflow └── PrecisionLost
│   └── ContractViolation       ├── UnknownInput ├── MissingInput ├── WrongDatatype ├── WrongShape
│                               ├── WrongChannelCount ├── UnknownFeature ├── MissingFeature
│                               ├── NonFiniteValue └── BadParameter
├── Unavailable                 try again later
│   ├── ModelNotReady  ├── QueueFull  ├── Draining  ├── IssuerUnavailable  ├── StagingFull
│   ├── SourceUnavailable  ├── ArchiveUnavailable  ├── CallerLimitReached
│   ├── SpoolFull  ├── SpoolFailed  ├── JobStoreUnavailable  └── AuditUnavailable
├── DeadlineExceeded
├── DeliveryFailed
├── ModelFailure                the model, not the request
│   ├── InputNotProcessable  ├── RunFailed  ├── ModelOutOfMemory  └── WorkerCrashed
├── BundleError                 the folder is not a bundle we can serve
│   ├── InvalidBundle  ├── NotAdmitted  ├── LoadFailed  └── GoldenMismatch
└── ConfigurationError          └── DicomNotInstalled
"""

import re
from collections.abc import Iterable
from difflib import get_close_matches

_PLAIN_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")


def echo(name: object, known: Iterable[str] = ()) -> str:
    """Return a caller's made-up name for a message, or "(not shown)" where it might identify a person.

    Only plain lower-case identifiers are repeated (tensor and feature names look like that; "DOE^JOHN",
    file names and accession numbers do not). A close match among ``known`` is offered as a correction.
    """
    if not (isinstance(name, str) and _PLAIN_NAME.fullmatch(name)):
        return "(not shown)"
    close = get_close_matches(name, list(known), n=1)
    return f"'{name}' (did you mean '{close[0]}'?)" if close else f"'{name}'"


class BedsideError(Exception):
    """Look at the request id in the server's log."""

    def __init__(self, detail: str = "", *, field: str | None = None) -> None:
        self.detail = detail or self.advice()
        self.field = field
        super().__init__(self.detail)

    @property
    def text(self) -> str:
        """Return the detail, after the field's name where there is one: what protocols with one string are given."""
        return f"{self.field}: {self.detail}" if self.field else self.detail

    @classmethod
    def advice(cls) -> str:
        """Return the first paragraph of the class docstring: what to do next."""
        return " ".join((cls.__doc__ or "").split("\n\n")[0].split())


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


class NoRoute(RequestError):
    """Add a [[dicom.routes]] that matches the study, and restart; it is kept until then."""


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


class DicomRefused(RequestError):
    """Correct the DICOM objects as the reason says and send them again.

    ``instances`` are the SOP Instance UIDs at fault. They go into the caller's answer only: a UID leads to a patient in
    whoever's archive holds it, so none is logged, counted or put into ``detail``.
    """

    def __init__(self, detail: str = "", *, field: str | None = None, instances: Iterable[str] = ()) -> None:
        super().__init__(detail, field=field)
        self.instances = tuple(dict.fromkeys(instances))

    @classmethod
    def reason(cls) -> str:
        """Return the reason's code: ``MissingSlice`` is ``missing-slice``."""
        return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", cls.__name__).lower()


class NotDicom(DicomRefused):
    """Send DICOM files only (PS3.10: 'DICM' after 128 bytes); this one is something else, or is damaged."""


class UnsupportedTransferSyntax(DicomRefused):
    """Have the archive send a transfer syntax that docs/dicom.md lists."""


class UnsupportedSopClass(DicomRefused):
    """Send images of a kind that docs/dicom.md lists: CT, MR or PET slices for a volume, radiographs for a plane."""


class MissingTag(DicomRefused):
    """Have the sender keep the named attribute; without it, the volume's values or place would be guessed."""


class InvalidTag(DicomRefused):
    """Have the sender correct the named attribute; its value cannot be true."""


class SeveralStudies(DicomRefused):
    """Send one study of one patient in a request."""


class NoMatchingSeries(DicomRefused):
    """Send the series that the model was made for: see [[dicom.series]] in the bundle's bedside.toml."""


class AmbiguousSeries(DicomRefused):
    """Send one of the series alone, or have [[dicom.series]] in the bundle's bedside.toml choose one."""


class WrongModality(DicomRefused):
    """Send a series of the modality that the model was made for."""


class WrongBodyPart(DicomRefused):
    """Send a series of the body part that the model was made for."""


class LocalizerMixedIn(DicomRefused):
    """Send the series without its localizer, or have dicom.drop_localizers switched on."""


class FourDimensional(DicomRefused):
    """Send one time point, echo or b-value; several images lie at each place."""


class TooFewSlices(DicomRefused):
    """Send at least two slices; one has no neighbour from which its thickness could be told."""


class MissingSlice(DicomRefused):
    """Send the series again, whole: between two neighbours at least one slice is missing."""


class DuplicateSlice(DicomRefused):
    """Send each slice once; two images lie at the same place."""


class UnevenSpacing(DicomRefused):
    """Send slices at even distances, or have dicom.resample take 'uneven-spacing'."""


class GantryTilt(DicomRefused):
    """Send an untilted or corrected series, or have dicom.resample take 'gantry-tilt'."""


class MixedOrientation(DicomRefused):
    """Send slices of one orientation."""


class MixedSize(DicomRefused):
    """Send slices with the same number of rows and columns."""


class MixedPixelSpacing(DicomRefused):
    """Send slices of one pixel spacing."""


class MixedRescaleType(DicomRefused):
    """Send slices whose values have the same unit (Rescale Type)."""


class MixedFrameOfReference(DicomRefused):
    """Send slices of one frame of reference; between two, nobody knows the shift."""


class MixedPixelFormat(DicomRefused):
    """Send slices with the same bits, sign and photometric interpretation."""


class MixedSopClass(DicomRefused):
    """Send slices of one SOP class."""


class NotMonochrome(DicomRefused):
    """Send grey images: slices in MONOCHROME2, radiographs in MONOCHROME1 or 2."""


class MultiFrame(DicomRefused):
    """Send one image in one frame; of a moving picture, nobody knows which frame is meant."""


class NonSquarePixels(DicomRefused):
    """Send an image whose pixels are as high as wide; others would reach the model stretched."""


class NonlinearRescale(DicomRefused):
    """Send images with Rescale Slope and Intercept; a Modality LUT is not applied here."""


class PaddingPixels(DicomRefused):
    """Have dicom.padding in the bundle's bedside.toml say what pixels outside of the image mean."""


class TruncatedPixelData(DicomRefused):
    """Send the instance again; its pixel data end before the image does, or cannot be decompressed."""


class PixelDataContradictsHeader(DicomRefused):
    """Send the instance again; its pixel data are not those that its header describes."""


class ValueOverflow(DicomRefused):
    """Have the sender correct Rescale Slope and Intercept; values leave the range of float32."""


class PrecisionLost(DicomRefused):
    """Have the sender correct Rescale Slope and Intercept; float32 cannot tell neighbouring values apart."""


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
    """Wait until some of your own jobs or event streams have ended, then try again."""

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
