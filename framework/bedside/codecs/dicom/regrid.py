"""Between the grid that the model sees and the grid of the source.

Into the model's grid by linear interpolation, only where ``dicom.resample`` allows it; back by nearest neighbour, so
that labels stay labels. On the same grid nothing is interpolated: the mask comes back bit for bit.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def mend(volume: NDArray[Any], offsets: NDArray[np.float64]) -> None:
    """Move every slice into its place in an even grid, in place.

    Args:
        volume: float32, shape (columns, rows, slices), slices where the scanner put them.
        offsets: how far each lies from its place, in voxels, shape (slices, 3).
    """
    outside = volume.min()  # air, in whatever unit
    for place in range(volume.shape[2]):
        for axis in (0, 1):
            volume[:, :, place] = _shifted(volume[:, :, place], offsets[place, axis], axis, outside)
    heights = np.arange(volume.shape[2]) + offsets[:, 2]
    if not np.allclose(offsets[:, 2], 0.0, atol=1e-6):
        _even(volume, heights)


def _shifted(plane: NDArray[Any], offset: float, axis: int, outside: float) -> NDArray[Any]:
    """Return a plane whose first pixel lies at ``offset``, read at whole places."""
    length = plane.shape[axis]
    at = np.arange(length) - offset
    low = np.floor(at).astype(int)
    weight = (at - low).astype(np.float32)
    weight = weight[:, None] if axis == 0 else weight[None, :]
    padded = np.pad(plane, [(1, 1) if each == axis else (0, 0) for each in (0, 1)], constant_values=outside)
    below = np.take(padded, np.clip(low + 1, 0, length + 1), axis)
    above = np.take(padded, np.clip(low + 2, 0, length + 1), axis)
    return np.asarray(below * (1 - weight) + above * weight)


def _even(volume: NDArray[Any], heights: NDArray[np.float64]) -> None:
    for column in range(volume.shape[0]):  # a sheet at a time: no second volume
        sheet = volume[column].copy()
        for place in range(1, volume.shape[2] - 1):
            above = int(np.clip(np.searchsorted(heights, place), 1, len(heights) - 1))
            weight = (place - heights[above - 1]) / (heights[above] - heights[above - 1])
            volume[column, :, place] = sheet[:, above - 1] * (1 - weight) + sheet[:, above] * weight


def onto_frames(
    array: NDArray[Any],
    affine: NDArray[np.float64],
    planes: NDArray[np.float64],
    size: tuple[int, int],
) -> NDArray[Any]:
    """Return labels on the source's frames, shape (frames, rows, columns[, channels]).

    Args:
        array: shape (x, y, z[, channels]).
        affine: its voxels to RAS+ millimetres.
        planes: per frame, (column, row) to RAS+ millimetres, shape (frames, 3, 3).
        size: rows, columns.
    """
    rows, columns = size
    result = np.zeros((len(planes), rows, columns, *array.shape[3:]), array.dtype)
    inverse = np.linalg.inv(affine)
    column, row = np.arange(columns)[None, :], np.arange(rows)[:, None]
    for number, plane in enumerate(planes):
        along = inverse[:3, :3] @ plane
        along[:, 2] += inverse[:3, 3]
        # Half a voxel is where two are as near; a tiny push keeps rounding noise from deciding differently by row.
        found = [np.rint(along[axis, 0] * column + along[axis, 1] * row + along[axis, 2] + 1e-9) for axis in range(3)]
        inside = np.logical_and.reduce([(at >= 0) & (at < array.shape[axis]) for axis, at in enumerate(found)])
        x, y, z = (np.where(inside, at, 0).astype(np.intp) for at in found)
        picked = array[x, y, z]
        result[number] = np.where(inside if picked.ndim == 2 else inside[..., None], picked, 0)
    return result
