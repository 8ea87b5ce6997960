"""Small Protocols: what the spine needs of its stages, so that it knows none of their implementations."""

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from bedside.bundle.contract import Contract, InputSpec
from bedside.errors import ModelFailure
from bedside.observability.audit_lines import Record
from bedside.observability.traceparent import TraceParent
from bedside.types import (
    DecodedInput,
    EncodedAnswer,
    Finding,
    Prediction,
    Principal,
    RawPart,
    RawRecord,
    RawTensor,
    UnverifiedToken,
    ValidatedInputs,
)

Progress = Callable[[int, int], None]
"""Told steps done and steps in all, as far as they are known: for example windows of a sliding-window inferer."""

LISTENER: ContextVar[Progress | None] = ContextVar("LISTENER", default=None)
"""Who follows the call that runs. Jobs set it, executors that can tell look for it, no stage between passes it on."""


class Authenticator(Protocol):
    """Stage 2: a token becomes a principal."""

    async def authenticate(self, token: UnverifiedToken) -> Principal:
        """Verify a token.

        Raises:
            Unauthenticated: it does not verify.
            IssuerUnavailable: the issuer's keys cannot be had, and none that may still be used are known.
        """
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


class Codec(Protocol):
    """Stages 4 and 8: wire formats to arrays with geometry, and back. Pure functions; may run in a thread."""

    def decode_part(self, part: RawPart, spec: InputSpec) -> DecodedInput:
        """Decode an encoded file or JSON record.

        Raises:
            UnsupportedMediaType, MalformedPayload, DecompressedTooLarge, ContractViolation: named by field.
        """
        ...

    def decode_record(self, record: RawRecord, spec: InputSpec) -> DecodedInput:
        """Decode one record of named numbers. Raises ContractViolation, naming the feature."""
        ...

    def decode_document(self, document: RawRecord, specs: Sequence[InputSpec]) -> tuple[DecodedInput, ...]:
        """Decode one JSON object whose members are the JSON values of a model without a record."""
        ...

    def decode_tensors(
        self, tensors: Sequence[RawTensor], specs: Sequence[InputSpec]
    ) -> list[tuple[DecodedInput, ...]]:
        """Decode the tensors of one Open Inference Protocol request into one tuple of inputs per row."""
        ...


class Encoder(Protocol):
    """Stage 8: a prediction becomes the media type that was asked for, and is looked at by those who watch answers."""

    def available(self, contract: Contract) -> tuple[str, ...]:
        """Return the media types that this model can answer with, the preferred one first."""
        ...

    def encode(
        self, media_type: str, contract: Contract, inputs: ValidatedInputs, prediction: Prediction
    ) -> EncodedAnswer:
        """Encode a prediction as ``media_type``, one of :meth:`available`."""
        ...

    @property
    def watches(self) -> bool:
        """Tell whether :meth:`finding` is to be asked."""
        ...

    def finding(self, contract: Contract, inputs: ValidatedInputs, prediction: Prediction) -> Finding:
        """Return what one answer says, where writing it has not told that already; never raises."""
        ...

    def needed(self, media_type: str, contract: Contract, inputs: ValidatedInputs) -> ValidatedInputs:
        """Return what :meth:`encode` needs of the inputs: volumes without their voxels where it does not draw them."""
        ...


class NotInline(Exception):
    """A bundle that asks for the event loop runs in a process of its own: no failure, and nobody outside sees it.

    Args:
        why: ``switched_off``, ``not_configuration``, ``not_records`` or ``too_slow`` (docs/bundles.md).
        record_seconds: what one record took, where that is why.
    """

    def __init__(self, why: str, record_seconds: float | None = None) -> None:
        super().__init__(why)
        self.why = why
        self.record_seconds = record_seconds


class Executor(Protocol):
    """Stages 6 and 7: a loaded bundle that runs validated inputs."""

    async def load(self) -> Contract:
        """Build the bundle and make one real forward pass; only then is the model ready.

        Raises:
            BundleError: it cannot be served.
            NotInline: it can, but not on the event loop; only from what runs there.
        """
        ...

    @property
    def ready(self) -> bool:
        """Tell whether the model would answer now."""
        ...

    @property
    def device(self) -> str:
        """Return the torch device that the model runs on, for example ``cpu`` or ``cuda:0``."""
        ...

    @property
    def concurrency(self) -> int:
        """Return how many items it is worth handing to it at one time; more wait for these."""
        ...

    async def run(self, inputs: ValidatedInputs, *, timeout_seconds: float) -> Prediction:
        """Run one item.

        Raises:
            QueueFull, ModelNotReady, Draining: at once, nothing was started.
            DeadlineExceeded: the time is over; the work has been stopped.
            ModelFailure: the bundle failed.
        """
        ...

    async def run_eager(self) -> str:
        """Have the network run as PyTorch runs it from now on; asked before anybody is served. Raises BundleError.

        Returns:
            The quicker form that it ran in; empty where it was PyTorch's own, and nothing was done.
        """
        ...

    async def close(self) -> None:
        """Let accepted work finish and end."""
        ...


