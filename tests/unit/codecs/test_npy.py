"""NumPy arrays: numbers only, whole, and nothing that could run code."""

from collections.abc import Callable

import pytest

from bedside.errors import BedsideError, DecompressedTooLarge, MalformedPayload, WrongDatatype
from bedside.types import DecodedImage

Decode = Callable[..., DecodedImage]


@pytest.mark.parametrize("name", ["array.npy", "array_fortran.npy"])
def test_arrays_are_described(decode: Decode, name: str) -> None:
    """All axes are spatial, as NumpyReader takes them."""
    image = decode(name, "application/x-npy")
    assert (image.shape, image.spatial_dims, image.channels, image.dtype) == ((7, 5), 2, 1, "float32")
    assert (image.suffix, image.finite, image.affine) == (".npy", True, None)


def test_infinity_is_told(decode: Decode) -> None:
    """An infinite element is found here, and refused by the contract."""
    assert not decode("array_infinite.npy").finite


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("array_truncated.npy", MalformedPayload),
        ("array_trailing_bytes.npy", MalformedPayload),
        ("array_header_truncated.npy", MalformedPayload),
        ("array_negative_axis.npy", MalformedPayload),
        ("array_complex.npy", WrongDatatype),
        ("array_text.npy", WrongDatatype),
        ("array_pickled.npy", WrongDatatype),
        ("array_huge.npy", DecompressedTooLarge),
        ("archive.npz", MalformedPayload),
    ],
)
def test_defective_arrays_are_refused_by_name(decode: Decode, name: str, error: type[BedsideError]) -> None:
    """Each defect gets its error, and the error names the input."""
    with pytest.raises(error) as caught:
        decode(name, "application/x-npy")
    assert type(caught.value) is error
    assert caught.value.field == "scan"
