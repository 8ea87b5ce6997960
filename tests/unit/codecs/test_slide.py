"""Whole slides: checked without decoding, and handed on as they came."""

import io
import random
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import tifffile

from bedside.bundle.contract import PLANE_MEDIA_TYPES, SLIDE_MEDIA_TYPES, InputSpec
from bedside.codecs import Codecs
from bedside.codecs.slide import MOST_PAGES, decode_slide
from bedside.errors import BedsideError, DecompressedTooLarge, MalformedPayload, WrongDatatype, WrongShape
from bedside.settings import LimitSettings
from bedside.types import DecodedImage, RawPart

SLIDE = InputSpec("image", "image", SLIDE_MEDIA_TYPES, 2, channels=(3,))
SIZE, LEVELS = 256, 3
PIXELS = sum((SIZE >> level) ** 2 for level in range(LEVELS))


def pyramid(levels: int = LEVELS, *, bigtiff: bool = False, subifds: bool = False, **options: Any) -> bytes:
    """Return a tiled pyramid of noise."""
    noise = np.random.default_rng(0).integers(0, 255, (SIZE, SIZE, 3), np.uint8)
    options = {"photometric": "rgb", "tile": (64, 64), **options}
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer, bigtiff=bigtiff) as writer:
        writer.write(noise, subifds=levels - 1 if subifds else None, **options)
        for level in range(1, levels):
            writer.write(noise[:: 1 << level, :: 1 << level], subfiletype=1, **options)
    return buffer.getvalue()


def decode(data: bytes, pixels: int = PIXELS, tile_pixels: int = 64 * 64) -> DecodedImage:
    """Decode with limits that the pyramid just keeps."""
    return decode_slide(data, name="image", pixels=pixels, tile_pixels=tile_pixels)


@pytest.mark.parametrize("options", [{}, {"bigtiff": True}, {"subifds": True}, {"compression": "zlib"}])
def test_a_slide_goes_on_as_it_came(options: dict[str, Any]) -> None:
    """The original bytes are the payload; the shape is the first level's."""
    data = pyramid(**options)
    image = decode(data)
    assert image.payload == data
    assert (image.shape, image.suffix, image.spatial_dims, image.channels) == ((SIZE, SIZE, 3), ".tiff", 2, 3)


def test_an_input_of_slides_takes_pyramids(codecs: Codecs) -> None:
    """The contract decides: media type image/tiff alone is a slide."""
    decoded = codecs.decode_part(RawPart("image", "image/tiff", pyramid()), SLIDE)
    assert isinstance(decoded, DecodedImage)
    assert decoded.suffix == ".tiff"


def test_an_input_of_pictures_takes_none(codecs: Codecs) -> None:
    """Where pictures are read, a file of several is refused as before."""
    with pytest.raises(WrongShape):
        codecs.decode_part(RawPart("image", "image/tiff", pyramid()), InputSpec("image", "image", PLANE_MEDIA_TYPES, 2))


@pytest.mark.parametrize("options", [{}, {"subifds": True}])
def test_levels_are_counted_together(options: dict[str, Any]) -> None:
    """One pixel more than allowed in all levels, wherever they are kept, is too many."""
    with pytest.raises(DecompressedTooLarge, match="all levels"):
        decode(pyramid(**options), pixels=PIXELS - 1)


def test_the_setting_bounds_the_levels() -> None:
    """limits.slide_pixels holds for slides."""
    codecs = Codecs(LimitSettings(slide_pixels=PIXELS - 1))
    with pytest.raises(DecompressedTooLarge):
        codecs.decode_part(RawPart("image", "image/tiff", pyramid()), SLIDE)


def test_a_tile_is_no_way_around_the_limit_on_pictures() -> None:
    """A tile is decoded whole, so it has the bound of a picture."""
    with pytest.raises(DecompressedTooLarge, match="tile"):
        decode(pyramid(), tile_pixels=64 * 64 - 1)


def test_an_untiled_picture_is_bounded_by_its_strips() -> None:
    """A picture in one strip is decoded whole."""
    with pytest.raises(DecompressedTooLarge, match="tile"):
        decode(pyramid(tile=None, rowsperstrip=SIZE))


def test_too_many_pages_are_refused() -> None:
    """No scanner writes a hundred; a chain of millions would be walked by the reader."""
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        for _ in range(MOST_PAGES + 1):
            writer.write(np.zeros((16, 16, 3), np.uint8), photometric="rgb", tile=(16, 16), metadata=None)
    with pytest.raises(WrongShape, match=str(MOST_PAGES)):
        decode(buffer.getvalue())


@pytest.mark.parametrize(
    ("dtype", "shape", "photometric"), [("uint16", (64, 64, 3), "rgb"), ("uint8", (64, 64), "minisblack")]
)
def test_what_is_no_slide_is_refused(dtype: str, shape: tuple[int, ...], photometric: str) -> None:
    """16 bits, or grey."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.zeros(shape, dtype), photometric=photometric, tile=(64, 64))
    with pytest.raises(WrongDatatype):
        decode(buffer.getvalue())


def test_a_slide_cut_short_is_refused() -> None:
    """The directory comes first, the last tile is beyond the end."""
    with pytest.raises(MalformedPayload):
        decode(pyramid()[:-10])


def test_nonsense_is_refused() -> None:
    """A header with nothing behind it."""
    with pytest.raises(MalformedPayload):
        decode(b"II*\x00\x08\x00\x00\x00")


def test_a_damaged_directory_is_refused_or_harmless() -> None:
    """Whatever byte of a slide is changed, nothing but an error of ours comes out."""
    generator, whole = random.Random(0), pyramid(levels=2, tile=(128, 128))  # noqa: S311 - no secret
    for _ in range(300):
        data = bytearray(whole)
        data[generator.randrange(1024)] = generator.randrange(256)
        with suppress(BedsideError):
            assert decode(bytes(data), pixels=10**9, tile_pixels=10**8).payload == data
