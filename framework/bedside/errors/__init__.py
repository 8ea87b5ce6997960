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
│   ├── PredictionNotFound  ├── DriftReferenceNotFound  ├── TruthConflict
│   ├── NoRoute
│   ├── ReferenceNotFound  ├── ReferenceChanged
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
│   │                           ├── UnexpectedOrientation ├── NonlinearRescale ├── PaddingPixels
│   │                           ├── TruncatedPixelData
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

# One tree, imported from one place: `from bedside.errors import WrongShape`.
from bedside.errors.dicom import *  # noqa: F403
from bedside.errors.requests import *  # noqa: F403
from bedside.errors.root import *  # noqa: F403
from bedside.errors.server import *  # noqa: F403
