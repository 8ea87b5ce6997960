"""Stage 5: the contract is kept, or the field that breaks it is named."""

from dataclasses import replace

import numpy as np
import pytest

from bedside.bundle.contract import Contract, FeatureSpec, InputSpec
from bedside.bundle.validation import validate
from bedside.errors import (
    BedsideError,
    ContractViolation,
    MalformedPayload,
    MissingInput,
    NonFiniteValue,
    UnknownInput,
    WrongChannelCount,
    WrongDatatype,
    WrongShape,
)
from bedside.types import DecodedArray, DecodedImage, DecodedInput, DecodedRecord, DecodedValue

IMAGE = InputSpec("image", "image", spatial_dims=3, channels=(1,))
FEATURES = (FeatureSpec("age"), FeatureSpec("thal", codes={3.0: "normal", 7.0: "defect"}, nullable=True))
RECORD = InputSpec("patient", "record", features=FEATURES)
CLICKS = InputSpec("clicks", "value")
LATENT = InputSpec("latent", "tensor", shape=(-1, 64), dtype="float32")
FOUR = replace(IMAGE, files=4)
VOLUME = DecodedImage("image", b"", ".nii", (4, 5, 6), 3, 1, "int16")


def contract(*inputs: InputSpec) -> Contract:
    """Return a contract of these inputs."""
    return Contract("m", "1", "d", "", "", inputs, (), {})


def patient(*values: float, name: str = "patient") -> DecodedRecord:
    """Return a record of two features."""
    return DecodedRecord(name, np.array(values, np.float32), {})


@pytest.mark.parametrize(
    ("inputs", "decoded"),
    [
        ((IMAGE,), [VOLUME]),
        ((IMAGE,), [replace(VOLUME, shape=(4, 5, 6, 1))]),
        ((replace(IMAGE, channels=(1, 3)),), [replace(VOLUME, shape=(4, 5, 6, 3), channels=3)]),
        ((InputSpec("image", "image"),), [replace(VOLUME, shape=(4,), spatial_dims=1, channels=7)]),
        ((replace(IMAGE, spatial_dims=2),), [replace(VOLUME, shape=(4, 5, 1))]),
        ((RECORD,), [patient(63, 3)]),
        ((RECORD,), [patient(63, np.nan)]),
        ((RECORD, IMAGE), [VOLUME, patient(63, 7)]),
        ((), []),
        ((CLICKS, IMAGE), [VOLUME, DecodedValue("clicks", [[1, 2, 3]])]),
        ((CLICKS,), [DecodedValue("clicks", None)]),
        ((LATENT,), [DecodedArray("latent", np.zeros((4, 64), np.float32))]),
        ((InputSpec("latent", "tensor"),), [DecodedArray("latent", np.zeros(3, np.uint8))]),
    ],
)
def test_what_keeps_the_contract_passes(inputs: tuple[InputSpec, ...], decoded: list[DecodedInput]) -> None:
    """In the contract's order; what is unknown binds nothing; a plane one voxel thick is a plane."""
    items = validate(contract(*inputs), decoded).items
    assert [item.name for item in items] == [spec.name for spec in inputs]


