"""What a built preprocessing tells about the request."""

from typing import Any

import numpy as np
import pytest
import torch
from monai.data import PILReader
from monai.transforms import (
    Compose,
    ConcatItemsd,
    CopyItemsd,
    EnsureChannelFirstd,
    EnsureTyped,
    Identity,
    Lambdad,
    LoadImaged,
    ScaleIntensityd,
)

from bedside.runtime.introspection import input_facts, nullable_features
from bedside.types import OutputArray


def names(*transforms: Any) -> list[str]:
    """Return the keys that a request must bring."""
    return [fact.name for fact in input_facts(Compose(transforms))]


def test_every_key_that_is_read_is_asked_for_once_and_in_order() -> None:
    """Two images that are loaded are two inputs, however often they are touched afterwards."""
    assert names(LoadImaged(["ct", "pet"]), EnsureChannelFirstd(["pet", "ct"]), ScaleIntensityd("ct")) == ["ct", "pet"]


@pytest.mark.parametrize(
    "making",
    [
        CopyItemsd("ct", names="other"),
        CopyItemsd("ct", times=2, names=["copy", "other"]),
        ConcatItemsd(["ct"], name="other"),
        Lambdad("ct", func=abs, overwrite="other"),
        Lambdad("ct", func=abs, overwrite=["other"]),
    ],
)
def test_a_key_that_another_transform_has_made_is_not_asked_for(making: Any) -> None:
    """Copies, concatenations and results of functions are the bundle's own business."""
    assert names(LoadImaged("ct"), making, ScaleIntensityd("other")) == ["ct"]


def test_a_key_that_is_read_before_it_is_made_is_asked_for() -> None:
    """Order counts: the same key, read first, must come from the request."""
    assert names(ScaleIntensityd("other"), CopyItemsd("ct", names="other")) == ["other", "ct"]


def test_a_key_that_may_be_missing_is_not_asked_for() -> None:
    """A label that only training has is no input of a request."""
    assert names(LoadImaged("ct"), LoadImaged("label", allow_missing_keys=True)) == ["ct"]


def test_a_transform_without_keys_asks_for_nothing() -> None:
    """Plain transforms take what they are given."""
    assert names(Identity()) == []


def test_a_value_that_is_not_loaded_goes_in_as_it_is() -> None:
    """Where no LoadImage reads the key, it is a record."""
    (fact,) = input_facts(Compose([EnsureTyped("features")]))
    assert not fact.reads_file


@pytest.mark.parametrize(
    ("reader", "expected"), [(None, None), ("NibabelReader", "NibabelReader"), ("PILReader", "PILReader")]
)
def test_the_reader_that_the_bundle_chose_is_told(reader: str | None, expected: str | None) -> None:
    """A named reader narrows what may be uploaded; without one MONAI chooses by suffix."""
    (fact,) = input_facts(Compose([LoadImaged("image", reader=reader)]))
    assert (fact.reads_file, fact.reader) == (True, expected)


@pytest.mark.parametrize("converts", [True, False])
def test_a_reader_that_converts_is_told(*, converts: bool) -> None:
    """A converter changes the number of channels, so the file's need not be the network's."""
    reader = PILReader(converter=(lambda image: image.convert("L")) if converts else None)
    (fact,) = input_facts(Compose([LoadImaged("image", reader=reader)]))
    assert fact.converts is converts


@pytest.mark.parametrize(
    ("transforms", "adds"),
    [
        ([LoadImaged("image")], False),
        ([LoadImaged("image", ensure_channel_first=True)], True),
        ([LoadImaged("image"), EnsureChannelFirstd("image")], True),
        ([LoadImaged("image"), LoadImaged("other"), EnsureChannelFirstd("other")], False),
    ],
)
def test_a_channel_axis_that_is_added_is_told(transforms: list[Any], *, adds: bool) -> None:
    """Arrays need not have a channel axis where the bundle makes one for that key."""
    assert input_facts(Compose(transforms))[0].adds_channel is adds


def test_a_number_is_nullable_where_the_result_without_it_is_finite() -> None:
    """One number is mended by the model, one spoils the result, one is refused."""

    def run(values: np.ndarray[Any, Any]) -> list[OutputArray]:
        if np.isnan(values[2]):
            raise ValueError("DOE^JOHN")
        return [OutputArray("pred", np.array([np.nan_to_num(values[0]), values[1]]))]

    values = np.ones(3, np.float32)
    assert nullable_features(run, values) == (True, False, False)
    assert torch.from_numpy(values).isfinite().all()
