"""Stored values of a frame, exactly, and never more memory than the header has been allowed.

A header that lies about Rows, Columns or Number of Frames is found out before anything is decompressed: native pixels
by their length, compressed ones by what their own codestream says and by how much they could unpack to at all.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydicom import uid as uids
from pydicom.encaps import get_frame
from pydicom.pixels import get_decoder

from bedside.codecs.dicom.frames import StoredFrame
from bedside.codecs.dicom.instances import BROKEN, LOSSY
from bedside.codecs.dicom.tags import integer, value_of
from bedside.errors import PixelDataContradictsHeader, TruncatedPixelData, UnsupportedTransferSyntax

F = TypeVar("F", bound=StoredFrame)

_FREE_BYTES = 16 << 20  # a frame that decompresses to less is within bounds, whatever it shrank to
_MOST_RATIO = 1000
_RLE_RATIO = 64  # two bytes make at most 128 (PS3.5 §G.3.1)
_SOF = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}  # ITU-T T.81 table B.1; JPEG-LS: T.87 §C.1.1

_SOC_SIZ = b"\xff\x4f\xff\x51"
_SSIZ = 42


def frame_bytes(frame: StoredFrame) -> int:
    """Return the size of a frame's stored values."""
    return frame.size[0] * frame.size[1] * (frame.pixels.allocated // 8)


def require_plausible(frames: Sequence[StoredFrame]) -> None:
    """Refuse a file that is too short for the frames that its header announces.

    Raises:
        TruncatedPixelData.
    """
    instance, announced = frames[0].instance, sum(map(frame_bytes, frames))
    if instance.compressed:
        announced = max(0, announced - _FREE_BYTES) // _MOST_RATIO
    if instance.size < announced:
        raise TruncatedPixelData(instances=[instance.uid])


def stored_values(frames: Sequence[F]) -> Iterator[tuple[F, NDArray[Any]]]:
    """Yield the frames of one file with their stored values, shape (rows, columns), sign extended.

    Raises:
        TruncatedPixelData: the pixels end early, or cannot be decompressed.
        PixelDataContradictsHeader: they are not those that the header describes.
    """
    instance = frames[0].instance
    try:
        dataset = instance.pixel_data()
        data = value_of(dataset, "PixelData")
    except BROKEN:
        data = None
    if not isinstance(data, bytes):
        raise TruncatedPixelData("there are no pixel data", instances=[instance.uid])
    if instance.compressed:
        dataset.update(instance.header.group_dataset(0x0028))  # decoders are told by it what they decode
    for frame in frames:
        pixels = _compressed(frame, dataset, data) if instance.compressed else _native(frame, dataset, data)
        yield frame, _sign_extended(pixels, frame)


def _native(frame: StoredFrame, dataset: Any, data: bytes) -> NDArray[Any]:
    size, count = frame_bytes(frame), integer(frame.instance.header, "NumberOfFrames", frame.uid, 1)
    if len(data) < count * size:
        raise TruncatedPixelData(instances=[frame.uid])
    if len(data) > count * size + count * size % 2:  # PS3.5 §8.2: one byte makes the length even
        raise PixelDataContradictsHeader("there are more pixel data than pixels", instances=[frame.uid])
    order = ">" if frame.instance.big_endian else "<"
    if order == ">" and frame.pixels.allocated == 8 and dataset["PixelData"].VR == "OW":
        data = np.frombuffer(data, "<u2", len(data) // 2).byteswap().tobytes()  # two pixels a word (PS3.5 §8.1.1)
    return np.frombuffer(data, _dtype(frame, order), size // (frame.pixels.allocated // 8), frame.index * size).reshape(
        frame.size
    )


def _dtype(frame: StoredFrame, order: str) -> np.dtype[Any]:
    return np.dtype(f"{order}{'i' if frame.pixels.signed else 'u'}{frame.pixels.allocated // 8}")


def _compressed(frame: StoredFrame, dataset: Any, data: bytes) -> NDArray[Any]:
    syntax = frame.instance.transfer_syntax
    try:
        encoded = get_frame(data, frame.index, number_of_frames=integer(dataset, "NumberOfFrames", frame.uid, 1))
        _require_agreement(frame, encoded, rle=syntax == uids.RLELossless)
        # pylibjpeg's RLE decoder panics on damaged frames, with an exception that no one may catch; pydicom's raises.
        plugin = "pydicom" if syntax == uids.RLELossless else ""
        decoder = get_decoder(uids.UID(syntax))
        pixels, _ = decoder.as_array(dataset, index=frame.index, raw=True, decoding_plugin=plugin)
    except BROKEN:
        raise TruncatedPixelData(instances=[frame.uid]) from None
    if pixels.shape != frame.size or pixels.dtype.kind != ("i" if frame.pixels.signed else "u"):
        raise PixelDataContradictsHeader(instances=[frame.uid])
    if syntax in LOSSY:
        _require_no_overturn(frame, encoded, pixels)
    return np.asarray(pixels)


def _require_no_overturn(frame: StoredFrame, encoded: bytes, pixels: NDArray[Any]) -> None:
    """Refuse values that loss may have carried past one end of their range: they would come out at the other.

    That is where the codestream has more bits than Bits Stored, or no sign where the pixels have one, as JPEG and
    JPEG-LS never do: their code of the greatest value stands beside that of the least.
    """
    values, (low, high) = _sign_extended(pixels, frame), frame.pixels.bounds
    if not frame.pixels.signed or _codes_sign(encoded):
        if (values != pixels).any():
            raise PixelDataContradictsHeader("values lie beyond Bits Stored (0028,0101)", instances=[frame.uid])
        return
    error = _largest_error(encoded)
    if error is None or (error and (values.min() < low + error or values.max() > high - error)):
        name = uids.UID(frame.instance.transfer_syntax).name
        raise UnsupportedTransferSyntax(
            f"{name}: signed pixels may have turned over at the ends of their range; send them without loss",
            instances=[frame.uid],
        )


def _codes_sign(encoded: bytes) -> bool:
    """Tell whether a codestream is JPEG 2000's, with a sign (Ssiz of SIZ, ITU-T T.800 §A.5.1)."""
    return encoded.startswith(_SOC_SIZ) and len(encoded) > _SSIZ and encoded[_SSIZ] >= 0x80


def _largest_error(encoded: bytes) -> int | None:
    """Return NEAR, what JPEG-LS may be off by (SOS, ITU-T T.87 §C.2.3); None of other codes, which bound no error."""
    start = encoded.find(b"\xff\xda")
    return encoded[start + 7] if b"\xff\xf7" in encoded[:start] and len(encoded) > start + 7 else None


def _require_agreement(frame: StoredFrame, encoded: bytes, *, rle: bool) -> None:
    ratio = frame_bytes(frame) / max(len(encoded), 1)
    if (rle and ratio > _RLE_RATIO) or (frame_bytes(frame) > _FREE_BYTES and ratio > _MOST_RATIO):
        raise TruncatedPixelData(instances=[frame.uid])
    # Some encoders pad their segments by a byte or so; from a row on, it is another image.
    agrees = _rle_surplus(frame, encoded) < frame.size[1] if rle else codestream_size(encoded) == frame.size
    if not agrees:
        raise PixelDataContradictsHeader("the compressed image has another size", instances=[frame.uid])


def _rle_surplus(frame: StoredFrame, encoded: bytes) -> int:
    """Return how many bytes the longest RLE segment has too many: pydicom would cut them off (PS3.5 §G.4, §G.5)."""
    count, *offsets = np.frombuffer(encoded[:64], "<u4").tolist()
    bounds = [*offsets[:count], len(encoded)]
    lengths = [_unpacked(encoded[begin:end]) for begin, end in pairwise(bounds)]
    return max(lengths, default=0) - frame.size[0] * frame.size[1]


def _unpacked(segment: bytes) -> int:
    """Return the length that a PackBits segment unpacks to (PS3.5 §G.3.2)."""
    place = length = 0
    while place + 1 < len(segment):
        head = segment[place]
        if head < 128:
            length += min(head + 1, len(segment) - place - 1)
            place += head + 2
        else:
            length += 257 - head if head > 128 else 0
            place += 2 if head > 128 else 1
    return length


def codestream_size(data: bytes) -> tuple[int, int] | None:
    """Return rows and columns as a JPEG, JPEG-LS or JPEG 2000 codestream states them; None where it is none."""
    if data[:4] == _SOC_SIZ:  # JPEG 2000 (ITU-T T.800 §A.5.1)
        width, height, left, top = (int.from_bytes(data[at : at + 4], "big") for at in (8, 12, 16, 20))
        return height - top, width - left
    place = 2
    while data[:2] == b"\xff\xd8" and place + 9 <= len(data) and data[place] == 0xFF:
        marker, length = data[place + 1], int.from_bytes(data[place + 2 : place + 4], "big")
        if marker in _SOF:
            rows, columns = (int.from_bytes(data[at : at + 2], "big") for at in (place + 5, place + 7))
            return rows, columns
        place += 1 if marker == 0xFF else 2 + max(length, 2)  # fill bytes may stand before a marker (T.81 §B.1.1.2)
    return None


def _sign_extended(pixels: NDArray[Any], frame: StoredFrame) -> NDArray[Any]:
    """Return values in the machine's byte order; bits above Bits Stored may hold overlays of old (PS3.5 §8.1.2)."""
    native = pixels.astype(_dtype(frame, "="), copy=False)
    spare = frame.pixels.allocated - frame.pixels.stored
    return native if spare == 0 else (native << spare) >> spare


def padding_of(frame: StoredFrame, stored: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Return where Pixel Padding Value, or its range, stands (PS3.3 §C.7.5.1.1.2); None where none is stated."""
    header = frame.instance.header
    if "PixelPaddingValue" not in header:
        return None
    value = _as_stored(integer(header, "PixelPaddingValue", frame.uid), frame)
    limit = _as_stored(integer(header, "PixelPaddingRangeLimit", frame.uid, value), frame)
    low, high = sorted((value, limit))
    return (stored >= low) & (stored <= high)


def _as_stored(value: int, frame: StoredFrame) -> int:
    # Written as US by mistake where the pixels are signed: the same 16 bits, read with the pixels' sign.
    return value - (1 << 16) if frame.pixels.signed and value >= 1 << 15 else value
