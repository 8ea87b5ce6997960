"""Results drawn over the image they are of."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.unit.codecs.answering import AFFINE, MASK, PLANE, SCAN, SEGMENTER, VOLUME, answer, contract

from bedside.bundle.contract import OutputSpec
from bedside.codecs.nifti import decode_nifti, encode_nifti
from bedside.codecs.npy import decode_npy, encode_npy
from bedside.codecs.plane import decode_plane, encode_png
from bedside.codecs.views import cut
from bedside.types import DecodedImage, OutputArray


@pytest.mark.parametrize(
    ("source", "array", "affine"),
    [
        (VOLUME, MASK, AFFINE),
        (VOLUME, np.zeros_like(MASK), None),
        (VOLUME, MASK[..., None], AFFINE),
        (VOLUME, np.stack([MASK > 0, MASK > 1], -1), AFFINE),
        (VOLUME, MASK[:4], AFFINE),
        (PLANE, MASK[..., 2], None),
        (decode_npy(encode_npy(SCAN[..., 0].astype(np.float32)), name="image", limit=1 << 20), MASK[..., 2], None),
        (
            decode_plane(encode_png(np.zeros((9, 8, 3), np.uint8)), "png", name="image", limit=999, arrays=False),
            MASK[..., 2],
            None,
        ),
        (
            decode_plane(encode_png(np.zeros((9, 8, 2), np.uint8)), "png", name="image", limit=999, arrays=False),
            MASK[..., 2],
            None,
        ),
    ],
)
def test_overlay_is_drawn_for_every_kind_of_result(source: DecodedImage, array: Any, affine: Any) -> None:
    """Volumes, planes, stacked masks, colour, another grid, and nothing found."""
    media_type, body = answer("image/png", SEGMENTER, source, array, affine)
    picture = Image.open(io.BytesIO(body))
    assert media_type == "image/png"
    assert picture.width >= 512


def test_overlay_puts_the_patients_right_on_the_left() -> None:
    """Radiological convention, from any storage order: a label on the right is drawn left in axial and coronal."""
    mask = np.zeros((10, 10, 10), np.uint8)
    mask[7:9, 4:6, 2] = 1
    for flip in (np.diag([1.0, 1, 1, 1]), np.diag([-1.0, 1, 1, 1])):
        array = mask if flip[0, 0] > 0 else mask[::-1]
        source = decode_nifti(encode_nifti(array, flip), name="image", limit=1 << 20)
        axial, coronal, sagittal = cut(source, OutputArray("pred", array, flip), 3, segmented=True)
        assert axial.labels is not None
        assert coronal.labels is not None
        assert sagittal.labels is not None
        assert np.flatnonzero(axial.labels.any(axis=0)).tolist() == [1, 2]
        assert np.flatnonzero(coronal.labels.any(axis=0)).tolist() == [1, 2]
        assert np.flatnonzero(coronal.labels.any(axis=1)).tolist() == [7]  # low in the body is low in the picture
        assert (axial.edges, coronal.edges, sagittal.edges) == ("RLAP", "RLSI", "APSI")


def test_image_results_are_shown_themselves() -> None:
    """A synthesised image has no labels; a constant one has no contrast, and does not divide by it."""
    of = contract(OutputSpec("pred", "image"))
    assert Image.open(io.BytesIO(answer("image/png", of, VOLUME, np.full((8, 9, 10), 3.0), AFFINE)[1])).width > 512
    assert Image.open(io.BytesIO(answer("image/png", of, VOLUME, np.full((8, 9, 10), np.nan), AFFINE)[1])).width > 512


def test_long_legends_are_cut() -> None:
    """A hundred organs do not fit a picture."""
    many = np.arange(720).reshape(8, 9, 10).astype(np.uint16) % 40
    short = Image.open(io.BytesIO(answer("image/png", SEGMENTER, VOLUME, MASK, AFFINE)[1]))
    long = Image.open(io.BytesIO(answer("image/png", SEGMENTER, VOLUME, many, AFFINE)[1]))
    assert 0 < long.height - short.height < 10 * 22
