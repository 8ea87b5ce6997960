"""The served answer to a golden case beside that of ``monai.bundle``, for whoever tries a bundle."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Literal

from bedside.bundle.agreement import Agreement, NotComparable, compare, pairs
from bedside.bundle.contract import Contract
from bedside.bundle.golden import GoldenCase, PackageMissing
from bedside.errors import BedsideError
from bedside.interfaces import Codec, Executor
from bedside.registry.golden import answer
from bedside.types import Prediction, RawPart, RawRecord

Reference = Callable[[Mapping[str, RawPart | RawRecord]], Awaitable[Prediction]]
"""Runs a case's inputs, by name, without Bedside. Raises NotComparable."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One golden case, served and run by MONAI.

    Attributes:
        outcome: ``agrees``, ``differs`` beyond what the case tolerates, or ``not compared``.
        outputs: by output, how far they agree.
        served_seconds: of the warm model.
        monai_seconds: of a fresh process: the configuration is parsed and built, weights are read, one item is run.
        remarks: what differs, or why nothing was compared.
    """

    outcome: Literal["agrees", "differs", "not compared"]
    outputs: tuple[Agreement, ...] = ()
    served_seconds: float = 0.0
    monai_seconds: float = 0.0
    remarks: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types; a difference that is no number is null."""
        return {
            "outcome": self.outcome,
            "served_seconds": round(self.served_seconds, 4),
            "monai_seconds": round(self.monai_seconds, 4),
            "outputs": [_agreement(found) for found in self.outputs],
            "remarks": list(self.remarks),
        }


async def compare_case(
    case: GoldenCase, codec: Codec, executor: Executor, contract: Contract, reference: Reference, *, seconds: float
) -> Comparison:
    """Run a case served and by MONAI, and compare every array of the answer.

    Args:
        case: with inputs that are at hand.
        codec: decodes them for the served model.
        executor: the served model, warm.
        contract: the model's.
        reference: runs MONAI.
        seconds: that the served run may take.
    """
    try:
        begin = perf_counter()
        served = await answer(case, codec, executor, contract, seconds=seconds)
        served_seconds = perf_counter() - begin
        inputs = await asyncio.to_thread(lambda: dict(zip(case.inputs, case.raw_inputs(), strict=True)))
        begin = perf_counter()
        by_monai = await reference(inputs)
        monai_seconds = perf_counter() - begin
        found = pairs(served.arrays, by_monai.arrays)
    except (NotComparable, PackageMissing) as reason:
        return Comparison("not compared", remarks=(str(reason),))
    except BedsideError as error:
        return Comparison("not compared", remarks=(error.detail,))
    remarks = tuple(text for name, left, right in found for text in case.disagreements(name, left, right))
    return Comparison(
        "differs" if remarks else "agrees",
        tuple(compare(name, left, right) for name, left, right in found),
        served_seconds,
        monai_seconds,
        remarks,
    )


def _agreement(found: Agreement) -> dict[str, Any]:
    largest = found.largest_difference
    return {
        "name": found.output,
        "elements": found.elements,
        "equal": found.equal,
        "fraction": found.fraction,
        "largest_difference": largest if largest < float("inf") else None,
    }
