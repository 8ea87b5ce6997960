"""Whole slides: tiled pyramids in TIFF, read region by region (MONAI's ``WSIReader``), so never decoded here.

A slide of 100,000 x 100,000 pixels is 30 GB decoded and 1 GB as a file; the reader takes a few tiles of it at a time.
What is checked is what a region's reader relies on: that the directories can be walked, that every tile lies within
the file, and that no tile is itself a picture too large to decode. The original bytes go on.
"""

import io
import logging
import math
import warnings
from collections.abc import Iterator

from tifffile import PHOTOMETRIC, TiffFile, TiffPage

from bedside.errors import DecompressedTooLarge, MalformedPayload, WrongDatatype, WrongShape
from bedside.types import DecodedImage

# Remarks on odd tags in the caller's file would go to stderr, between the log's lines; what matters raises.
logging.getLogger("tifffile").disabled = True
warnings.filterwarnings("ignore", module=r"tifffile")

MOST_PAGES = 64
"""Pictures in one file: about ten levels, a label, a thumbnail, an overview."""

_COLOURS = {PHOTOMETRIC.RGB, PHOTOMETRIC.YCBCR}  # TIFF 6.0 §6 and §21; scanners write both


def decode_slide(data: bytes, *, name: str, pixels: int, tile_pixels: int) -> DecodedImage:
    """Check the directories of a slide; its pixels are left to the reader.

    Args:
        data: the TIFF file, classic or BigTIFF.
        name: input name for the error's field.
        pixels: largest number of pixels of all levels together.
        tile_pixels: largest number of pixels of one tile, or strip.

    Returns:
        The same bytes; the shape is that of the first page, (height, width, 3).

    Raises:
        MalformedPayload: it is damaged or cut short.
        DecompressedTooLarge: its levels or one of its tiles have too many pixels.
        WrongShape: it holds more pictures than a slide has.
        WrongDatatype: it is not in colour, or not of 8 bits.
    """
    try:
        with TiffFile(io.BytesIO(data)) as file:
            pages = _pages(file, name)
            whole = bool(pages) and all(_is_whole(page, len(data)) for page in pages)
    except WrongShape:
        raise
    except Exception as error:  # a parser fed with arbitrary bytes raises anything
        raise MalformedPayload(f"'{name}' is a damaged TIFF file", field=name) from error
    if not whole:
        raise MalformedPayload(f"'{name}' is cut short: it has no page, or a tile beyond its end", field=name)
    _require_bounded(pages, name, pixels, tile_pixels)
    first = pages[0]
    if first.photometric not in _COLOURS or first.samplesperpixel != 3 or first.bitspersample != 8:
        raise WrongDatatype(f"'{name}' must be in colour, 8 bits a channel", field=name)
    shape = (first.imagelength, first.imagewidth, 3)
    return DecodedImage(name, data, ".tiff", shape, spatial_dims=2, channels=3, dtype="uint8")


def _pages(file: TiffFile, name: str) -> list[TiffPage]:
    pages: list[TiffPage] = []
    for page in _walk(file):
        if len(pages) == MOST_PAGES:
            raise WrongShape(f"'{name}' must be a slide; this file holds more than {MOST_PAGES} pictures", field=name)
        pages.append(page)
    return pages


def _walk(file: TiffFile) -> Iterator[TiffPage]:
    """Yield the pages one by one: the chain may have millions, and asking for its length would walk it."""
    for number in range(MOST_PAGES + 1):
        try:
            page = file.pages.get(number)  # the whole directory, where an iterator would reuse the first one's
        except IndexError:
            return
        yield page.aspage()
        if page.subifds:  # OME-TIFF keeps the lower levels there
            yield from (below.aspage() for below in page.pages)


def _is_whole(page: TiffPage, size: int) -> bool:
    tiles = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    return len(tiles) >= math.prod(page.chunked) > 0 and all(start + length <= size for start, length in tiles)


def _require_bounded(pages: list[TiffPage], name: str, pixels: int, tile_pixels: int) -> None:
    count = sum(page.imagelength * page.imagewidth * page.imagedepth for page in pages)
    if count > pixels:
        raise DecompressedTooLarge(f"'{name}' has {count} pixels in all levels, the limit is {pixels}", field=name)
    largest = max(math.prod(page.chunks) // page.samplesperpixel for page in pages)
    if largest > tile_pixels:
        raise DecompressedTooLarge(f"'{name}' has a tile of {largest} pixels, the limit is {tile_pixels}", field=name)
