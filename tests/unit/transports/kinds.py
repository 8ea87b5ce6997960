"""Models of every kind of input and output; they answer with what they saw."""

from typing import Any

import numpy as np
from tests.unit.transports.fakes import FakeExecutor, FakeModel, World

from bedside.bundle.contract import Contract, InputSpec, OutputSpec
from bedside.types import (
    DecodedArray,
    DecodedImage,
    DecodedInput,
    DecodedValue,
    OutputArray,
    OutputFile,
    Prediction,
    ValidatedInputs,
)

VOLUMES = ("application/x-nifti", "application/gzip")
PICTURES = ("image/png",)
JSON = ("application/json",)
NPY = ("application/x-npy",)

MODALITIES = InputSpec("image", "image", VOLUMES, 3, (1,), files=2)
PICTURE = InputSpec("image", "image", PICTURES, 2, (1,))
POINTS = InputSpec("points", "value", JSON, example=[[1, 2, 3]])
PROMPT = InputSpec("label_prompt", "value", JSON, optional=True)
LATENT = InputSpec("latent", "tensor", NPY, shape=(-1, 4), dtype="float32")

BOXES = OutputSpec("boxes", "value")
MASK = OutputSpec("mask", "segmentation", "uint8", (-1, -1), {1: "cell"}, like_input="image")
REPORT = OutputSpec("file_0", "file", media_type="text/csv")


def contract(name: str, inputs: tuple[InputSpec, ...], outputs: tuple[OutputSpec, ...] = (BOXES,)) -> Contract:
    """Return a contract."""
    return Contract(name, "1", "sha256:0", "", "", inputs, outputs, {})


CONTRACTS = [
    contract("modalities", (MODALITIES,)),
    contract("series", (InputSpec("image", "image", PICTURES, 2, files=None),)),
    contract("prompted", (PICTURE, POINTS, PROMPT)),
    contract("values", (POINTS, PROMPT)),
    contract("latent", (LATENT,)),
    contract("generator", ()),
    contract("free", (PROMPT,)),
    contract("reporter", (PICTURE,), (BOXES, REPORT)),
    contract("segmenter", (PICTURE,), (MASK,)),
]


async def describe(inputs: ValidatedInputs, timeout_seconds: float) -> Prediction:
    """Answer with what came in, as a value, and with a report."""
    return Prediction(
        (), (OutputFile(".csv", b"x,y\n1,2\n", "report"),), {}, {"boxes": [_seen(i) for i in inputs.items]}
    )


async def segment(inputs: ValidatedInputs, timeout_seconds: float) -> Prediction:
    """Answer with a mask on the picture's grid that holds its own number of pixels."""
    (item,) = inputs.items
    assert isinstance(item, DecodedImage)
    return Prediction((OutputArray("mask", np.full(item.shape, item.payload[-20] % 2, np.uint8)),))


def _seen(item: DecodedInput) -> Any:
    if isinstance(item, DecodedImage):
        return [item.name, item.suffix, list(item.shape)]
    if isinstance(item, DecodedValue):
        return [item.name, item.value]
    assert isinstance(item, DecodedArray)
    return [item.name, item.values.dtype.name, item.values.tolist()]


def add_kinds(world: World) -> World:
    """Add a model of each kind to an application."""
    for of in CONTRACTS:
        run = segment if of.outputs == (MASK,) else describe
        world.repository.models[of.model] = FakeModel(of, FakeExecutor(of, run))
    return world
