"""One small example per input, for people to paste: it keeps the contract, and means nothing.

Images are a bright box on black, because that compresses to a few hundred bytes.
"""

import gzip
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bedside.bundle.contract import InputSpec
from bedside.bundle.media_types import media_type_of_suffix
from bedside.bundle.sample import describe_image, npy, sample_array
from bedside.types import Json

_LENGTH = 64


@dataclass(frozen=True, slots=True)
class ExampleFile:
    """A file that an input takes.

    Attributes:
        name: file name, with its suffix.
        media_type: what it is.
        data: its bytes.
    """

    name: str
    media_type: str
    data: bytes


def example_value(spec: InputSpec) -> Json:
    """Return a JSON value: the one that the bundle shows, else an empty list."""
    return [] if spec.example is None else spec.example


def example_file(spec: InputSpec) -> ExampleFile:
    """Return a file that an image or an array can be sent as."""
    stem = re.sub(r"[^A-Za-z0-9_-]", "_", spec.name)
    if spec.kind == "tensor":
        values = sample_array(spec, np.random.default_rng(0)).values
        return ExampleFile(f"{stem}.npy", media_type_of_suffix(".npy"), npy(values))
    image = describe_image(spec, _box(spec))
    if image.suffix == ".nii" and "application/gzip" in (spec.media_types or ("application/gzip",)):
        # No name and no time in the header: the same contract gives the same document.
        return ExampleFile(f"{stem}.nii.gz", "application/gzip", gzip.compress(image.payload, mtime=0))
    return ExampleFile(f"{stem}{image.suffix}", media_type_of_suffix(image.suffix), image.payload)


def _box(spec: InputSpec) -> NDArray[np.float64]:
    least, most = spec.extent_mm or (0.0, float("inf"))
    length = int(min(max(_LENGTH, least), most))  # voxels of 1 mm
    rank = spec.spatial_dims or (3 if not spec.media_types or "application/x-nifti" in spec.media_types else 2)
    box = np.zeros((*[length] * rank, spec.channels[0] if spec.channels else 1))
    box[(slice(length // 4, length - length // 4),) * rank] = 0.8
    return box
