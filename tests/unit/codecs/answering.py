"""Contracts and results of every kind, and how an answer is asked for."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from bedside.bundle.contract import Contract, FeatureSpec, InputSpec, OutputSpec
from bedside.codecs import Answers
from bedside.codecs.nifti import decode_nifti, encode_nifti
from bedside.codecs.plane import decode_plane, encode_png
from bedside.types import DecodedImage, DecodedRecord, Json, OutputArray, Prediction, ValidatedInputs

AFFINE = np.array([[0, 0, 2.0, -9], [-1.0, 0, 0, 8], [0, 1.5, 0, 7], [0, 0, 0, 1]])
SCAN = np.random.default_rng(0).integers(0, 1000, (8, 9, 10)).astype(np.int16)
MASK = np.zeros((8, 9, 10), np.uint8)
MASK[2:4, 2:4, 2:4] = 1
MASK[5, 5, 5] = 2
VOLUME = decode_nifti(encode_nifti(SCAN, AFFINE), name="image", limit=1 << 20)
PLANE = decode_plane(encode_png(SCAN[..., 0].astype(np.uint8).T), "png", name="image", limit=1 << 20, arrays=False)
LABELS = {0: "background", 1: "Anterior", 2: "Posterior"}
ANSWERS = Answers()


def contract(*outputs: OutputSpec, features: tuple[str, ...] = (), metrics: dict[str, float] | None = None) -> Contract:
    """Return a contract with an image input, or a record input where there are features."""
    spec = (
        InputSpec("image", "image")
        if not features
        else InputSpec("patient", "record", features=tuple(FeatureSpec(name) for name in features))
    )
    return Contract("model", "1.2.0", "sha256:0", "", "", (spec,), outputs, metrics or {})


SEGMENTER = contract(OutputSpec("pred", "segmentation", labels=LABELS, like_input="image"))
CLASSIFIER = contract(OutputSpec("pred", "probabilities", labels={0: "normal", 1: "pneumonia"}))
TABULAR = contract(
    OutputSpec("pred", "probabilities", labels={0: "absence", 1: "presence"}),
    features=("age",),
    metrics={"accuracy": 0.84},
)


def answer(
    media_type: str, of: Contract, item: DecodedImage | DecodedRecord, array: Any, affine: Any = None
) -> tuple[str, bytes]:
    """Encode one result."""
    prediction = Prediction((OutputArray("pred", np.asarray(array), affine),))
    encoded = ANSWERS.encode(media_type, of, ValidatedInputs((item,)), prediction)
    return encoded.media_type, encoded.body


def report(of: Contract, item: DecodedImage | DecodedRecord, array: Any, affine: Any = None) -> dict[str, Any]:
    """Return the JSON answer."""
    parsed: dict[str, Any] = orjson.loads(answer("application/json", of, item, array, affine)[1])
    return parsed


def f32(values: list[float]) -> NDArray[np.float32]:
    """Return a float32 array."""
    return np.array(values, np.float32)


def patient(**values: float) -> DecodedRecord:
    """Return a record."""
    return DecodedRecord("patient", np.array(list(values.values()), np.float32), values)


WRITES_A_PICTURE = contract(OutputSpec("file_0", "file", media_type="image/png"))
BOXES = contract(OutputSpec("boxes", "value"), OutputSpec("file_0", "file", media_type="text/csv"))
FOUND: Mapping[str, Json] = {"boxes": [{"box": [1, 2, 3, 4], "score": 0.5}]}