class BatchExecutor(Executor, Protocol):
    """An executor that can run items together; its ``concurrency`` counts runs, of one item or of several."""

    @property
    def batch_size(self) -> int:
        """Return how many items may share a run, 1 where each runs alone; known once it is loaded."""
        ...

    async def run_batch(
        self, items: Sequence[ValidatedInputs], *, timeout_seconds: float
    ) -> list[Prediction | ModelFailure]:
        """Run items together; return what came of each, in their order.

        Raises:
            BedsideError: the run as a whole failed, and nobody knows which of them is to blame.
        """
        ...


class ServedModel(Protocol):
    """One version of one model that is loaded and ready."""

    @property
    def name(self) -> str:
        """Return the model's name, the folder's name."""
        ...

    @property
    def version(self) -> str:
        """Return the bundle's version, from its metadata."""
        ...

    @property
    def digest(self) -> str:
        """Return ``sha256:`` and the hex digest over the bundle's tree."""
        ...

    @property
    def contract(self) -> Contract:
        """Return what callers may rely on."""
        ...

    @property
    def executor(self) -> Executor:
        """Return what runs it."""
        ...

    def acquire(self) -> None:
        """Keep it loaded until :meth:`release`: a call that has begun is answered by the copy it began with."""
        ...

    def release(self) -> None:
        """Let go of it."""
        ...


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """One line of the model repository's index (``RepositoryIndexResponse``): one version of one model.

    ``state`` is ``READY``, ``LOADING``, ``UNAVAILABLE`` or ``UNLOADED``; ``reason`` says why it is not ready, or why
    newer files of it are not served. ``digest`` is that of the copy that answers; ``default`` tells whether it answers
    where a caller names no version.
    """

    name: str
    version: str
    state: str
    reason: str = ""
    digest: str = ""
    default: bool = False


class BundleSource(Protocol):
    """Where bundles come from: a folder, an archive, a bucket, a registry."""

    @property
    def location(self) -> str:
        """Return what the operator named, for people."""
        ...

    def fetch(self) -> Sequence[Path]:
        """Return the roots of the bundles that there are now, as folders on this machine. Blocks; may be called again.

        Raises:
            SourceUnavailable, ConfigurationError, NotAdmitted.
        """
        ...


class ModelRepository(Protocol):
    """Stage 3: which models there are, and which of them are loaded."""

    def resolve(self, name: str, version: str | None) -> ServedModel:
        """Return a ready model; without a version, the default one (docs/repository.md).

        Raises:
            ModelNotFound, ModelVersionNotFound, ModelNotReady.
        """
        ...

    def index(self) -> Sequence[ModelStatus]:
        """Return the state of every version of every model known."""
        ...

    def text(self, name: str, version: str | None, which: str) -> str:
        """Return ``card``, ``licence`` or ``reference`` of a loaded bundle, or nothing. Raises as `resolve`."""
        ...

    @property
    def ready(self) -> bool:
        """Tell whether what should be loaded is ready."""
        ...

    async def load(self, name: str, version: str | None = None) -> None:
        """Look at the sources and load what is not loaded or has changed: of every version of a model, or of one.

        What answers goes on until its successor does. Raises ModelNotFound, ModelVersionNotFound, BundleError.
        """
        ...

    async def unload(self, name: str, version: str | None = None) -> None:
        """Let a model finish its work and end. Raises ModelNotFound, ModelVersionNotFound."""
        ...


class AuditSink(Protocol):
    """The audit trail: who did what, and how it ended. Facts are named as in ``observability/schema.yaml``."""

    @property
    def strict(self) -> bool:
        """Tell whether nothing may be answered before it is recorded."""
        ...

    def fingerprint(self, parts: Sequence[bytes]) -> str:
        """Return the keyed hash of an input."""
        ...

    def record(self, record: Record) -> None:
        """Add a record. Must not block and must not raise."""
        ...

    async def commit(self, record: Record) -> None:
        """Add a record and wait until it is on the disk. Raises AuditUnavailable."""
        ...


class CallSink(Protocol):
    """Stage 9: account for one finished call (``dataplane.call.Call``)."""

    def begin(self, call: Any) -> TraceParent | None:
        """Return the span of a call, which what it causes belongs to; None where it is in no trace."""
        ...

    def account(self, call: Any) -> None:
        """Record it. Must not block and must not raise."""
        ...
