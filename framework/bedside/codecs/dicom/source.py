"""What results refer to: the source's instances, its place in space, and whose it is."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bedside.codecs.dicom.guard import LPS_TO_RAS, Stack
from bedside.codecs.dicom.tags import value_of
from bedside.codecs.turning import Turn


@dataclass(frozen=True, slots=True, repr=False)
class Source:
    """What a picture was made of. Holds patient attributes: its repr tells the number of files and nothing else.

    Attributes:
        name: input of the contract.
        headers: pydicom data sets without pixels, one per file; of a volume, in the order of its slices.
        study, series: UIDs.
        modality: of the source.
        digest: SHA-256 over what the input was made of, in hex.
        turn: what was done to a picture that hung in another way than the model expects.
    """

    name: str
    headers: tuple[Any, ...]
    study: str
    series: str
    modality: str
    digest: str
    turn: Turn | None = field(default=None, kw_only=True)

    def __repr__(self) -> str:
        """Return the number of files."""
        return f"{type(self).__name__}({len(self.headers)} files)"

    def __reduce__(self) -> Any:
        """Refuse to be pickled."""
        raise TypeError("a source holds patient attributes and does not leave the process")


@dataclass(frozen=True, slots=True, repr=False)
class SourceSeries(Source):
    """A series that has become a volume.

    Attributes:
        frames: per slice, the file's SOP Instance UID and the frame's number in it, from 1.
        planes: per slice, (column, row) to RAS+ millimetres, shape (slices, 3, 3).
        size: rows, columns.
        affine: voxel (column, row, slice) of the volume that the model got to RAS+ millimetres, shape (4, 4).
        frame_of_reference: UID.
        in_place: False where slices were moved into an even grid, so that theirs is another.
    """

    frames: tuple[tuple[str, int], ...]
    planes: NDArray[np.float64]
    size: tuple[int, int]
    affine: NDArray[np.float64]
    frame_of_reference: str
    in_place: bool

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return the shape of the volume that the model got."""
        return (self.size[1], self.size[0], len(self.frames))

    @property
    def step(self) -> float:
        """Return the millimetres from slice to slice."""
        return float(np.linalg.norm(self.affine[:3, 2]))

    def thickness(self, header: Any) -> float:
        """Return Slice Thickness (0018,0050) in millimetres, the distance between slices where none is stated."""
        try:
            stated = float(value_of(header, "SliceThickness") or 0)
        except (TypeError, ValueError):
            stated = 0.0
        return stated if 0 < stated < inf else self.step

    @property
    def is_multiframe(self) -> bool:
        """Tell whether one file holds several frames."""
        return len(self.headers) < len(self.frames)


def planes_of(stacked: Stack) -> NDArray[np.float64]:
    """Return the frames' own planes, shape (slices, 3, 3), in RAS+."""
    return np.array([LPS_TO_RAS[:3, :3] @ frame.affine for frame in stacked.frames])


def headers_of(stacked: Stack) -> Iterator[Any]:
    """Yield the header of each file once, in the order of the frames."""
    seen: set[str] = set()
    for frame in stacked.frames:
        if frame.uid not in seen:
            seen.add(frame.uid)
            yield frame.instance.header
