"""The geometry guard: frames become an even grid, or are refused by name (PS3.3 §C.7.6.2.1.1).

Nothing here looks at a pixel. Whatever does not fit is told with the instances at fault: those that differ from the
most, or that lie on both sides of a gap.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bedside.bundle.dicom_policy import DicomPolicy
from bedside.codecs.dicom.frames import Frame, frame_of_reference
from bedside.errors import (
    DicomRefused,
    DuplicateSlice,
    FourDimensional,
    GantryTilt,
    MissingSlice,
    MixedFrameOfReference,
    MixedOrientation,
    MixedPixelFormat,
    MixedPixelSpacing,
    MixedRescaleType,
    MixedSize,
    TooFewSlices,
    UnevenSpacing,
)

_COSINE = 1e-4  # 0.006 degrees: at half a metre from the first pixel, 0.05 mm
_SPACING = 1e-4  # of the spacing: over 512 pixels of 0.5 mm, 0.03 mm
_TILT = np.tan(np.radians(0.1))  # a tenth of a degree; rounded positions reach a twentieth
_SIDEWAYS = 0.1  # of a pixel
_SAME_PLACE_MM = 1e-3
_GAP = 1.5  # distances from this on hold a slice that did not come
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, slots=True)
class Stack:
    """Frames in the order of their place along the normal, which points from the first to the last.

    Attributes:
        frames: sorted.
        affine: voxel (column, row, slice) of an even grid to RAS+ millimetres, shape (4, 4).
        offsets: per frame, how far it lies from its place in that grid, in voxels (columns, rows, slices), shape
            (frames, 3); None where every frame lies in its place.
    """

    frames: tuple[Frame, ...]
    affine: NDArray[np.float64]
    offsets: NDArray[np.float64] | None = None


def stack(frames: Sequence[Frame], policy: DicomPolicy) -> Stack:
    """Check frames against each other and put them in order.

    Raises:
        DicomRefused: one leaf per reason; what ``policy.resample`` allows is described by ``offsets`` instead.
    """
    _require_alike(frames)
    first = frames[0]
    heights = np.array([frame.position @ first.normal for frame in frames])
    order = np.argsort(heights, kind="stable")
    frames, heights = [frames[place] for place in order], heights[order]
    _require_one_per_place(frames, heights)
    uneven = _unevenness(frames, heights, policy)
    tilted = _tilt(frames, heights, policy)
    return _grid(frames, heights, mended=uneven or tilted, straight=tilted)


def _require_alike(frames: Sequence[Frame]) -> None:
    _same(frames, lambda frame: frame_of_reference(frame.instance), MixedFrameOfReference)
    _same(frames, lambda frame: frame.size, MixedSize)
    _same(frames, lambda frame: frame.pixels, MixedPixelFormat)
    _same(frames, lambda frame: frame.rescale_type, MixedRescaleType)
    directions = [np.concatenate([frame.rows_along, frame.columns_along]) for frame in frames]
    _close(frames, directions, MixedOrientation, absolute=_COSINE)
    _close(frames, [np.array(frame.spacing) for frame in frames], MixedPixelSpacing, relative=_SPACING)


def _same(frames: Sequence[Frame], key: Callable[[Frame], Hashable], error: type[DicomRefused]) -> None:
    values = [key(frame) for frame in frames]
    usual = Counter(values).most_common(1)[0][0]
    _refuse(error, (frame for frame, value in zip(frames, values, strict=True) if value != usual))


def _close(
    frames: Sequence[Frame],
    values: Sequence[NDArray[np.float64]],
    error: type[DicomRefused],
    *,
    absolute: float = 0.0,
    relative: float = 0.0,
) -> None:
    usual = np.array(Counter(tuple(value) for value in values).most_common(1)[0][0])
    off = np.abs(np.array(values) - usual) > absolute + relative * np.abs(usual)
    _refuse(error, (frame for frame, differs in zip(frames, off.any(axis=1), strict=True) if differs))


def _refuse(error: type[DicomRefused], frames: Iterable[Frame]) -> None:
    uids = [frame.uid for frame in frames]
    if uids:
        raise error(instances=uids)


def _require_one_per_place(frames: Sequence[Frame], heights: NDArray[np.float64]) -> None:
    places = np.concatenate([[0], np.cumsum(np.diff(heights) > _SAME_PLACE_MM)])
    counts = np.bincount(places)
    if len(counts) > 1 and counts.min() == counts.max() > 1:
        raise FourDimensional(f"{counts[0]} images lie at each place", instances=[frame.uid for frame in frames])
    _refuse(DuplicateSlice, (frame for frame, place in zip(frames, places, strict=True) if counts[place] > 1))
    if len(frames) < 2:
        raise TooFewSlices(instances=[frame.uid for frame in frames])


def _unevenness(frames: Sequence[Frame], heights: NDArray[np.float64], policy: DicomPolicy) -> bool:
    """Return True where slices are uneven and may be mended."""
    gaps = np.diff(heights)
    step = float(np.sort(gaps)[(len(gaps) - 1) // 2])
    wide = gaps >= _GAP * step
    if wide.any():  # never mended: nobody knows what the slice that is missing would have shown
        raise MissingSlice(instances=_beside(frames, wide))
    even = np.linspace(heights[0], heights[-1], len(heights))
    off = (np.abs(gaps - step) > policy.spacing_tolerance * step) | (
        np.abs(heights - even)[1:] > policy.spacing_tolerance * step
    )
    if off.any() and "uneven-spacing" not in policy.resample:
        raise UnevenSpacing(instances=_beside(frames, off))
    return bool(off.any())


def _beside(frames: Sequence[Frame], gaps: NDArray[np.bool_]) -> list[str]:
    return [frames[place].uid for gap in np.flatnonzero(gaps).tolist() for place in (gap, gap + 1)]


def _tilt(frames: Sequence[Frame], heights: NDArray[np.float64], policy: DicomPolicy) -> bool:
    """Return True where slices are shifted sideways, evenly along a slanting line, and may be mended."""
    rise = heights - heights[0]
    sideways = np.array([frame.position for frame in frames]) - frames[0].position - np.outer(rise, frames[0].normal)
    slant = sideways[-1] / rise[-1]
    astray = np.linalg.norm(sideways - np.outer(rise, slant), axis=1) > _SIDEWAYS * min(frames[0].spacing)
    if astray.any():
        raise UnevenSpacing(
            "slices do not lie on a line", instances=[f.uid for f, off in zip(frames, astray, strict=True) if off]
        )
    tilted = bool(np.linalg.norm(slant) > _TILT)
    if tilted and "gantry-tilt" not in policy.resample:
        raise GantryTilt(instances=[frame.uid for frame in frames])
    return tilted


def _grid(frames: Sequence[Frame], heights: NDArray[np.float64], *, mended: bool, straight: bool) -> Stack:
    first, last = frames[0], frames[-1]
    # The stated positions, not the normal: rounding of the orientation would add up over a long scan.
    step = (last.position - first.position) / (len(frames) - 1)
    if straight:
        step = first.normal * ((heights[-1] - heights[0]) / (len(frames) - 1))
    lps = np.eye(4)
    lps[:3] = np.column_stack([first.affine[:, 0], first.affine[:, 1], step, first.position])
    affine = LPS_TO_RAS @ lps
    if not mended:
        return Stack(tuple(frames), affine)
    positions = np.array([[*frame.position, 1.0] for frame in frames])
    voxels = (np.linalg.inv(lps) @ positions.T).T[:, :3]
    voxels[:, 2] -= np.arange(len(frames))
    return Stack(tuple(frames), affine, voxels)
