"""The nouns of the spine are values that do not change."""

import dataclasses

import numpy as np
import pytest

from bedside import types
from bedside.types import DecodedImage, OutputArray, Prediction, Principal, RawTensor, ValidatedInputs

NOUNS = [noun for noun in vars(types).values() if isinstance(noun, type) and noun.__module__ == types.__name__]


@pytest.mark.parametrize("noun", NOUNS, ids=lambda noun: noun.__name__)
def test_every_noun_is_frozen_and_slotted(noun: type) -> None:
    """What has been verified cannot be changed afterwards, nor can anything be pinned to it."""
    assert issubclass(noun, tuple) or noun.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert "__slots__" in vars(noun)


def test_a_principal_cannot_be_given_more_scopes() -> None:
    """Trust is in the type."""
    principal = Principal("a", "b", frozenset(), 0.0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        principal.scopes = frozenset({"bedside.admin"})  # type: ignore[misc]


def test_what_is_optional_is_absent() -> None:
    """No geometry, no files, no parameters unless there are some."""
    image = DecodedImage("image", b"", ".png", (4, 5), 2, 1, "uint8")
    assert (image.affine, image.finite) == (None, True)
    prediction = Prediction((OutputArray("pred", np.zeros(2)),))
    assert (prediction.files, dict(prediction.seconds), prediction.arrays[0].affine) == ((), {}, None)
    assert dict(RawTensor("x", "FP32", (1,), b"").parameters) == {}
    assert ValidatedInputs((image,)).items == (image,)