@pytest.mark.parametrize(
    ("inputs", "decoded", "error", "field"),
    [
        ((IMAGE,), [], MissingInput, "image"),
        ((IMAGE,), [VOLUME, VOLUME], MalformedPayload, "image"),
        ((IMAGE,), [VOLUME, replace(VOLUME, name="imag")], UnknownInput, "imag"),
        ((IMAGE,), [replace(VOLUME, name="DOE^JOHN")], UnknownInput, None),
        ((IMAGE,), [patient(1, 3, name="image")], WrongDatatype, "image"),
        ((RECORD,), [replace(VOLUME, name="patient")], WrongDatatype, "patient"),
        ((IMAGE,), [replace(VOLUME, shape=(4, 5), spatial_dims=2)], WrongShape, "image"),
        ((IMAGE,), [replace(VOLUME, shape=(4, 5, 6, 7), spatial_dims=4)], WrongShape, "image"),
        ((replace(IMAGE, spatial_dims=2),), [VOLUME], WrongShape, "image"),
        ((IMAGE,), [replace(VOLUME, shape=())], WrongShape, "image"),
        ((IMAGE,), [replace(VOLUME, shape=(4, 0, 6))], WrongShape, "image"),
        ((IMAGE,), [replace(VOLUME, shape=(4, 5, 6, 3), channels=3)], WrongChannelCount, "image"),
        ((IMAGE,), [replace(VOLUME, finite=False)], NonFiniteValue, "image"),
        ((RECORD,), [patient(63, 3, 1)], WrongShape, "patient"),
        ((RECORD,), [patient(np.nan, 3)], NonFiniteValue, "age"),
        ((RECORD,), [patient(63, np.inf)], NonFiniteValue, "thal"),
        ((RECORD,), [patient(63, 4)], ContractViolation, "thal"),
        ((), [VOLUME], UnknownInput, "image"),
        ((CLICKS,), [replace(VOLUME, name="clicks")], WrongDatatype, "clicks"),
        ((IMAGE,), [DecodedValue("image", {})], WrongDatatype, "image"),
        ((LATENT,), [DecodedValue("latent", [0.5])], WrongDatatype, "latent"),
        ((LATENT,), [DecodedArray("latent", np.zeros(64, np.float32))], WrongShape, "latent"),
        ((LATENT,), [DecodedArray("latent", np.zeros((0, 64), np.float32))], WrongShape, "latent"),
        ((LATENT,), [DecodedArray("latent", np.zeros((1, 63), np.float32))], WrongShape, "latent"),
        ((LATENT,), [DecodedArray("latent", np.zeros((1, 64)))], WrongDatatype, "latent"),
        ((LATENT,), [DecodedArray("latent", np.full((1, 64), np.nan, np.float32))], NonFiniteValue, "latent"),
        ((FOUR,), [], MissingInput, "image"),
        ((FOUR,), [VOLUME] * 3, WrongShape, "image"),
        ((FOUR,), [VOLUME] * 5, WrongShape, "image"),
        ((FOUR,), [VOLUME], WrongShape, "image"),
        ((FOUR,), [VOLUME] * 3 + [replace(VOLUME, channels=2)], WrongChannelCount, "image"),
        ((replace(FOUR, files=None),), [], MissingInput, "image"),
        ((replace(FOUR, optional=True),), [VOLUME] * 3, WrongShape, "image"),
        ((replace(CLICKS, optional=True), IMAGE), [], MissingInput, "image"),
    ],
)
def test_what_breaks_it_is_named(
    inputs: tuple[InputSpec, ...], decoded: list[DecodedInput], error: type[BedsideError], field: str | None
) -> None:
    """The error's class, its field, and nothing that the caller wrote."""
    with pytest.raises(error) as caught:
        validate(contract(*inputs), decoded)
    assert (type(caught.value), caught.value.field) == (error, field)
    assert "DOE" not in caught.value.detail


def test_several_files_of_one_input_keep_their_order() -> None:
    """The order is the order of the channels, whatever came between them."""
    first, second = (replace(VOLUME, payload=payload) for payload in (b"t1", b"t2"))
    clicks = DecodedValue("clicks", [])
    spec = replace(IMAGE, files=2)
    assert validate(contract(CLICKS, spec), [first, clicks, second]).items == (clicks, first, second)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_any_number_of_files_from_one_on_may_come(count: int) -> None:
    """Where the bundle takes a list of any length."""
    assert len(validate(contract(replace(IMAGE, files=None)), [VOLUME] * count).items) == count


def test_what_is_optional_may_be_left_out() -> None:
    """Left out, it is absent: nobody makes a value up."""
    optional = replace(CLICKS, optional=True)
    assert validate(contract(IMAGE, optional), [VOLUME]).items == (VOLUME,)
    assert validate(contract(optional), []).items == ()


def test_both_ranks_and_both_counts_are_told() -> None:
    """The caller need not guess what was expected, or what came."""
    with pytest.raises(WrongShape, match=r"must have 3 spatial axes; an image with 2 came, its shape is \(4, 5\)"):
        validate(contract(IMAGE), [replace(VOLUME, shape=(4, 5), spatial_dims=2)])
    with pytest.raises(WrongChannelCount, match="must have 1 or 3 channels; an image with 4 came"):
        validate(contract(replace(IMAGE, channels=(1, 3))), [replace(VOLUME, channels=4)])


@pytest.mark.parametrize(
    ("shape", "accepted"),
    [((40, 40, 40), True), ((40, 40, 7), False), ((110, 40, 40), False)],
    ids=["crop", "too_thin", "whole_head"],
)
def test_size_in_millimetres_is_bound_by_the_policy(shape: tuple[int, ...], accepted: bool) -> None:  # noqa: FBT001
    """A model for a crop refuses what its author never showed it; voxels of 2 mm count double."""
    spec = InputSpec("image", "image", spatial_dims=3, extent_mm=(16.0, 100.0))
    image = DecodedImage("image", b"", ".nii", shape, 3, 1, "float32", np.diag([2.0, 2.0, 2.0, 1.0]))
    contract = Contract("m", "1", "sha256:0", "", "", (spec,), (), {})

    if accepted:
        assert validate(contract, [image]).items == (image,)
    else:
        with pytest.raises(WrongShape, match="16 to 100 mm"):
            validate(contract, [image])


def test_size_in_millimetres_needs_a_geometry() -> None:
    """A bare array has no size, so a bound on it cannot be kept."""
    spec = InputSpec("image", "image", spatial_dims=3, extent_mm=(16.0, 100.0))
    image = DecodedImage("image", b"", ".npy", (40, 40, 40), 3, 1, "float32", None)

    with pytest.raises(WrongShape, match="geometry"):
        validate(Contract("m", "1", "sha256:0", "", "", (spec,), (), {}), [image])
