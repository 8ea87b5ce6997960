"""How far two answers of one bundle agree: the served one, and that of ``python -m monai.bundle run``."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bedside.types import OutputArray


class NotComparable(Exception):
    """There is nothing to compare with; the text says why, for whoever tries the bundle."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two arrays beside each other.

    Attributes:
        output: name of the output.
        elements: numbers compared: voxels of a mask, probabilities.
        equal: how many of them are the same, to the bit (NaN is NaN).
        largest_difference: of any two, absolute; NaN where one of them is no number and the other is.
    """

    output: str
    elements: int
    equal: int
    largest_difference: float

    @property
    def fraction(self) -> float:
        """Return the part that is equal, 1 where there is nothing."""
        return self.equal / self.elements if self.elements else 1.0


def pairs(
    served: Sequence[OutputArray], reference: Sequence[OutputArray]
) -> list[tuple[str, OutputArray, OutputArray]]:
    """Return what belongs together: by name, or in order where files were written, which have none.

    Raises:
        NotComparable: there are no arrays, not as many, or of other shapes.
    """
    named = {output.name: output for output in reference}
    if not served:
        raise NotComparable("the answer holds no array")
    if all(output.name in named for output in served):
        found = [(output.name, output, named[output.name]) for output in served]
    elif len(served) == len(reference):
        found = [(left.name, left, right) for left, right in zip(served, reference, strict=True)]
    else:
        raise NotComparable(f"{len(served)} arrays are served, MONAI gave {len(reference)}")
    for name, left, right in found:
        if left.stored.shape != right.stored.shape:
            raise NotComparable(f"{name}: {left.stored.shape} is served, MONAI gave {right.stored.shape}")
    return found


def compare(name: str, served: OutputArray, reference: OutputArray) -> Agreement:
    """Compare two arrays of one shape."""
    left, right = served.array, reference.array
    both_nan = np.not_equal(left, left) & np.not_equal(right, right)
    equal = int(np.count_nonzero((left == right) | both_nan))
    with np.errstate(invalid="ignore"):
        difference = np.abs(left.astype(np.float64) - right.astype(np.float64))
    difference[(left == right) | both_nan] = 0.0  # infinity less infinity is no number
    return Agreement(name, int(left.size), equal, float(difference.max(initial=0.0)))


ROUNDING = 1e-5
"""What two ways of adding up the same float32 numbers may differ by, as a part of the largest of them."""


def close(left: OutputArray, right: OutputArray) -> bool:
    """Tell whether two answers are the same but for rounding: whole numbers (labels, pictures) to the bit.

    Floating-point numbers may differ by :data:`ROUNDING` of the largest in the array; geometry may not at all.
    """
    if left.stored.shape != right.stored.shape or left.dtype != right.dtype:
        return False
    if not np.array_equal(np.asarray(left.affine, float), np.asarray(right.affine, float), equal_nan=True):
        return False
    if left.dtype.kind != "f":
        return bool(np.array_equal(left.array, right.array))
    most = float(np.max(np.abs(left.array[np.isfinite(left.array)]), initial=0.0))
    return bool(np.allclose(left.array, right.array, rtol=0.0, atol=ROUNDING * most, equal_nan=True))
