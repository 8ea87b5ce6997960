"""Pictures turned by quarters and flipped, without a pixel changed, and results on their grid turned back.

What a caller gets lies as the image that it sent: a mask that lay on its side beside its radiograph would be drawn over
the wrong half of the patient.
"""

import io
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bedside.bundle.contract import Contract
from bedside.codecs.plane import encode_png
from bedside.types import DecodedImage, OutputArray, Prediction, ValidatedInputs


@dataclass(frozen=True, slots=True)
class Turn:
    """One of the eight ways to hang a picture.

    Attributes:
        transposed: rows and columns are exchanged, first.
        mirrored: left and right are.
        upended: top and bottom are.
    """

    transposed: bool = False
    mirrored: bool = False
    upended: bool = False

    def applied(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Return pixels, shape (rows, columns, …), as they are to hang."""
        hung = pixels.swapaxes(0, 1) if self.transposed else pixels
        return np.ascontiguousarray(hung[:: -1 if self.upended else 1, :: -1 if self.mirrored else 1])

    def undone(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Return pixels, shape (rows, columns, …), as they lay before."""
        laid = pixels[:: -1 if self.upended else 1, :: -1 if self.mirrored else 1]
        return np.ascontiguousarray(laid.swapaxes(0, 1) if self.transposed else laid)


def results_as_sent(contract: Contract, inputs: ValidatedInputs, prediction: Prediction) -> Prediction:
    """Return the results, those on the grid of a turned picture as that was sent."""
    turned = _turned(inputs)
    if not turned:
        return prediction
    like = {spec.name: spec.like_input for spec in contract.outputs}

    def back(output: OutputArray) -> OutputArray:
        item, turn = turned.get(like.get(output.name) or "", (None, Turn()))
        if item is None or output.stored.shape[:2] != item.shape[:2]:
            return output
        # MONAI's pictures have their columns first.
        return output._replace(stored=turn.undone(output.stored.swapaxes(0, 1)).swapaxes(0, 1))

    return prediction._replace(arrays=tuple(map(back, prediction.arrays)))


def inputs_as_sent(inputs: ValidatedInputs) -> ValidatedInputs:
    """Return turned pictures as they were sent; one whose pixels nobody needs any more stays without."""
    turned = _turned(inputs)
    if not turned:
        return inputs
    items = tuple(_laid_back(*turned[item.name]) if item.name in turned else item for item in inputs.items)
    return inputs._replace(items=items)


def _turned(inputs: ValidatedInputs) -> dict[str, tuple[DecodedImage, Turn]]:
    return {
        item.name: (item, turn)
        for item in inputs.items
        if isinstance(item, DecodedImage) and isinstance(turn := getattr(item.source, "turn", None), Turn)
    }


def _laid_back(item: DecodedImage, turn: Turn) -> DecodedImage:
    shape = (*item.shape[1::-1], *item.shape[2:]) if turn.transposed else item.shape
    if not item.payload:
        return replace(item, shape=shape)
    pixels = turn.undone(np.asarray(Image.open(io.BytesIO(item.payload))))
    return replace(item, payload=encode_png(pixels), shape=shape)
