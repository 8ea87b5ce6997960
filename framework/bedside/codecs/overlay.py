"""The picture for people: the source, the labels over it, who is right and left, and how much there is.

It is for a look, not for a diagnosis: interpolated, windowed by percentiles, three planes of many; the footer says so.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from bedside.bundle.contract import Contract, OutputSpec
from bedside.codecs.findings import source_image
from bedside.codecs.labels import LabelCount, count_labels
from bedside.codecs.report import NOTICE, grid_rank
from bedside.codecs.views import Plane, cut
from bedside.errors import RunFailed
from bedside.types import OutputArray, Prediction, ValidatedInputs

_TILE = 320
_GAP = 12
_TEXT = 15
_LINE = 22
_INK, _FAINT, _PAPER = (236, 239, 244), (150, 158, 170), (18, 20, 24)
_FILL = 0.38
_LEGEND_LINES = 10
# Okabe and Ito's colours (2008), which people with any colour vision tell apart; black left out.
_COLOURS = np.array(
    [(230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167)]
)


def render_overlay(contract: Contract, inputs: ValidatedInputs, prediction: Prediction) -> Image.Image:
    """Draw the first result on a grid over the image that it came from.

    Raises:
        RunFailed: there is no such result, or it is no label map.
    """
    output, spec = _first(contract, prediction)
    source = source_image(inputs)
    if source is None:
        raise RunFailed("there is no image to draw the result on")
    rank = grid_rank(output, inputs)
    segmented = spec.kind == "segmentation"
    planes = cut(source, output, 3 if rank == 3 else 2, segmented=segmented)
    counts = count_labels(output, spec.labels, rank) if segmented else []
    stacked = output.stored.ndim > rank and output.stored.shape[-1] > 1
    return _page(f"{contract.model} {contract.version}", planes, counts, offset=1 if stacked else 0)


def _first(contract: Contract, prediction: Prediction) -> tuple[OutputArray, OutputSpec]:
    specs = {spec.name: spec for spec in contract.outputs if spec.kind in {"segmentation", "image"}}
    for array in prediction.arrays:
        if array.name in specs and array.stored.ndim >= 2:
            return array, specs[array.name]
    raise RunFailed("the model answered nothing that could be drawn")


def _page(title: str, planes: list[Plane], counts: list[LabelCount], offset: int) -> Image.Image:
    tiles = [_tile(plane, _scale(planes)) for plane in planes]
    height = max(tile.height for tile in tiles)
    legend = _legend(counts)
    width = max(sum(tile.width + _GAP for tile in tiles) + _GAP, 2 * _TILE)
    page = Image.new("RGB", (width, height + 3 * _GAP + _LINE * (4 + len(legend))), _PAPER)
    draw = ImageDraw.Draw(page)
    _write(draw, (_GAP, _GAP), title)
    left, top = _GAP, _GAP + _LINE
    for plane, tile in zip(planes, tiles, strict=True):
        _write(draw, (left, top), plane.title, _FAINT)
        page.paste(tile, (left, top + _LINE + (height - tile.height) // 2))
        left += tile.width + _GAP
    bottom = top + _LINE + height + _GAP
    for line, (index, text) in enumerate(legend):
        _entry(draw, bottom + line * _LINE, None if index is None else index + offset, text)
    _write(draw, (_GAP, page.height - _GAP - _LINE), _footer(planes), _FAINT)
    return page


def _footer(planes: list[Plane]) -> str:
    if any(plane.edges for plane in planes):
        return f"Radiological convention: the patient's right is on the left (R). {NOTICE}"
    return f"Shown as it was sent; the patient's sides are not known. {NOTICE}"


def _scale(planes: list[Plane]) -> float:
    """Return pixels per millimetre, the same for all planes, so that lengths compare across them."""
    longest: float = max(
        length * spacing
        for plane in planes
        for length, spacing in zip(plane.pixels.shape[:2], plane.spacing, strict=True)
    )
    return _TILE / longest if len(planes) > 1 else 1.5 * _TILE / longest


def _tile(plane: Plane, scale: float) -> Image.Image:
    rows, columns = plane.pixels.shape[:2]
    size = (max(1, round(columns * plane.spacing[1] * scale)), max(1, round(rows * plane.spacing[0] * scale)))
    tile = Image.fromarray(plane.pixels).convert("RGB").resize(size, Image.Resampling.BICUBIC)
    if plane.labels is not None:
        tile = _painted(tile, plane.labels)
    draw = ImageDraw.Draw(tile)
    width, height = size
    places = (
        (4, height // 2, "lm"),
        (width - 4, height // 2, "rm"),
        (width // 2, 3, "ma"),
        (width // 2, height - 3, "md"),
    )
    for letter, (x, y, anchor) in zip(plane.edges, places, strict=False):
        draw.text((x, y), letter, _INK, _font(), anchor=anchor, stroke_width=2, stroke_fill=_PAPER)
    return tile


def _painted(tile: Image.Image, labels: NDArray[np.int64]) -> Image.Image:
    # Nearest neighbour: a label between two labels would be a third one.
    grown = np.asarray(Image.fromarray(labels.astype(np.int32)).resize(tile.size, Image.Resampling.NEAREST))
    pixels = np.asarray(tile).astype(np.float64)
    colours = _COLOURS[(grown - 1) % len(_COLOURS)]
    opacity = np.where(_outline(grown), 1.0, _FILL) * (grown != 0)
    mixed = pixels + (colours - pixels) * opacity[..., None]
    return Image.fromarray(mixed.astype(np.uint8))


def _outline(labels: NDArray[np.int32]) -> NDArray[np.bool_]:
    padded = np.pad(labels, 1, mode="edge")
    inner = padded[1:-1, 1:-1]
    neighbours = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    edge = np.zeros(labels.shape, np.bool_)
    for neighbour in neighbours:
        edge |= neighbour != inner
    return edge


def _legend(counts: list[LabelCount]) -> list[tuple[int | None, str]]:
    shown = (
        counts if len(counts) <= _LEGEND_LINES else sorted(counts, key=lambda count: -count.voxels)[: _LEGEND_LINES - 1]
    )
    lines: list[tuple[int | None, str]] = [(count.index, f"{count.name}   {_amount(count)}") for count in shown]
    rest = len(counts) - len(shown)
    return [*lines, (None, f"and {rest} more; the JSON answer lists all")] if rest else lines


def _amount(count: LabelCount) -> str:
    if count.volume_ml is None:
        return f"{count.voxels} pixels"
    return f"{count.volume_ml:.3g} ml" if count.volume_ml < 100 else f"{count.volume_ml:.0f} ml"


def _entry(draw: ImageDraw.ImageDraw, top: int, colour: int | None, text: str) -> None:
    if colour is not None:
        swatch = tuple(int(part) for part in _COLOURS[(colour - 1) % len(_COLOURS)])
        draw.rounded_rectangle((_GAP, top + 2, _GAP + 14, top + 16), 3, fill=swatch)
    _write(draw, (_GAP + 24, top), text)


def _write(draw: ImageDraw.ImageDraw, at: tuple[int, int], text: str, ink: tuple[int, int, int] = _INK) -> None:
    draw.text(at, text, ink, _font())


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(_TEXT)
