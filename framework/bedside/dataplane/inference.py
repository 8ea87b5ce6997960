"""The spine. Every transport ends here; the numbers are those of docs/architecture.md.

1 receive            the transport: headers; once 2 and 3 have let the call in, the body and what it refers to
2 authenticate, authorise
3 resolve            model name and version to a loaded, vetted bundle
4 decode             media type to arrays with geometry
5 validate           against the contract: a named field, before anything is queued
6 queue              limits, deadline, isolation
7 run                the bundle's own preprocessing, inferer and postprocessing
8 encode             the answer
9 account            log event, metrics, audit record

A transport calls :meth:`DataPlane.admit` (or its halves, where the message names the model), reads the body, calls
:meth:`DataPlane.answer` for files out, for tensors :meth:`DataPlane.infer` and :meth:`DataPlane.write`; in every
case, last, :meth:`DataPlane.account`. What is answered is looked at in stage 8, and no transport knows of it.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import Any, NamedTuple, TypeVar

from bedside.bundle.contract import Contract
from bedside.bundle.validation import require_equal_shapes, validate
from bedside.dataplane.abreast import abreast
from bedside.dataplane.auditing import Auditor
from bedside.dataplane.call import Call
from bedside.errors import DeadlineExceeded, DecompressedTooLarge, MissingToken, UnknownInput
from bedside.interfaces import Authenticator, CallSink, Codec, Encoder, Executor, ModelRepository, ServedModel
from bedside.observability.traceparent import TraceParent
from bedside.settings import LimitSettings
from bedside.types import (
    DecodedImage,
    DecodedInput,
    EncodedAnswer,
    Prediction,
    Principal,
    RawInput,
    RawPart,
    RawRecord,
    RawTensor,
    UnverifiedToken,
    ValidatedInputs,
)

INLINE_DECODE_BYTES = 64 * 1024
"""Records and plain tensors up to this size are decoded on the event loop: the hop to a thread costs more than the
work. Files never are: a few kilobytes of compressed picture can be seconds of work."""

_DECODE_THREADS = 4

T = TypeVar("T")


class Row(NamedTuple):
    """One item that went through the model, with its result."""

    inputs: ValidatedInputs
    prediction: Prediction


class DataPlane:
    """Drives one call through the numbered stages."""

    def __init__(
        self,
        *,
        authenticator: Authenticator,
        authorise: Callable[[Principal, str], None],
        repository: ModelRepository,
        codec: Codec,
        encoder: Encoder,
        sink: CallSink,
        limits: LimitSettings,
        auditor: Auditor | None = None,
    ) -> None:
        self._authenticator = authenticator
        self._authorise = authorise
        self._repository = repository
        self._codec = codec
        self._encoder = encoder
        self._sink = sink
        self._limits = limits
        self._auditor = auditor or Auditor()
        self._watches = encoder.watches
        self._decoders = ThreadPoolExecutor(max_workers=_DECODE_THREADS, thread_name_prefix="decode")

    async def admit(self, call: Call, token: UnverifiedToken | None, model: str, version: str | None) -> ServedModel:
        """Stages 2 and 3: who calls, may they, and which loaded model is meant.

        Authorisation comes before the look-up, so that a caller without the scope cannot learn which models exist.

        Raises:
            Unauthenticated, InsufficientScope, ModelNotFound, ModelNotReady.
        """
        principal = await self.authenticate(call, token)
        return self.resolve(call, principal, model, version)

    async def authenticate(self, call: Call, token: UnverifiedToken | None) -> Principal:
        """Stage 2, first half: who calls. For transports whose message names the model. Raises Unauthenticated."""
        begin = perf_counter()
        try:
            # (2) authenticate
            if not token:
                raise MissingToken
            principal = await self._authenticator.authenticate(token)
            call.principal = principal
        finally:
            call.stages["authenticate"] = perf_counter() - begin
        return principal

    def resolve(self, call: Call, principal: Principal, model: str, version: str | None) -> ServedModel:
        """Stage 2, second half, and stage 3; see :meth:`admit`."""
        # (2) authorise
        self._authorise(principal, model)
        return self.find(call, model, version)

    def find(self, call: Call, model: str, version: str | None) -> ServedModel:
        """Stage 3 alone, for a call whose caller has been let in before. Raises ModelNotFound, ModelNotReady."""
        # (3) resolve
        served = self._repository.resolve(model, version)
        served.acquire()
        call.served = served
        call.model, call.version, call.digest = served.name, served.version, served.digest
        call.device = served.executor.device
        return served

    async def infer(self, call: Call, served: ServedModel, raw: Sequence[RawInput]) -> list[Row]:
        """Stages 4 to 7: decode, validate, queue, run.

        Raises:
            RequestError: decoding or validation refused an input; nothing was queued.
            Unavailable, DeadlineExceeded, ModelFailure: see ``Executor.run``.
        """
        return await self.run(call, served, await self.decode(call, served, raw))

    async def run(self, call: Call, served: ServedModel, rows: Sequence[ValidatedInputs]) -> list[Row]:
        """Stages 6 and 7 alone, of what :meth:`decode` gave. Raises Unavailable, DeadlineExceeded, ModelFailure."""
        await abreast()
        # (6) queue, (7) run
        begin = perf_counter()
        try:
            if len(rows) == 1:
                results = [await served.executor.run(rows[0], timeout_seconds=self.remaining(call))]
            else:
                results = await self._run(call, served.executor, rows)
        finally:
            call.stages["run"] = perf_counter() - begin
        for prediction in results:
            for stage, seconds in prediction.seconds.items():
                call.stages[stage] = call.stages.get(stage, 0.0) + seconds
        return [Row(inputs, prediction) for inputs, prediction in zip(rows, results, strict=True)]

    async def answer(self, call: Call, served: ServedModel, raw: list[RawInput], media_type: str) -> EncodedAnswer:
        """Stages 4 to 8 for files in, files out; raises what they raise.

        Of what may be as large as a study, nothing is held for longer than a stage needs it: ``raw`` is emptied.
        """
        inputs = await self.decode(call, served, raw)
        raw.clear()
        (row, *_) = await self.run(call, served, inputs)
        inputs.clear()
        row = Row(self._encoder.needed(media_type, served.contract, row.inputs), row.prediction)
        return await self.encode(call, served, row, media_type)

    async def decode(self, call: Call, served: ServedModel, raw: Sequence[RawInput]) -> list[ValidatedInputs]:
        """Stages 4 and 5 alone: refuse now what could not be run later. Raises RequestError."""
        await abreast()
        # (4) decode, (5) validate
        rows = await self._decode_and_validate(call, served.contract, raw)
        call.rows = len(rows)
        return rows

    async def encode(self, call: Call, served: ServedModel, row: Row, media_type: str) -> EncodedAnswer:
        """Stage 8 of the files-in, files-out transport; ``media_type`` is one of :meth:`available`."""
        await abreast()
        # (8) encode
        begin = perf_counter()
        try:
            if media_type == "application/json" and _size_of([row]) <= INLINE_DECODE_BYTES:
                answer = self._encoded(call, served.contract, row, media_type)
            else:
                answer = await asyncio.get_running_loop().run_in_executor(
                    self._decoders, self._encoded, call, served.contract, row, media_type
                )
        finally:
            call.stages["encode"] = perf_counter() - begin
        call.output_bytes = len(answer.body)
        return answer

    async def write(
        self, call: Call, served: ServedModel, rows: Sequence[Row], write: Callable[[Contract, Sequence[Row]], T]
    ) -> T:
        """Stage 8 of the tensors-in, tensors-out transports, whose ``write`` makes the message; it may raise."""
        await abreast()
        # (8) encode
        begin = perf_counter()
        try:
            if _size_of(rows) <= INLINE_DECODE_BYTES:
                return self._written(call, served.contract, rows, write)
            return await asyncio.to_thread(self._written, call, served.contract, rows, write)
        finally:
            call.stages["encode"] = perf_counter() - begin

    def available(self, served: ServedModel) -> tuple[str, ...]:
        """Return the media types that a model can answer with, the preferred one first."""
        return self._encoder.available(served.contract)

    @property
    def settles(self) -> bool:
        """Tell whether :meth:`settle` has anything to do."""
        return self._auditor.strict

    async def settle(self, call: Call) -> None:
        """Stage 9, before the answer: the audit record, where it has to be safe first. Raises AuditUnavailable."""
        await self._auditor.settle(call)

    def note(self, call: Call, raw: Sequence[RawInput]) -> None:
        """Have the audit trail tell which input a call has that is not decoded, for it is only named."""
        call.input_hash = self._auditor.fingerprint(raw)

    def span(self, call: Call) -> TraceParent | None:
        """Return the span of this call, which what it causes belongs to; None where it is in no trace."""
        return self._sink.begin(call)

    def account(self, call: Call) -> None:
        """Stage 9: one log event, the metrics and the audit record of this call; it lets go of the model."""
        if call.served is not None:
            call.served.release()
            call.served = None
        self._sink.account(call)
        self._auditor.account(call)

    async def close(self) -> None:
        """Release what the stages hold."""
        self._decoders.shutdown(wait=False, cancel_futures=True)
        await self._authenticator.close()

    def _encoded(self, call: Call, contract: Contract, row: Row, media_type: str) -> EncodedAnswer:
        answer = self._encoder.encode(media_type, contract, row.inputs, row.prediction)
        if self._watches:
            call.findings = (answer.finding or self._encoder.finding(contract, row.inputs, row.prediction),)
        return answer

    def _written(
        self, call: Call, contract: Contract, rows: Sequence[Row], write: Callable[[Contract, Sequence[Row]], T]
    ) -> T:
        answer = write(contract, rows)
        if self._watches:
            call.findings = [self._encoder.finding(contract, row.inputs, row.prediction) for row in rows]
        return answer

    async def _run(self, call: Call, executor: Executor, rows: Sequence[ValidatedInputs]) -> list[Prediction]:
        """Run the rows of a call, as many at one time as is worth it; the first failure is that of the call."""
        results: list[Prediction] = []
        step = executor.concurrency
        for start in range(0, len(rows), step):
            left = self.remaining(call)
            runs = [executor.run(row, timeout_seconds=left) for row in rows[start : start + step]]
            results += await _all(runs)
        return results

    def remaining(self, call: Call) -> float:
        """Return the seconds that the limit and the caller's patience leave a call. Raises DeadlineExceeded."""
        limit = self._limits.request_seconds if call.limit_seconds is None else call.limit_seconds
        remaining = min(limit, call.patience) - call.seconds
        if remaining <= 0:
            raise DeadlineExceeded
        return remaining

    async def _decode_and_validate(
        self, call: Call, contract: Contract, raw: Sequence[RawInput]
    ) -> list[ValidatedInputs]:
        begin = perf_counter()
        size = sum([len(item.data) for item in raw if not isinstance(item, RawRecord)])
        try:
            if size <= INLINE_DECODE_BYTES and all(map(_is_cheap, raw)):
                return self._checked(call, contract, raw)
            loop = asyncio.get_running_loop()
            async with asyncio.timeout(self.remaining(call)):
                return await loop.run_in_executor(self._decoders, self._checked, call, contract, raw)
        except TimeoutError:
            raise DeadlineExceeded from None
        finally:
            call.input_bytes = call.input_bytes or size
            call.stages["decode"] = perf_counter() - begin

    def _checked(self, call: Call, contract: Contract, raw: Sequence[RawInput]) -> list[ValidatedInputs]:
        call.input_hash = self._auditor.fingerprint(raw)
        tensors = [item for item in raw if isinstance(item, RawTensor)]
        if tensors:
            decoded = self._codec.decode_tensors(tensors, contract.inputs)
        elif contract.takes_document and len(raw) == 1 and isinstance(raw[0], RawRecord):
            decoded = [self._codec.decode_document(raw[0], contract.inputs)]
        else:
            decoded = [tuple(self._decode_parts(contract, raw))]
        if len(decoded) > 1:
            require_equal_shapes(contract, decoded)
        return [validate(contract, row) for row in decoded]

    def _decode_parts(self, contract: Contract, raw: Sequence[RawInput]) -> Iterator[DecodedInput]:
        size = 0
        for item in raw:
            if isinstance(item, RawTensor):
                continue
            decoded = self._decode_one(contract, item)
            if isinstance(decoded, DecodedImage):
                size += len(decoded.payload)
                if size > self._limits.decompressed_bytes:
                    raise DecompressedTooLarge(
                        f"the files have more than {self._limits.decompressed_bytes} bytes together", field=decoded.name
                    )
            yield decoded

    def _decode_one(self, contract: Contract, item: RawPart | RawRecord) -> DecodedInput:
        if isinstance(item, RawRecord):
            if contract.record is None:
                raise UnknownInput("this model takes no JSON record", field="body")
            return self._codec.decode_record(item, contract.record)
        # A body without a name is the only input; with several inputs it must be named.
        spec = contract.only if item.name is None else contract.input(item.name)
        if spec is None:
            names = ", ".join(spec.name for spec in contract.inputs)
            expected = f"expected a part for each of: {names}" if names else "this model takes no input"
            raise UnknownInput(expected, field="body" if item.name is None else "part name")
        return self._codec.decode_part(item, spec)


async def _all(runs: Sequence[Coroutine[Any, Any, Prediction]]) -> list[Prediction]:
    tasks = [asyncio.ensure_future(run) for run in runs]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


def _size_of(rows: Sequence[Row]) -> int:
    """Return the bytes of what a model answered: up to some, writing it costs less than a hop to a thread."""
    arrays = [array.stored.nbytes for row in rows for array in row.prediction.arrays]
    return sum(arrays) + sum([len(file.data) for row in rows for file in row.prediction.files])


def _is_cheap(item: RawInput) -> bool:
    if isinstance(item, RawPart):
        return item.media_type.startswith("application/json")
    return isinstance(item, RawRecord) or item.datatype != "BYTES"
