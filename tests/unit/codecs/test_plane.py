"""PNG, JPEG and TIFF: what the reader will see, and what is written anew so that it sees the right thing."""

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from bedside.bundle.contract import PLANE_MEDIA_TYPES, InputSpec
from bedside.codecs.plane import MOST_SCANS, decode_plane, encode_png
from bedside.errors import BedsideError, DecompressedTooLarge, MalformedPayload, WrongDatatype, WrongShape
from bedside.types import DecodedImage

Decode = Callable[..., DecodedImage]
INPUTS = Path(__file__).parents[2] / "assets" / "inputs"
PICTURES = InputSpec("scan", "image", PLANE_MEDIA_TYPES, 2)


def pixels(image: DecodedImage) -> NDArray[Any]:
    """Return the payload's pixels, (height, width[, channels])."""
    return np.asarray(Image.open(io.BytesIO(image.payload)))


@pytest.mark.parametrize(
    ("name", "shape", "channels", "dtype"),
    [
        ("grey.png", (7, 5), 1, "uint8"),
        ("grey_16_bit.png", (7, 5), 1, "uint16"),
        ("grey_alpha.png", (7, 5, 2), 2, "uint8"),
        ("colour.png", (7, 5, 3), 3, "uint8"),
        ("colour_alpha.png", (7, 5, 4), 4, "uint8"),
        ("grey.jpg", (112, 80), 1, "uint8"),
        ("colour.jpg", (56, 40, 3), 3, "uint8"),
    ],
)
def test_plain_pictures_go_on_as_they_came(
    decode: Decode, name: str, shape: tuple[int, ...], channels: int, dtype: str
) -> None:
    """The original bytes are the payload; the shape is (width, height[, channels])."""
    image = decode(name)
    assert (image.shape, image.channels, image.dtype, image.spatial_dims) == (shape, channels, dtype, 2)
    assert image.payload == (INPUTS / name).read_bytes()


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("palette.png", (7, 5, 3)),
        ("palette_transparent.png", (7, 5, 4)),
        ("one_bit.png", (7, 5)),
        ("cmyk.jpg", (7, 5, 3)),
        ("exif_turned.jpg", (80, 112)),
        ("exif_turned.png", (5, 7)),
        ("grey.tiff", (7, 5)),
        ("grey_16_bit.tiff", (7, 5)),
        ("grey_16_bit_big_endian.tiff", (7, 5)),
        ("colour.tiff", (7, 5, 3)),
    ],
)
def test_pictures_that_the_reader_would_misread_become_png(decode: Decode, name: str, shape: tuple[int, ...]) -> None:
    """Palettes, bits, CMYK, orientation and TIFF are written anew, without loss."""
    image = decode(name)
    assert (image.suffix, image.shape) == (".png", shape)
    assert not Image.open(io.BytesIO(image.payload)).getexif()


def test_orientation_is_applied(decode: Decode) -> None:
    """An X-ray that a viewer shows upright reaches the model upright (EXIF orientation 6: turned by 90 degrees)."""
    np.testing.assert_array_equal(pixels(decode("exif_turned.png")), np.rot90(pixels(decode("grey.png")), -1))


def test_sixteen_bits_are_kept(decode: Decode) -> None:
    """TIFF of either byte order keeps all 16 bits."""
    expected = np.arange(35, dtype=np.uint16).reshape(5, 7) * 1000
    np.testing.assert_array_equal(pixels(decode("grey_16_bit.tiff")), expected)
    np.testing.assert_array_equal(pixels(decode("grey_16_bit_big_endian.tiff")), expected)


def test_negative_is_turned_around(decode: Decode) -> None:
    """WhiteIsZero with 16 bits, which Pillow leaves inverted, shows what a viewer shows."""
    expected = 65535 - np.arange(35, dtype=np.uint16).reshape(5, 7) * 1000
    np.testing.assert_array_equal(pixels(decode("white_is_zero_16_bit.tiff")), expected)


def test_float_tiff_goes_as_array_where_arrays_are_read(decode: Decode) -> None:
    """Floats have no picture format that PILReader reads."""
    image = decode("float.tiff")
    assert (image.suffix, image.shape) == (".npy", (7, 5))
    with pytest.raises(WrongDatatype):
        decode("float.tiff", spec=PICTURES)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("truncated.png", MalformedPayload),
        ("wrong_checksum.png", MalformedPayload),
        ("header_only.png", MalformedPayload),
        ("truncated.jpg", MalformedPayload),
        ("truncated.tiff", MalformedPayload),
        ("lab.tiff", WrongDatatype),
        ("two_pages.tiff", WrongShape),
        ("animated.png", WrongShape),
        ("bomb.png", DecompressedTooLarge),
    ],
)
def test_defective_pictures_are_refused_by_name(decode: Decode, name: str, error: type[BedsideError]) -> None:
    """Each defect gets its error, and the error names the input."""
    with pytest.raises(error) as caught:
        decode(name)
    assert type(caught.value) is error
    assert caught.value.field == "scan"


