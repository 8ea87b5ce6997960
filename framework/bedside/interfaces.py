"""Small Protocols: what the spine needs of its stages, so that it knows none of their implementations."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from bedside.bundle.contract import Contract, InputSpec
from bedside.types import (
    DecodedInput,
    EncodedAnswer,
    Prediction,
    Principal,
    RawPart,
    RawRecord,
    RawTensor,
    UnverifiedToken,
    ValidatedInputs,
)


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
    """Stage 8 of the files-in, files-out transport: a prediction becomes the media type that was asked for."""

    def available(self, contract: Contract) -> tuple[str, ...]:
        """Return the media types that this model can answer with, the preferred one first."""
        ...

    def encode(
        self, media_type: str, contract: Contract, inputs: ValidatedInputs, prediction: Prediction
    ) -> EncodedAnswer:
        """Encode a prediction as ``media_type``, one of :meth:`available`."""
        ...


class Executor(Protocol):
    """Stages 6 and 7: a loaded bundle that runs validated inputs."""

    async def load(self) -> Contract:
        """Build the bundle and make one real forward pass; only then is the model ready. Raises BundleError."""
        ...

    @property
    def ready(self) -> bool:
        """Tell whether the model would answer now."""
        ...

    @property
    def device(self) -> str:
        """Return the torch device that the model runs on, for example ``cpu`` or ``cuda:0``."""
        ...

    async def run(self, inputs: ValidatedInputs, *, timeout_seconds: float) -> Prediction:
        """Run one item.

        Raises:
            QueueFull, ModelNotReady, Draining: at once, nothing was started.
            DeadlineExceeded: the time is over; the work has been stopped.
            ModelFailure: the bundle failed.
        """
        ...

    async def close(self) -> None:
        """Let accepted work finish and end."""
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


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """One line of the model repository's index (``RepositoryIndexResponse``).

    ``state`` is ``READY``, ``LOADING``, ``UNAVAILABLE`` or ``UNLOADED``; ``reason`` says why it is not ready.
    """

    name: str
    version: str
    state: str
    reason: str = ""


class ModelRepository(Protocol):
    """Stage 3: which models there are, and which of them are loaded."""

    def resolve(self, name: str, version: str | None) -> ServedModel:
        """Return a ready model; without a version, the highest one.

        Raises:
            ModelNotFound, ModelVersionNotFound, ModelNotReady.
        """
        ...

    def index(self) -> Sequence[ModelStatus]:
        """Return the state of every model known."""
        ...

    @property
    def ready(self) -> bool:
        """Tell whether every model that should be loaded is ready."""
        ...

    async def load(self, name: str) -> None:
        """Load a known model. Raises ModelNotFound, BundleError."""
        ...

    async def unload(self, name: str) -> None:
        """Let a model finish its work and end. Raises ModelNotFound."""
        ...


class CallSink(Protocol):
    """Stage 9: account for one finished call (``dataplane.call.Call``)."""

    def account(self, call: Any) -> None:
        """Record it. Must not block and must not raise."""
        ...
