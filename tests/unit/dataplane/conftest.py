"""Small stages in memory that write down in which order they were taken."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bedside.bundle.contract import Contract, InputSpec
from bedside.dataplane.call import Call
from bedside.dataplane.inference import DataPlane
from bedside.errors import BedsideError
from bedside.observability.traceparent import TraceParent
from bedside.settings import LimitSettings
from bedside.types import (
    DecodedImage,
    DecodedInput,
    DecodedRecord,
    DecodedValue,
    EncodedAnswer,
    Finding,
    OutputArray,
    Prediction,
    Principal,
    RawPart,
    RawRecord,
    RawTensor,
    UnverifiedToken,
    ValidatedInputs,
)

IMAGE = InputSpec("image", "image", spatial_dims=3, channels=(1,))


def contract(*inputs: InputSpec) -> Contract:
    """Return the contract of a model with those inputs."""
    return Contract("spleen", "1.2.0", "sha256:0", "", "", inputs, (), {})


@dataclass
class Stages:
    """Every stage of the spine; ``fails`` makes one of them raise."""

    contract: Contract = field(default_factory=lambda: contract(IMAGE))
    order: list[str] = field(default_factory=list)
    threads: dict[str, int] = field(default_factory=dict)
    fails: dict[str, BedsideError] = field(default_factory=dict)
    timeouts: list[float] = field(default_factory=list)
    accounted: list[Call] = field(default_factory=list)
    decoded_shape: tuple[int, ...] = (2, 3, 4)
    rows: int = 1
    watches: bool = False
    held: list[int] = field(default_factory=list)

    def take(self, stage: str) -> None:
        """Write down that a stage is taken, or fail in it."""
        self.order.append(stage)
        self.threads[stage] = threading.get_ident()
        if stage in self.fails:
            raise self.fails[stage]

    # Authenticator
    async def authenticate(self, token: UnverifiedToken) -> Principal:
        """Let everybody in."""
        self.take("authenticate")
        return Principal("somebody", "https://issuer", frozenset({"bedside.infer"}), 2e9)

    # authorise
    def authorise(self, principal: Principal, model: str) -> None:
        """Allow everything."""
        self.take("authorise")

    # ModelRepository and ServedModel
    def resolve(self, name: str, version: str | None) -> Any:
        """Return the one model there is."""
        self.take("resolve")
        return SimpleNamespace(
            name="spleen",
            version="1.2.0",
            digest="sha256:0",
            contract=self.contract,
            executor=self,
            acquire=lambda: self.held.append(+1),
            release=lambda: self.held.append(-1),
        )

    device = "cpu"
    concurrency = 1

    # Codec
    def decode_part(self, part: RawPart, spec: InputSpec) -> DecodedInput:
        """Return an image of the shape that the test wants."""
        self.take("decode")
        return DecodedImage(spec.name, b"", ".nii", self.decoded_shape, len(self.decoded_shape), 1, "uint8")

    def decode_record(self, record: RawRecord, spec: InputSpec) -> DecodedInput:
        """Return the record's numbers."""
        self.take("decode")
        return DecodedRecord(spec.name, np.array(list(record.values.values()), np.float32), record.values)

    def decode_document(self, document: RawRecord, specs: Sequence[InputSpec]) -> tuple[DecodedInput, ...]:
        """Return the members as they are."""
        self.take("decode")
        return tuple(DecodedValue(name, value) for name, value in document.values.items())

    def decode_tensors(
        self, tensors: Sequence[RawTensor], specs: Sequence[InputSpec]
    ) -> list[tuple[DecodedInput, ...]]:
        """Return so many rows as the test wants."""
        self.take("decode")
        return [(DecodedRecord("features", np.zeros(1, np.float32), {"age": 0}),)] * self.rows

    # Executor
    async def run(self, inputs: ValidatedInputs, *, timeout_seconds: float) -> Prediction:
        """Return a prediction that took a known time."""
        self.timeouts.append(timeout_seconds)
        self.take("run")
        return Prediction((OutputArray("pred", np.zeros(2)),), (), {"inference": 1.0, "queue": 0.5})

    # Encoder
    def available(self, contract: Contract) -> tuple[str, ...]:
        """Return two media types."""
        return ("application/gzip", "application/json")

    def encode(
        self, media_type: str, contract: Contract, inputs: ValidatedInputs, prediction: Prediction
    ) -> EncodedAnswer:
        """Return five bytes."""
        self.take("encode")
        return EncodedAnswer(media_type, b"bytes")

    def finding(self, contract: Contract, inputs: ValidatedInputs, prediction: Prediction) -> Finding:
        """Return a class, less sure from row to row."""
        self.take("find")
        return Finding(("healthy", 1 / self.order.count("find")))

    def needed(self, media_type: str, contract: Contract, inputs: ValidatedInputs) -> ValidatedInputs:
        """Return all of it."""
        return inputs

    # CallSink
    def begin(self, call: Call) -> TraceParent | None:
        """Return the caller's span."""
        return call.parent

    def account(self, call: Call) -> None:
        """Keep the call."""
        self.take("account")
        self.accounted.append(call)

    # Authenticator and Executor
    async def close(self) -> None:
        """Be told that it is over."""
        self.take("close")

    def plane(self, **limits: float) -> DataPlane:
        """Return a data plane over these stages."""
        whole: Any = self
        return DataPlane(
            authenticator=whole,
            authorise=self.authorise,
            repository=whole,
            codec=whole,
            encoder=whole,
            sink=whole,
            limits=LimitSettings.model_validate(limits),
        )


@pytest.fixture
def stages() -> Stages:
    """Return the stages."""
    return Stages()


@pytest.fixture
def call() -> Call:
    """Return a call that has just been received."""
    return Call("id-1", "rest", "predict")
