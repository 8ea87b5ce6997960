"""A bundle without a server: loaded once, looked at, run on its golden cases or a validation set, tuned."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing

from bedside.bundle.contract import Contract
from bedside.bundle.folder import BundleFolder
from bedside.bundle.golden import read_golden
from bedside.bundle.reference import Counts
from bedside.bundle.vetting import read_site_policy
from bedside.codecs import Answers, Codecs
from bedside.monitoring.drift import counted
from bedside.observability.metrics import Metrics
from bedside.registry.admission import Admission
from bedside.registry.golden import GoldenResult, decoded, run_case
from bedside.registry.parity import Comparison, compare_case
from bedside.registry.tuning import Tuning, tune
from bedside.runtime.facts import Inspection
from bedside.runtime.process import ProcessExecutor
from bedside.runtime.reference import MonaiRun
from bedside.runtime.staging import Staging
from bedside.settings import Settings
from bedside.types import RawPart


async def inspect_bundle(settings: Settings, folder: BundleFolder) -> Inspection:
    """Load a bundle in a process of its own and run it. Raises BundleError."""
    async with loaded(settings, folder) as (executor, contract):
        return Inspection(contract, executor.layers, executor.memory, executor.batches, executor.acceleration)


async def run_golden_cases(
    settings: Settings, folder: BundleFolder, *, with_monai: bool = True
) -> list[tuple[GoldenResult, Comparison | None]]:
    """Run a bundle's golden cases the way a request would run, and the way MONAI would. Raises BundleError."""
    cases = read_golden(folder.root)
    if not cases:
        return []
    codecs, seconds = Codecs(settings.limits), settings.limits.request_seconds
    async with loaded(settings, folder) as (executor, contract):
        results = [await run_case(case, codecs, executor, contract, seconds=seconds) for case in cases]
        if not with_monai:
            return [(result, None) for result in results]
        with closing(Staging(settings.runtime.staging_dir)) as staging:
            reference = MonaiRun(folder, contract, settings.runtime, staging)
            return [
                (result, await compare_case(case, codecs, executor, contract, reference, seconds=seconds))
                for case, result in zip(cases, results, strict=True)
            ]


async def count_answers(settings: Settings, folder: BundleFolder, cases: Iterable[Sequence[RawPart]]) -> Counts:
    """Answer cases the way requests would be, and count what the answers say, as drift is. Raises BedsideError."""
    codecs, answers, metrics = Codecs(settings.limits), Answers(), Metrics()
    of_model = metrics.for_model(folder.name, folder.metadata.version)
    async with loaded(settings, folder) as (executor, contract):
        for case in cases:
            inputs = await asyncio.to_thread(decoded, codecs, contract, case)
            prediction = await executor.run(inputs, timeout_seconds=settings.limits.request_seconds)
            of_model.answered([answers.finding(contract, inputs, prediction)])
    return counted(metrics)


async def tune_bundle(settings: Settings, folder: BundleFolder, rounds: int) -> Tuning:
    """Measure the ways of running a bundle's network beside PyTorch's own. Raises BundleError."""

    def load(name: str) -> AbstractAsyncContextManager[tuple[ProcessExecutor, Contract]]:
        asked = settings.runtime.model_copy(update={"acceleration": name, "forecast_seconds": 0, "batch_size": 1})
        return loaded(settings.model_copy(update={"runtime": asked}), folder)

    return await tune(folder, load, Codecs(settings.limits), rounds=rounds, seconds=settings.limits.request_seconds)


@asynccontextmanager
async def loaded(settings: Settings, folder: BundleFolder) -> AsyncIterator[tuple[ProcessExecutor, Contract]]:
    """Admit a bundle and load it in a process of its own, for as long as the block lasts. Raises BundleError."""
    await Admission(settings.admission, read_site_policy(settings.admission.policy_file)).admit(folder)
    staging = Staging(settings.runtime.staging_dir)
    executor = ProcessExecutor(folder, settings.runtime, staging)
    try:
        yield executor, await executor.load()
    finally:
        await executor.close()
        staging.close()
