"""PNG, JPEG and TIFF, read as MONAI's ``PILReader`` reads them: axes (width, height[, channels]).

The original bytes go on where the reader sees in them what a person sees in a viewer. Otherwise the pixels are
written anew as a lossless PNG: palettes (indices are not intensities), 1-bit pixels, CMYK and YCbCr, TIFF (which
``PILReader`` does not open by suffix), and pictures with an EXIF orientation: ``PILReader`` ignores it, so a
chest X-ray photographed with a turned camera would reach the network lying on its side.
"""

import io
import math
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps

from bedside.codecs.npy import encode_npy
from bedside.codecs.sniff import FileKind
from bedside.errors import DecompressedTooLarge, MalformedPayload, WrongDatatype, WrongShape
from bedside.types import DecodedImage

# Pillow's own bound is a warning at 89 million pixels, whatever the depth. Ours is LimitSettings.decompressed_bytes,
# checked on the header before a pixel is decoded; warnings.catch_warnings would not be safe in threads.
Image.MAX_IMAGE_PIXELS = None
ImageFile.LOAD_TRUNCATED_IMAGES = False  # Pillow's default, spelled out: True would fill the missing half with grey
# Remarks on odd tags in the caller's file would go to stderr, between the log's lines; what matters raises.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

MOST_SCANS = 64
"""Scans of a progressive JPEG (ITU-T T.81 §G). Encoders write about ten; each costs a pass over the whole picture."""

_START_OF_SCAN = b"\xff\xda"  # ITU-T T.81 table B.1; inside entropy-coded data FF is always followed by 00

_FORMATS: dict[FileKind, tuple[str, ...]] = {"png": ("PNG",), "jpeg": ("JPEG",), "tiff": ("TIFF",)}
_SUFFIXES: dict[FileKind, str] = {"png": ".png", "jpeg": ".jpg", "tiff": ".tiff"}
_AS_READ = {"L", "LA", "RGB", "RGBA", "I;16"}
_CONVERTED = {"1": "L", "P": "RGB", "PA": "RGBA", "CMYK": "RGB", "YCbCr": "RGB"}
_SIXTEEN_BIT = {"I;16L", "I;16B", "I;16N"}
_SIZES = {"I": 4, "F": 4, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2}
_ORIENTATION = 0x0112  # EXIF 2.32 §4.6.4.A; also TIFF 6.0 §8
_PHOTOMETRIC = 262
_WHITE_IS_ZERO = 0
_SAMPLE_FORMAT = 339  # TIFF 6.0 §19
_UNSIGNED = 1


def decode_plane(
    data: bytes, kind: FileKind, *, name: str, limit: int, arrays: bool, pixels: int = 100_000_000
) -> DecodedImage:
    """Decode a picture completely, so that a truncated one is found here.

    Args:
        data: the file.
        kind: ``png``, ``jpeg`` or ``tiff``, as the bytes say.
        name: input name for the error's field.
        limit: largest size of the decoded pixels, in bytes.
        pixels: largest number of pixels; a few kilobytes of fax compression announce billions.
        arrays: True where the model's input takes ``.npy`` too; a TIFF of floats is then handed on as that.

    Raises:
        MalformedPayload: it is damaged or cut short.
        DecompressedTooLarge: the header announces more than ``limit`` bytes of pixels.
        WrongShape: it holds several pictures (animation, pages, slices).
        WrongDatatype: floats or 32-bit integers where only pictures are read, a colour space such as CIELAB, or a TIFF
            whose values Pillow would change.
    """
    if kind == "jpeg" and data.count(_START_OF_SCAN) > MOST_SCANS:
        raise MalformedPayload(f"'{name}' is a JPEG of more than {MOST_SCANS} scans, which no device makes", field=name)
    try:
        image: Image.Image = _open(data, kind)
    except Exception as error:  # a parser fed with arbitrary bytes raises anything
        raise MalformedPayload(f"'{name}' is a damaged {kind.upper()} file", field=name) from error
    _require_bounded(image, name, limit, pixels)
    frames = _load(image, kind, name)
    if frames != 1:
        raise WrongShape(f"'{name}' must hold one picture, this file holds several", field=name)
    if image.mode in {"F", "I"}:
        return _float_plane(image, name, arrays=arrays)
    if set(_tag(image, _SAMPLE_FORMAT, _UNSIGNED)) != {_UNSIGNED}:
        # Pillow reads the bytes of signed pixels as unsigned ones: -5 would be 251.
        raise WrongDatatype(f"'{name}' must hold unsigned integers; this file's are signed", field=name)
    if image.mode not in _AS_READ | _SIXTEEN_BIT | set(_CONVERTED):
        raise WrongDatatype(f"'{name}' must be grey or colour (RGB, CMYK, palette), 8 or 16 bits", field=name)
    try:
        seen = _as_seen(image)
    except Exception as error:  # broken EXIF, for one
        raise MalformedPayload(f"the pixels of '{name}' cannot be converted", field=name) from error
    if seen is image and kind != "tiff":
        return _describe(image, data, _SUFFIXES[kind], name)
    return _describe(seen, _png(seen), ".png", name)


