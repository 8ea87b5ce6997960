"""Two answers beside each other."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from bedside.bundle.agreement import NotComparable, close, compare, pairs
from bedside.bundle.golden import GoldenCase
from bedside.types import OutputArray


def output(name: str, *values: float, dtype: str = "float32") -> OutputArray:
    """Return an output."""
    return OutputArray(name, np.array(values, dtype))


@given(hnp.arrays(np.float32, hnp.array_shapes(max_dims=3, max_side=4)))
def test_an_answer_agrees_with_itself(array: NDArray[np.float32]) -> None:
    """Also where it holds NaN and infinity."""
    found = compare("pred", OutputArray("pred", array), OutputArray("pred", array.copy()))
    assert (found.elements, found.equal, found.largest_difference, found.fraction) == (array.size, array.size, 0.0, 1.0)


def test_differences_are_counted_and_the_largest_told() -> None:
    """Of any type: unsigned numbers do not wrap around."""
    found = compare("m", output("m", 0, 1, 255, 7, dtype="uint8"), output("m", 0, 2, 0, 7, dtype="uint8"))
    assert (found.equal, found.fraction, found.largest_difference) == (2, 0.5, 255.0)


def test_a_number_and_no_number_differ() -> None:
    """And the difference is no number either."""
    found = compare("p", output("p", math.nan, 1), output("p", 0.5, 1))
    assert found.equal == 1
    assert math.isnan(found.largest_difference)


def test_nothing_agrees_with_nothing() -> None:
    """An array without elements is an array."""
    found = compare("p", output("p"), output("p"))
    assert (found.elements, found.fraction, found.largest_difference) == (0, 1.0, 0.0)


def test_outputs_are_paired_by_name() -> None:
    """In whatever order, and whatever else MONAI left."""
    served, reference = [output("a", 1), output("b", 2)], [output("b", 2), output("x", 9), output("a", 1)]
    assert [
        (name, left is served[i], right.name) for i, (name, left, right) in enumerate(pairs(served, reference))
    ] == [
        ("a", True, "a"),
        ("b", True, "b"),
    ]


def test_written_files_are_paired_in_order() -> None:
    """Files have no names of outputs."""
    served, reference = [output("seg", 1), output("heat", 2)], [output("", 1), output("", 2)]
    assert [(name, right is reference[i]) for i, (name, _, right) in enumerate(pairs(served, reference))] == [
        ("seg", True),
        ("heat", True),
    ]


@pytest.mark.parametrize(
    ("served", "reference", "reason"),
    [
        ([], [output("a", 1)], "no array"),
        ([output("a", 1)], [output("", 1), output("", 1)], "1 arrays are served, MONAI gave 2"),
        ([output("a", 1, 2)], [output("a", 1)], r"\(2,\) is served, MONAI gave \(1,\)"),
    ],
    ids=["nothing served", "another number", "another shape"],
)
def test_what_cannot_be_paired_is_told(served: list[OutputArray], reference: list[OutputArray], reason: str) -> None:
    """With both sides, for whoever looks for the reason."""
    with pytest.raises(NotComparable, match=reason):
        pairs(served, reference)


MASKS = GoldenCase("m", {}, {"mask": {"file": "mask.nii.gz", "min_dice": 0.9}}, Path())


def mask(voxels: int, affine: NDArray[np.float64] | None = None) -> OutputArray:
    """Return a mask whose label has so many voxels of a hundred."""
    array = np.zeros(100, np.uint8)
    array[:voxels] = 1
    return OutputArray("mask", array.reshape(10, 10), affine)


@pytest.mark.parametrize(("voxels", "differ"), [(50, False), (45, False), (30, True)])
def test_masks_may_differ_by_the_cases_dice(voxels: int, differ: bool) -> None:  # noqa: FBT001 - a table
    """What the case tolerates of an expected mask it tolerates of MONAI's."""
    assert bool(MASKS.disagreements("mask", mask(voxels), mask(50))) is differ


def test_masks_on_other_grids_differ() -> None:
    """However equal their voxels are; where one side has no geometry there is nothing to compare."""
    here, there = mask(50, np.eye(4)), mask(50, np.diag([-1.0, 1, 1, 1]))
    assert MASKS.disagreements("mask", here, there) == ["mask: the affine matrices differ"]
    assert MASKS.disagreements("mask", here, mask(50)) == []


def test_what_a_case_says_nothing_of_must_be_equal() -> None:
    """But for the last digits of a float."""
    served = OutputArray("heat", np.array([1, 2], np.float32))
    close, other = OutputArray("", np.array([1, 2.000001])), OutputArray("", np.array([1, 2.1]))
    assert MASKS.disagreements("heat", served, close) == []
    assert MASKS.disagreements("heat", served, other) == ["heat: 1 of 2 numbers differ by more than 1e-5 of themselves"]


@given(hnp.arrays(np.float32, hnp.array_shapes(max_dims=3, max_side=4)))
def test_an_answer_is_close_to_itself(array: NDArray[np.float32]) -> None:
    """Also where it holds NaN and infinity."""
    assert close(OutputArray("pred", array), OutputArray("pred", array.copy()))


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        (output("p", 1000, 1e-4), output("p", 1000.001, 2e-4), True),  # rounding of the largest
        (output("p", 1.0, 0.5), output("p", 1.0, 0.5001), False),
        (output("p", 1.0), output("p", math.nan), False),
        (output("p", 1.0), output("p", math.inf), False),
        (output("m", 7, dtype="uint8"), output("m", 8, dtype="uint8"), False),
        (output("m", 7, dtype="uint8"), output("m", 7, dtype="int16"), False),
        (output("p", 1, 1), output("p", 1), False),
        (OutputArray("m", np.zeros(1), np.eye(4)), OutputArray("m", np.zeros(1), 2 * np.eye(4)), False),
        (OutputArray("m", np.zeros(1), np.eye(4)), OutputArray("m", np.zeros(1)), False),
    ],
)
def test_close_is_the_same_but_for_rounding(left: OutputArray, right: OutputArray, *, expected: bool) -> None:
    """Numbers may round, labels may not; neither may type, shape and geometry."""
    assert close(left, right) is expected
