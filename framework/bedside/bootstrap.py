"""The one place that builds things and puts them together; nothing else knows which implementation is used."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Literal

from bedside.batching.bounded import BoundedExecutor
from bedside.bundle.contract import Contract
from bedside.bundle.folder import BundleFolder
from bedside.bundle.golden import GoldenCase, PackageMissing, read_golden
from bedside.bundle.validation import validate
from bedside.bundle.vetting import pure_configuration
from bedside.codecs import Codecs
from bedside.errors import BedsideError
from bedside.interfaces import Executor
from bedside.runtime.inline import InlineExecutor
from bedside.runtime.process import ProcessExecutor
from bedside.runtime.staging import Staging
from bedside.settings import Settings
from bedside.types import DecodedInput, RawPart, RawRecord


@dataclass(frozen=True, slots=True)
class GoldenResult:
    """How one golden case went; ``remarks`` says what differs, or why it was skipped."""

    name: str
    outcome: Literal["passed", "failed", "skipped"]
    seconds: float
    remarks: tuple[str, ...] = ()


async def inspect_bundle(settings: Settings, folder: BundleFolder) -> Contract:
    """Load a bundle in a process of its own, run it once, and return its contract. Raises BundleError."""
    async with _loaded(settings, folder) as (_, contract):
        return contract


async def run_golden_cases(settings: Settings, folder: BundleFolder) -> list[GoldenResult]:
    """Run a bundle's golden cases the way a request would run. Raises BundleError."""
    cases = read_golden(folder.root)
    if not cases:
        return []
    codecs = Codecs(settings.limits)
    async with _loaded(settings, folder) as (executor, contract):
        return [await _golden(case, codecs, executor, contract, settings) for case in cases]


@asynccontextmanager
async def _loaded(settings: Settings, folder: BundleFolder) -> AsyncIterator[tuple[Executor, Contract]]:
    staging = Staging(settings.runtime.staging_dir)
    executor = ProcessExecutor(folder, settings.runtime, staging)
    try:
        yield executor, await executor.load()
    finally:
        await executor.close()
        staging.close()


async def _golden(
    case: GoldenCase, codecs: Codecs, executor: Executor, contract: Contract, settings: Settings
) -> GoldenResult:
    begin = perf_counter()
    try:
        raw = case.raw_inputs()
        inputs = validate(contract, [_decode(codecs, contract, item) for item in raw])
        prediction = await executor.run(inputs, timeout_seconds=settings.limits.request_seconds)
    except PackageMissing as missing:
        return GoldenResult(case.name, "skipped", 0.0, (str(missing),))
    except BedsideError as error:
        return GoldenResult(case.name, "failed", perf_counter() - begin, (error.detail,))
    labels = {output.name: output.labels for output in contract.outputs}
    remarks = case.differences({output.name: output for output in prediction.arrays}, labels)
    return GoldenResult(case.name, "failed" if remarks else "passed", perf_counter() - begin, tuple(remarks))


def _decode(codecs: Codecs, contract: Contract, item: RawPart | RawRecord) -> DecodedInput:
    if isinstance(item, RawRecord):
        return codecs.decode_record(item, contract.inputs[0])
    return codecs.decode_part(item, contract.input(item.name or "") or contract.inputs[0])


def make_executor(
    folder: BundleFolder, settings: Settings, staging: Staging, on_crash: Callable[..., None]
) -> Executor:
    """Choose how a bundle runs: on the event loop where it asks for it and may, else in processes of its own."""
    if folder.policy.execution == "inline" and _may_run_inline(folder):
        return InlineExecutor(folder, settings.runtime, staging)
    runtime = settings.runtime
    return BoundedExecutor(
        ProcessExecutor(folder, runtime, staging, on_crash),
        slots=runtime.workers,
        queue_length=settings.limits.queue_length,
    )


def _may_run_inline(folder: BundleFolder) -> bool:
    # Records have no spatial shape; what touches files or runs code of its own stays behind a process boundary.
    record = all(not tensor.spatial_shape for tensor in folder.metadata.inputs.values())
    return record and bool(folder.metadata.inputs) and pure_configuration(folder)