def tiff(values: NDArray[Any], *, sample_format: int, inverted: bool = False) -> bytes:
    """Return a grey, uncompressed, little-endian TIFF of one strip (TIFF 6.0 §8, §19)."""
    data = values.tobytes()
    tags = {256: values.shape[1], 257: values.shape[0], 258: 8 * values.itemsize, 259: 1, 262: 0 if inverted else 1}
    tags |= {273: 8 + 2 + 12 * 10 + 4, 277: 1, 278: values.shape[0], 279: len(data), 339: sample_format}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(4) + data


def decode_tiff(data: bytes) -> NDArray[Any]:
    """Return what a model that takes arrays would read, (height, width)."""
    image = decode_plane(data, "tiff", name="scan", limit=1 << 20, arrays=True)
    array: NDArray[Any] = np.load(io.BytesIO(image.payload)).T if image.suffix == ".npy" else pixels(image)
    return array


@pytest.mark.parametrize(
    ("values", "sample_format", "inverted"),
    [
        (np.array([[-5, 5]], np.int8), 2, False),
        (np.array([[1, 2**31]], np.uint32), 1, False),
        (np.array([[0.5, 2.0]], np.float32), 3, True),
    ],
    ids=["signed_8_bit", "unsigned_32_bit", "negative_of_floats"],
)
def test_tiffs_whose_values_pillow_would_change_are_refused(
    values: NDArray[Any], sample_format: int, *, inverted: bool
) -> None:
    """-5 is not 251, 2^31 not negative, and a negative of floats has no white to turn around."""
    with pytest.raises(WrongDatatype) as caught:
        decode_tiff(tiff(values, sample_format=sample_format, inverted=inverted))
    assert caught.value.field == "scan"


@pytest.mark.parametrize(
    ("values", "sample_format"),
    [
        (np.array([[0, 255]], np.uint8), 1),
        (np.array([[0, 65535]], np.uint16), 1),
        (np.array([[-5, 5]], np.int16), 2),
        (np.array([[-5, 5]], np.int32), 2),
        (np.array([[0, 2**31 - 1]], np.uint32), 1),
        (np.array([[-0.5, 2.0]], np.float32), 3),
    ],
)
def test_tiffs_that_pillow_reads_rightly_keep_their_values(values: NDArray[Any], sample_format: int) -> None:
    """Signed and unsigned, 8 to 32 bits."""
    np.testing.assert_array_equal(decode_tiff(tiff(values, sample_format=sample_format)), values)


def test_whatever_pillow_raises_is_the_callers_error(decode: Decode, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken EXIF has ended in AttributeError, KeyError, struct.error and more over the years."""
    monkeypatch.setattr(Image.Image, "getexif", lambda _: 1 / 0)
    with pytest.raises(MalformedPayload):
        decode("grey.png")


def test_more_pixels_than_the_limit_are_refused_before_decoding() -> None:
    """A few kilobytes can announce billions of pixels."""
    with pytest.raises(DecompressedTooLarge, match="pixels"):
        decode_plane(
            encode_png(np.zeros((40, 50), np.uint8)), "png", name="image", limit=1 << 20, arrays=False, pixels=1999
        )


def test_a_jpeg_of_thousands_of_scans_is_refused() -> None:
    """Each scan costs a pass over the picture; no encoder writes more than a dozen."""
    stream = io.BytesIO()
    Image.fromarray(np.zeros((16, 16), np.uint8)).save(stream, "JPEG", progressive=True)
    many = stream.getvalue() + b"\xff\xda" * (MOST_SCANS + 1)

    with pytest.raises(MalformedPayload, match="scans"):
        decode_plane(many, "jpeg", name="image", limit=1 << 20, arrays=False)


def test_a_chain_of_pages_is_refused_at_the_second() -> None:
    """Counting the pages of a TIFF would walk a chain that a file of megabytes can make millions long."""
    stream = io.BytesIO()
    page = Image.fromarray(np.zeros((4, 4), np.uint8))
    page.save(stream, "TIFF", save_all=True, append_images=[page] * 50)

    with pytest.raises(WrongShape, match="several"):
        decode_plane(stream.getvalue(), "tiff", name="image", limit=1 << 20, arrays=False)
