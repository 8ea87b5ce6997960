"""How much of each label there is: voxels, and millilitres where the geometry is known."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bedside.errors import RunFailed
from bedside.types import OutputArray

_MM3_PER_ML = 1000.0
_LARGEST_LABEL = 65535
_SLAB = 1 << 18


@dataclass(frozen=True, slots=True)
class LabelCount:
    """One label of a segmentation.

    Attributes:
        index: value in a label map, or channel in a stack of masks.
        name: from the contract, ``label <index>`` where it has none.
        voxels: how many elements carry it.
        volume_ml: millilitres; None for a plane, or where there is no affine.
    """

    index: int
    name: str
    voxels: int
    volume_ml: float | None


def count_labels(output: OutputArray, labels: Mapping[int, str], rank: int) -> list[LabelCount]:
    """Count every label of the contract, and any other value that occurs; the background (0) of a map is left out.

    Args:
        output: a label map of ``rank`` axes, or masks stacked on one more, last axis (labels may then overlap).
        labels: names by index.
        rank: number of spatial axes.

    Raises:
        RunFailed: the map holds NaN, negative or absurdly large values.
    """
    array = output.stored
    unit = _voxel_ml(output.affine, rank)
    if array.ndim > rank and array.shape[-1] > 1:
        # Stacked masks overlap; argmax over them would lose labels, so each channel is counted on its own.
        counts = {channel: int(np.count_nonzero(array[..., channel] > 0.5)) for channel in range(array.shape[-1])}
    else:
        counts = _count(array, output.name)
        counts = {index: counts.get(index, 0) for index in sorted({*labels, *counts}) if index != 0}
    return [
        LabelCount(index, labels.get(index, f"label {index}"), voxels, None if unit is None else voxels * unit)
        for index, voxels in counts.items()
    ]


def voxel_spacing(affine: NDArray[np.float64], rank: int) -> list[float]:
    """Return the distance between voxel centres along each axis, in millimetres."""
    return [round(float(length), 6) for length in np.linalg.norm(affine[:3, :rank], axis=0)]


def _voxel_ml(affine: NDArray[np.float64] | None, rank: int) -> float | None:
    if affine is None or rank != 3:
        return None
    return math.fabs(float(np.linalg.det(affine[:3, :3]))) / _MM3_PER_ML


def _count(array: NDArray[Any], name: str) -> dict[int, int]:
    flat = array.reshape(-1, order="A")
    if flat.size == 0:
        return {}
    if not (float(flat.min()) >= 0 and float(flat.max()) <= _LARGEST_LABEL):
        raise RunFailed("the model answered a label map with values that are no labels", field=name)
    total = np.zeros(round(float(flat.max())) + 1, np.int64)
    for start in range(0, flat.size, _SLAB):  # bincount makes int64 of everything: by slabs, not eight times a CT
        slab = flat[start : start + _SLAB]
        whole = np.rint(slab).astype(np.int64) if slab.dtype.kind == "f" else slab.astype(np.int64)
        total += np.bincount(whole, minlength=len(total))
    return {index: int(count) for index, count in enumerate(total) if count}
