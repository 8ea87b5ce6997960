"""Planes through a result, oriented as radiologists look at them.

Radiological convention: one looks from the patient's feet (axial) or face (coronal), so the patient's right is on the
picture's left; sagittal planes have anterior on the left. Volumes are turned to the axes nearest to R, A, S first.
"""

import io
from dataclasses import dataclass
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bedside.codecs.nifti import read_nifti
from bedside.types import DecodedImage, OutputArray

_PERCENTILES = (1.0, 99.0)
_SAMPLES = 1_000_000


@dataclass(frozen=True, slots=True)
class Plane:
    """One plane, ready to be drawn.

    Attributes:
        title: ``axial``, ``coronal`` or ``sagittal``; empty for a picture that is only one plane.
        pixels: grey, shape (rows, columns), or colour, shape (rows, columns, 3); uint8, already windowed.
        labels: label index per pixel, shape (rows, columns); None where the result is the picture itself.
        spacing: millimetres per row and per column; (1, 1) where not known.
        edges: letters of the patient's directions: left, right, top, bottom; empty where not known.
    """

    title: str
    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64] | None
    spacing: tuple[float, float]
    edges: str = ""


def cut(source: DecodedImage, output: OutputArray, rank: int, *, segmented: bool) -> list[Plane]:
    """Return the planes that show the result best: where most of it lies, or the middle where there is nothing.

    Args:
        source: the image that went in.
        output: the result, shape of ``rank`` axes, or one more with masks stacked.
        rank: spatial axes, 2 or 3.
        segmented: True to lay the labels over the source, False to show the result as the picture.
    """
    labels = _label_map(output.stored, rank) if segmented else None
    picture = _picture(source, rank) if segmented else _one_channel(output.array, rank)
    if labels is not None and labels.shape != picture.shape[:rank]:
        picture = np.zeros(labels.shape, np.uint8)  # the result is on another grid: shown by itself
    if rank == 2:
        return [_flat(picture, labels)]
    affine = output.affine if output.affine is not None else source.affine
    return _orthogonal(picture, labels, np.eye(4) if affine is None else affine)


def _flat(picture: NDArray[Any], labels: NDArray[Any] | None) -> Plane:
    # MONAI's axes are (width, height); rows of a picture are its height.
    drawn = None if labels is None else np.rint(labels).astype(np.int64).T
    return Plane("", _windowed(np.swapaxes(picture, 0, 1), _window(picture)), drawn, (1.0, 1.0))


def _orthogonal(picture: NDArray[Any], labels: NDArray[Any] | None, affine: NDArray[np.float64]) -> list[Plane]:
    turn = nibabel.orientations.io_orientation(affine)
    picture = nibabel.orientations.apply_orientation(picture, turn)
    labels = None if labels is None else nibabel.orientations.apply_orientation(labels, turn)
    order = np.argsort(turn[:, 0])
    x, y, z = (float(length) for length in np.linalg.norm(affine[:3, :3], axis=0)[order])
    right, front, up = _centre(picture.shape, labels)
    window = _window(picture)

    def plane(title: str, axis: int, index: int, spacing: tuple[float, float], edges: str) -> Plane:
        # Axes run to R, A, S, so turning the remaining two around puts R (or A) left and A (or S) on top.
        pixels = _windowed(np.take(picture, index, axis)[::-1, ::-1].T, window)
        drawn = None if labels is None else np.rint(np.take(labels, index, axis)[::-1, ::-1].T).astype(np.int64)
        return Plane(title, pixels, drawn, spacing, edges)

    return [
        plane("axial", 2, up, (y, x), "RLAP"),
        plane("coronal", 1, front, (z, x), "RLSI"),
        plane("sagittal", 0, right, (z, y), "APSI"),
    ]


def _centre(shape: tuple[int, ...], labels: NDArray[Any] | None) -> list[int]:
    """Return, for each axis, the plane with most labelled voxels: a centre of mass may lie between two organs."""
    present = None if labels is None else labels != 0
    if present is None or not present.any():
        return [length // 2 for length in shape]
    others = ((1, 2), (0, 2), (0, 1))
    return [int(np.argmax(np.count_nonzero(present, axis=axes))) for axes in others]


def _label_map(array: NDArray[Any], rank: int) -> NDArray[Any]:
    if array.ndim == rank:
        return array
    if array.shape[-1] == 1:
        return array[..., 0].reshape(array.shape[:rank])
    masks = array > 0.5
    # Stacked masks overlap: the largest is painted first, so that a tumour's core stays visible in its whole.
    sizes = [int(np.count_nonzero(masks[..., channel])) for channel in range(array.shape[-1])]
    painted = np.zeros(array.shape[:rank], np.int64)
    for channel in sorted(range(len(sizes)), key=lambda index: -sizes[index]):
        painted[masks[..., channel]] = channel + 1
    return painted


def _picture(source: DecodedImage, rank: int) -> NDArray[Any]:
    if source.suffix == ".nii":
        return _one_channel(read_nifti(source.payload), rank)
    if source.suffix == ".npy":
        return _one_channel(np.load(io.BytesIO(source.payload), allow_pickle=False), rank)
    with Image.open(io.BytesIO(source.payload)) as image:
        colour = len(image.getbands()) >= 3
        pixels = np.asarray(image.convert("RGB") if colour else image)
    return np.swapaxes(pixels if colour or pixels.ndim == 2 else pixels[..., 0], 0, 1)


def _one_channel(array: NDArray[Any], rank: int) -> NDArray[Any]:
    while array.ndim > rank:
        array = array[..., 0]
    return array


def _window(picture: NDArray[Any]) -> tuple[float, float]:
    if picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[-1] == 3:
        return 0.0, 255.0  # a colour picture is shown as it is
    flat = picture.reshape(-1)
    flat = flat[:: max(1, flat.size // _SAMPLES)]
    flat = flat[np.isfinite(flat)]
    low, high = np.percentile(flat, _PERCENTILES) if flat.size else (0.0, 1.0)
    if low == high and flat.size:
        low, high = float(flat.min()), float(flat.max())
    return float(low), float(high)


def _windowed(plane: NDArray[Any], window: tuple[float, float]) -> NDArray[np.uint8]:
    low, high = window
    scaled = (np.nan_to_num(plane.astype(np.float64)) - low) * (255.0 / (high - low if high > low else 1.0))
    return np.ascontiguousarray(np.clip(scaled, 0, 255).astype(np.uint8))
