"""Small Protocols: what the spine needs of its stages, so that it knows none of their implementations."""

from collections.abc import Mapping, Sequence
from pathlib import Path
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


class BundleStore(Protocol):
    """Where bundles live; a local folder today."""

    def bundles(self) -> Sequence[Path]:
        """Return the roots of the bundles found."""
        ...


class ResultSink(Protocol):
    """Stage 9: account for one request."""

    def account(self, record: Mapping[str, Any]) -> None:
        """Record a finished request. Must not block and must not raise."""
        ...
