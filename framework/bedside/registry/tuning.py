"""Which way of running a bundle's network is the fastest of those that give eager's answers, measured as served."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Protocol

from bedside.bundle.agreement import NotComparable, close, compare, pairs
from bedside.bundle.contract import Contract
from bedside.bundle.folder import BundleFolder
from bedside.bundle.golden import GoldenCase, PackageMissing, read_golden
from bedside.bundle.sample import sample_inputs
from bedside.bundle.tuned import LEAST_GAIN, Machine, Tuned
from bedside.errors import BundleError, ModelFailure
from bedside.interfaces import Codec, Executor
from bedside.registry.golden import inputs_of
from bedside.settings import ACCELERATIONS
from bedside.types import Prediction, ValidatedInputs


class Way(Protocol):
    """How a loaded network runs."""

    @property
    def name(self) -> str:
        """Return the way's name, ``eager`` where it is PyTorch's own."""

    @property
    def why(self) -> str:
        """Return why it is eager; empty where it is not."""

    @property
    def detail(self) -> str:
        """Return more of that."""

    @property
    def machine(self) -> Machine:
        """Return what a choice here is bound to."""


class TunableExecutor(Executor, Protocol):
    """A model that tells how its network runs."""

    @property
    def acceleration(self) -> Way:
        """Return that."""


Load = Callable[[str], AbstractAsyncContextManager[tuple[TunableExecutor, Contract]]]
"""Loads the bundle with its network run in the way that is named, for as long as the block lasts."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One way of running the network.

    Attributes:
        name: of the way.
        seconds: median of one answer, as served; 0 where it was not run.
        ratio: how many times as fast as eager: the median of alternating rounds.
        equal: part of the answers' numbers that are eager's, to the bit.
        why: key of ``facts.WHY_EAGER``: why it cannot be had; empty where it can.
        remarks: why it is not kept.
    """

    name: str
    seconds: float = 0.0
    ratio: float = 0.0
    equal: float = 0.0
    why: str = ""
    remarks: tuple[str, ...] = ()

    @property
    def kept(self) -> bool:
        """Tell whether it may serve, and is worth it."""
        return not self.why and not self.remarks and self.ratio >= LEAST_GAIN


@dataclass(frozen=True, slots=True)
class Tuning:
    """What was measured of a bundle, on this machine.

    Attributes:
        digest: the bundle's.
        machine: this one.
        inputs: names of the golden cases that were run; empty where it was a made-up sample.
        eager_seconds: median of one answer.
        ways: all of them.
    """

    digest: str
    machine: Machine
    inputs: tuple[str, ...]
    eager_seconds: float
    ways: tuple[Measured, ...]

    @property
    def choice(self) -> Tuned | None:
        """Return the fastest that is kept; None where nothing is."""
        best = max((way for way in self.ways if way.kept), key=lambda way: way.ratio, default=None)
        if best is None:
            return None
        machine = self.machine
        return Tuned(
            acceleration=best.name,
            ratio=round(best.ratio, 2),
            digest=self.digest,
            torch=machine.torch,
            processor=machine.processor,
            threads=machine.threads,
        )


@dataclass(frozen=True, slots=True)
class _Input:
    inputs: ValidatedInputs
    case: GoldenCase | None = None

    def remarks(self, quick: Prediction, eager: Prediction, contract: Contract) -> list[str]:
        """Return how an answer differs from eager's by more than the bundle tolerates, or from what is expected."""
        try:
            found = pairs(quick.arrays, eager.arrays)
        except NotComparable as reason:
            return [str(reason)]
        if self.case is None:
            return [f"{name}: not eager's" for name, left, right in found if not close(left, right)]
        labels = {output.name: output.labels for output in contract.outputs}
        apart = [text for name, left, right in found for text in self.case.disagreements(name, left, right)]
        return apart or self.case.differences({output.name: output for output in quick.arrays}, labels)


async def tune(folder: BundleFolder, load: Load, codec: Codec, *, rounds: int, seconds: float) -> Tuning:
    """Load the bundle eager, and each other way beside it in turn; run its golden cases, or a sample, in both.

    Args:
        folder: the bundle.
        load: loads it.
        codec: decodes the golden cases' inputs.
        rounds: how often each is run for its time.
        seconds: that one run may take.

    Raises:
        BundleError: it cannot be loaded.
        ModelFailure: it cannot run its own inputs.
    """
    async with load("off") as (eager, contract):
        inputs = await asyncio.to_thread(_inputs, folder, codec, contract)
        expected = [await eager.run(one.inputs, timeout_seconds=seconds) for one in inputs]
        bench = _Bench(eager, contract, inputs, expected, rounds, seconds)
        ways = [await bench.measure(name, load) for name in ACCELERATIONS]
        names = tuple(one.case.name for one in inputs if one.case is not None)
        return Tuning(folder.digest, eager.acceleration.machine, names, median(bench.eager_seconds or [0]), tuple(ways))


def _inputs(folder: BundleFolder, codec: Codec, contract: Contract) -> list[_Input]:
    found = []
    for case in read_golden(folder.root):
        try:
            found.append(_Input(inputs_of(case, codec, contract), case))
        except PackageMissing:
            continue
    return found or [_Input(sample_inputs(contract.inputs, folder.metadata))]


class _Bench:
    def __init__(
        self,
        eager: Executor,
        contract: Contract,
        inputs: Sequence[_Input],
        expected: Sequence[Prediction],
        rounds: int,
        seconds: float,
    ) -> None:
        self._eager, self._contract = eager, contract
        self._inputs, self._expected = inputs, expected
        self._rounds, self._limit = rounds, seconds
        self.eager_seconds: list[float] = []

    async def measure(self, name: str, load: Load) -> Measured:
        try:
            async with load(name) as (quick, _):
                way = quick.acceleration
                if way.name != name:
                    return Measured(name, why=way.why, remarks=(way.detail,) if way.detail else ())
                equal, remarks = await self._agreement(quick)
                times = [await self._round(quick) for _ in range(self._rounds)]
        except (BundleError, ModelFailure) as error:
            return Measured(name, why="not_made", remarks=(error.detail,))
        ratio = median(eager / own for eager, own in times)
        return Measured(name, median(own for _, own in times), ratio, equal, remarks=tuple(remarks))

    async def _agreement(self, quick: Executor) -> tuple[float, list[str]]:
        elements, equal, remarks = 0, 0, list[str]()
        for one, expected in zip(self._inputs, self._expected, strict=True):
            prediction = await quick.run(one.inputs, timeout_seconds=self._limit)
            differs = one.remarks(prediction, expected, self._contract)
            remarks += differs or ([] if prediction.values == expected.values else ["other values"])
            if not differs:
                found = [compare(*pair) for pair in pairs(prediction.arrays, expected.arrays)]
                elements += sum(one.elements for one in found)
                equal += sum(one.equal for one in found)
        return equal / elements if elements else 0.0, remarks

    async def _round(self, quick: Executor) -> tuple[float, float]:
        """Return the seconds of one input, eager and quick, one after the other: load of the machine meets both."""
        times = []
        for executor in (self._eager, quick):
            begin = perf_counter()
            for one in self._inputs:
                await executor.run(one.inputs, timeout_seconds=self._limit)
            times.append((perf_counter() - begin) / len(self._inputs))
        self.eager_seconds.append(times[0])
        return times[0], times[1]
