"""The proof before service: a warm model answers its bundle's golden cases, and nobody else until they are right."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Literal

from bedside.bundle.contract import Contract
from bedside.bundle.folder import BundleFolder
from bedside.bundle.golden import GoldenCase, PackageMissing, read_golden
from bedside.bundle.validation import validate
from bedside.errors import BedsideError, BundleError, GoldenMismatch
from bedside.interfaces import Codec, Executor
from bedside.settings import RegistrySettings
from bedside.types import DecodedInput, Prediction, RawPart, RawRecord, ValidatedInputs


@dataclass(frozen=True, slots=True)
class GoldenResult:
    """How one golden case went; ``remarks`` says what differs, or why it was skipped."""

    name: str
    outcome: Literal["passed", "failed", "skipped"]
    seconds: float
    remarks: tuple[str, ...] = ()


OnResults = Callable[[BundleFolder, Sequence[GoldenResult]], None]
OnFallback = Callable[[BundleFolder, str], None]


class GoldenCheck:
    """Keeps a model whose answers are not those it promises from serving.

    Args:
        settings: whether a mismatch refuses the model, and the time that all cases may take.
        codec: decodes the cases' inputs as it does a caller's.
        on_results: told how the cases of a bundle went (for the log and the metrics).
        on_fallback: told of a bundle whose network no longer runs in the quicker form that is named.
    """

    def __init__(
        self, settings: RegistrySettings, codec: Codec, on_results: OnResults, on_fallback: OnFallback
    ) -> None:
        self._settings = settings
        self._codec = codec
        self._on_results = on_results
        self._on_fallback = on_fallback

    async def __call__(self, folder: BundleFolder, executor: Executor, contract: Contract) -> None:
        """Run the cases of a bundle, those whose input is at hand.

        Where a quicker form of its network does not pass them, PyTorch's own is tried before anything is refused.

        Raises:
            GoldenMismatch: a case failed, or they took too long; the detail names the case and the difference.
            InvalidBundle: the cases cannot be read.
        """
        if self._settings.golden == "off":
            return
        try:
            results = await self._results(folder, executor, contract)
            if outcomes(results)["failed"] and (left := await executor.run_eager()):
                self._on_fallback(folder, left)
                results = await self._results(folder, executor, contract)
            self._on_results(folder, results)
            _require(results)
        except BundleError:
            if self._settings.golden == "require":
                raise

    async def _results(self, folder: BundleFolder, executor: Executor, contract: Contract) -> list[GoldenResult]:
        left = self._settings.golden_seconds
        results = []
        for case in await asyncio.to_thread(read_golden, folder.root):
            results.append(await run_case(case, self._codec, executor, contract, seconds=left))
            left -= results[-1].seconds
        return results


def _require(results: Sequence[GoldenResult]) -> None:
    failed = [result for result in results if result.outcome == "failed"]
    if failed:
        more = f" ({len(failed)} of {len(results)} cases failed)" if len(results) > 1 else ""
        raise GoldenMismatch(f"golden case '{failed[0].name}': {'; '.join(failed[0].remarks)}{more}")


def outcomes(results: Sequence[GoldenResult]) -> dict[str, int]:
    """Return how many cases passed, failed and were skipped."""
    counts = Counter(result.outcome for result in results)
    return {outcome: counts[outcome] for outcome in ("passed", "failed", "skipped")}


async def run_case(
    case: GoldenCase, codec: Codec, executor: Executor, contract: Contract, *, seconds: float
) -> GoldenResult:
    """Run one case the way a request would run, within so many seconds."""
    begin = perf_counter()
    try:
        async with asyncio.timeout(max(0.0, seconds)):
            remarks = await _remarks(case, codec, executor, contract, seconds)
    except PackageMissing as missing:
        return GoldenResult(case.name, "skipped", 0.0, (str(missing),))
    except TimeoutError:
        remarks = ["not finished in time (registry.golden_seconds)"]
    except BedsideError as error:
        remarks = [error.detail]
    return GoldenResult(case.name, "failed" if remarks else "passed", perf_counter() - begin, tuple(remarks))


async def answer(
    case: GoldenCase, codec: Codec, executor: Executor, contract: Contract, *, seconds: float
) -> Prediction:
    """Answer one case as a request would be. Raises BedsideError, PackageMissing."""
    inputs = await asyncio.to_thread(inputs_of, case, codec, contract)
    return await executor.run(inputs, timeout_seconds=seconds)


async def _remarks(case: GoldenCase, codec: Codec, executor: Executor, contract: Contract, seconds: float) -> list[str]:
    prediction = await answer(case, codec, executor, contract, seconds=seconds)
    outputs = {output.name: output for output in prediction.arrays}
    labels = {output.name: output.labels for output in contract.outputs}
    return await asyncio.to_thread(case.differences, outputs, labels)


def inputs_of(case: GoldenCase, codec: Codec, contract: Contract) -> ValidatedInputs:
    """Return a case's inputs as a transport would hand them to the model. Raises BedsideError, PackageMissing."""
    return decoded(codec, contract, case.raw_inputs())


def decoded(codec: Codec, contract: Contract, items: Iterable[RawPart | RawRecord]) -> ValidatedInputs:
    """Decode and validate what is of no call; a part without a name is of the first input. Raises RequestError."""
    return validate(contract, [_decoded(codec, contract, item) for item in items])


def _decoded(codec: Codec, contract: Contract, item: RawPart | RawRecord) -> DecodedInput:
    if isinstance(item, RawRecord):
        return codec.decode_record(item, contract.inputs[0])
    return codec.decode_part(item, contract.input(item.name or "") or contract.inputs[0])