def encode_png(array: NDArray[Any]) -> bytes:
    """Return a PNG of (height, width[, channels]) pixels; uint8 with 1 to 4 channels, or grey uint16."""
    return _png(Image.fromarray(array))


def _open(data: bytes, kind: FileKind) -> Image.Image:
    if kind == "png":
        # Decoding does not check the checksums of all chunks (PNG §5.5); verify() does.
        Image.open(io.BytesIO(data), formats=_FORMATS[kind]).verify()
    return Image.open(io.BytesIO(data), formats=_FORMATS[kind])


def _require_bounded(image: Image.Image, name: str, limit: int, pixels: int) -> None:
    if math.prod(image.size) > pixels:
        raise DecompressedTooLarge(f"'{name}' has {math.prod(image.size)} pixels, the limit is {pixels}", field=name)
    size = math.prod(image.size) * _SIZES.get(image.mode, len(image.getbands()))
    if size > limit:
        raise DecompressedTooLarge(f"'{name}' has {size} bytes of pixels, the limit is {limit}", field=name)


def _load(image: Image.Image, kind: FileKind, name: str) -> int:
    try:
        frames = 2 if _has_second(image) else 1
        if frames == 1:
            image.load()
    except Exception as error:  # as in decode_plane
        raise MalformedPayload(f"'{name}' is a damaged or truncated {kind.upper()} file", field=name) from error
    return frames


def _has_second(image: Image.Image) -> bool:
    # Asking for the number of frames would walk a TIFF's whole chain of pages, which may have millions.
    try:
        image.seek(1)
    except EOFError:
        return False
    return True


def _as_seen(image: Image.Image) -> Image.Image:
    """Return the picture with the pixels that a viewer shows; the same object where nothing changes."""
    seen = image
    if image.mode in _SIXTEEN_BIT or (image.mode == "I;16" and _is_inverted(image)):
        pixels = np.asarray(image).astype(np.uint16)
        seen = Image.fromarray(np.iinfo(np.uint16).max - pixels if _is_inverted(image) else pixels)
    elif image.mode == "P" and "transparency" in image.info:
        seen = image.convert("RGBA")
    elif image.mode not in _AS_READ:
        seen = image.convert(_CONVERTED[image.mode])
    orientation = image.getexif().get(_ORIENTATION, 1)
    if orientation not in range(2, 9):
        return seen
    seen = seen.copy() if seen is image else seen
    seen.getexif()[_ORIENTATION] = orientation
    return ImageOps.exif_transpose(seen)


def _is_inverted(image: Image.Image) -> bool:
    # Pillow turns 1- and 8-bit WhiteIsZero around, but not 16-bit: a negative of the X-ray, without a word.
    return _tag(image, _PHOTOMETRIC, None) == (_WHITE_IS_ZERO,)


def _tag(image: Image.Image, tag: int, default: Any) -> tuple[Any, ...]:
    value = getattr(image, "tag_v2", {}).get(tag, default)  # only TIFF has tags
    return value if isinstance(value, tuple) else (value,)


def _float_plane(image: Image.Image, name: str, *, arrays: bool) -> DecodedImage:
    if not arrays:
        raise WrongDatatype(f"'{name}' must hold 8- or 16-bit integers; this file holds 32-bit values", field=name)
    if _is_inverted(image):
        raise WrongDatatype(f"'{name}' is stored as a negative (WhiteIsZero) of 32-bit values", field=name)
    pixels = np.asarray(image)
    if image.mode == "I" and _tag(image, _SAMPLE_FORMAT, _UNSIGNED)[0] == _UNSIGNED and (pixels < 0).any():
        # Pillow has no unsigned 32-bit pixels: 2^31 and above come out negative.
        raise WrongDatatype(f"'{name}' holds 32-bit values from 2^31 upwards, which cannot be read", field=name)
    columns = np.ascontiguousarray(pixels.T)
    return DecodedImage(
        name=name,
        payload=encode_npy(columns),
        suffix=".npy",
        shape=columns.shape,
        spatial_dims=2,
        channels=1,
        dtype=columns.dtype.name,
        finite=bool(np.isfinite(columns).all()),
    )


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    # A clean copy: Pillow would write the original's EXIF and text, and with it the orientation, a second time.
    clean = Image.frombytes(image.mode, image.size, image.tobytes())
    clean.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _describe(image: Image.Image, payload: bytes, suffix: str, name: str) -> DecodedImage:
    channels = len(image.getbands())
    return DecodedImage(
        name=name,
        payload=payload,
        suffix=suffix,
        shape=(*image.size, channels) if channels > 1 else image.size,
        spatial_dims=2,
        channels=channels,
        dtype="uint16" if image.mode.startswith("I;16") else "uint8",
    )
