"""A golden case served and by MONAI: what is compared, counted and tolerated."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.unit.registry.test_golden import CONTRACT, Executor, case

from bedside.bundle.agreement import NotComparable
from bedside.bundle.golden import GoldenCase, read_golden
from bedside.codecs import Codecs
from bedside.errors import RunFailed
from bedside.registry.parity import Comparison, compare_case
from bedside.settings import LimitSettings
from bedside.types import OutputArray, Prediction, RawPart, RawRecord

CODECS = Codecs(LimitSettings())


def one_case(tmp_path: Path, described: dict[str, Any]) -> GoldenCase:
    """Return a case as it is read."""
    (tmp_path / "golden").mkdir()
    (tmp_path / "golden" / "cases.json").write_text(json.dumps([described]))
    (found,) = read_golden(tmp_path)
    return found


class Monai:
    """Answers with the disease's probability, or as the test wants."""

    def __init__(self, probability: float = 0.5, error: Exception | None = None) -> None:
        self.probability = probability
        self.error = error
        self.given: Mapping[str, RawPart | RawRecord] = {}

    async def __call__(self, inputs: Mapping[str, RawPart | RawRecord]) -> Prediction:
        """Answer."""
        self.given = inputs
        if self.error:
            raise self.error
        values = np.array([1 - self.probability, self.probability], np.float32)
        return Prediction((OutputArray("pred", values),))


async def compared(tmp_path: Path, monai: Monai, executor: Executor | None = None) -> Comparison:
    """Compare the case of a man of fifty."""
    described = case("fifty", 50, 0.5)
    described["expected"]["pred"]["tolerance"] = 0.01
    return await compare_case(
        one_case(tmp_path, described), CODECS, executor or Executor(), CONTRACT, monai, seconds=60
    )


async def test_equal_answers_agree(tmp_path: Path) -> None:
    """Element by element; MONAI is given the case's raw input under its name."""
    monai = Monai()
    found = await compared(tmp_path, monai)
    assert (found.outcome, found.remarks) == ("agrees", ())
    assert [(output.output, output.equal, output.elements) for output in found.outputs] == [("pred", 2, 2)]
    assert monai.given == {"features": RawRecord({"age": 50})}
    assert found.monai_seconds >= 0


async def test_a_difference_within_the_cases_tolerance_agrees(tmp_path: Path) -> None:
    """And is counted all the same."""
    found = await compared(tmp_path, Monai(0.505))
    assert found.outcome == "agrees"
    assert found.outputs[0].equal == 0
    assert found.outputs[0].largest_difference == pytest.approx(0.005, abs=1e-6)


async def test_a_difference_beyond_it_is_named(tmp_path: Path) -> None:
    """With the output and how much differs."""
    found = await compared(tmp_path, Monai(0.6))
    assert found.outcome == "differs"
    assert found.remarks == ("pred: 2 of 2 numbers differ by more than 0.01",)


@pytest.mark.parametrize(
    ("monai", "error", "remark"),
    [
        (Monai(error=NotComparable("it needs a package")), None, "it needs a package"),
        (Monai(), RunFailed(cause="ValueError", where="net.py:3"), None),
    ],
    ids=["MONAI cannot", "Bedside cannot"],
)
async def test_what_cannot_be_compared_says_why(
    tmp_path: Path, monai: Monai, error: Exception | None, remark: str | None
) -> None:
    """It neither agrees nor differs."""
    executor = Executor()
    executor.error = error
    found = await compared(tmp_path, monai, executor)
    assert (found.outcome, found.outputs) == ("not compared", ())
    assert found.remarks
    assert remark is None or found.remarks == (remark,)


async def test_the_comparison_is_json(tmp_path: Path) -> None:
    """Counts, fraction, largest difference and both times; a difference that is no number is null."""
    found = await compared(tmp_path, Monai(float("nan")))
    document = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert document["outcome"] == "differs"
    assert document["outputs"] == [
        {"name": "pred", "elements": 2, "equal": 0, "fraction": 0.0, "largest_difference": None}
    ]
    assert set(document) == {"outcome", "served_seconds", "monai_seconds", "outputs", "remarks"}
